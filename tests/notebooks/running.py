"""Notebooks run from their first cell to their last, in a kernel of the same Python, whatever kernels others have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tests.conftest import ROOT

PLACE = r"/\S*/tapeline-\w+/"
"""Of the files that a notebook makes."""
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def read(path: Path) -> Any:
    """A notebook in the format that the project keeps."""
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def execute(notebook: Any, folder: Path) -> Any:
    """Run it in a folder, and put its outputs into it."""
    manager = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, km=manager, timeout=300, kernel_name="python3", resources=resources).execute()
    return notebook


def printed(notebook: Any) -> str:
    """What its cells print."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs if output.get("name") == "stdout")


def lasting(text: str) -> str:
    """Without what differs from run to run: the temporary folder, seconds and latencies."""
    return re.sub(r"\d+\.\d+(?= s\b|})", "0.0", re.sub(PLACE, "/tmp/tapeline/", text))
