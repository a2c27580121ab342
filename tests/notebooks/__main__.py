"""Run all notebooks and keep their outputs in them: python -m tests.notebooks"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat

from tests.notebooks.running import NOTEBOOKS, PLACE, execute, read


def kept(notebook: Any) -> Any:
    """The notebook with the outputs of a run, without moments of the run and places of this machine."""
    for number, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        cell.metadata.pop("execution", None)
        cell.execution_count = number
        for output in cell.outputs:
            if output.get("execution_count"):
                output.execution_count = number
            if "text" in output:
                output.text = re.sub(PLACE, "/tmp/tapeline/", output.text)
    return notebook


def main() -> None:
    """Write each notebook again."""
    for path in NOTEBOOKS:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["TMPDIR"] = folder
            notebook = kept(execute(read(path), Path(folder)))
        nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
