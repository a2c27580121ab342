"""Executes notebooks, and compares what their cells print with what is stored."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
VOLATILE = re.compile(
    r"\b[0-9a-f]{12}\b|(?:127\.0\.0\.1|localhost):\d+|[\d.]+ (?:s|ms)\b|\"(?:milliseconds|ms)\": [\d.]+"
)
"""Digests, ports and times."""
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
CLOSE = 0.02
"""Results differ a little between types of processors."""


def executed(path: Path, folder: Path, changed: tuple[str, str] | None = None) -> Any:
    """Run a notebook in a folder, in a kernel of this very Python, whatever kernels are installed for others.

    Args:
        path: of the notebook, which is not written.
        folder: in which it runs.
        changed: a text of one cell, and what stands there instead.
    """
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    if changed:
        (cell,) = (cell for cell in notebook.cells if changed[0] in cell.source)
        cell.source = cell.source.replace(*changed)
    manager = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook, km=manager, timeout=600, kernel_name="python3", resources=resources, record_timing=False
    )
    client.execute()
    return notebook


def texts(cell: Any) -> list[str]:
    """What each output of a cell says in text; a picture has the description of its size."""
    return [_text(output) for output in cell.get("outputs", [])]


def _text(output: Any) -> str:
    return str(output["text"] if "text" in output else output["data"].get("text/plain", ""))


def same(ours: str, theirs: str) -> bool:
    """Whether two texts say the same: words are equal, and numbers close."""
    ours, theirs = (VOLATILE.sub("*", text) for text in (ours, theirs))
    if NUMBER.sub("#", ours).split() != NUMBER.sub("#", theirs).split():
        return False
    pairs = zip(map(float, NUMBER.findall(ours)), map(float, NUMBER.findall(theirs)), strict=True)
    return all(math.isclose(one, other, rel_tol=CLOSE, abs_tol=CLOSE) for one, other in pairs)
