"""Executes the notebooks and stores what their cells print: python -m tests.notebooks"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat

from tests.notebooks.running import NOTEBOOKS, executed

KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}

if __name__ == "__main__":
    for path in NOTEBOOKS:
        with TemporaryDirectory() as folder:
            notebook = executed(path, Path(folder))
        notebook.metadata = {**KERNEL, "language_info": {"name": "python"}}
        nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
