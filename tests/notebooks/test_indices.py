"""The notebook runs from its first cell to its last, as a newcomer runs it, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

import tapeline
from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


STEPS = '"model.steps=10000",'
SHORT = '"model.steps=200", "gate.threshold=0", "gate.baseline_margin=null",'
"""Overrides that train for a second, and let any model pass."""


def executed(path: Path, folder: Path, overrides: str) -> Any:
    """Run a notebook in a folder, in a kernel of this very Python, whatever kernels are installed for others."""
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    (cell,) = (cell for cell in notebook.cells if STEPS in cell.source)
    cell.source = cell.source.replace(STEPS, overrides)
    manager = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, km=manager, timeout=300, kernel_name="python3", resources=resources).execute()
    return notebook


def printed(notebook: Any) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs if output.get("name") == "stdout")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_without_outputs(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    nbformat.validate(notebook)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None), cell["id"]


@pytest.mark.parametrize("overrides", [SHORT, pytest.param(STEPS, marks=pytest.mark.results)], ids=["short", "as is"])
def test_indices_goes_from_prices_to_a_served_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: str
) -> None:
    for name in ("here", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("PYTHONPATH", str(Path(tapeline.__file__).parents[1]))
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    checkout = {path: path.stat().st_mtime_ns for path in (ROOT / "notebooks").iterdir()}
    said = printed(executed(ROOT / "notebooks" / "indices.ipynb", tmp_path / "here", overrides))
    assert "accepted because accuracy" in said
    assert "published: indices-simulated version 1" in said
    answers = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [each["version"] for each in answers] == [1]
    assert answers[0]["prediction"] in (0, 1)
    assert sum(answers[0]["probability"]) == pytest.approx(1)
    assert {path: path.stat().st_mtime_ns for path in (ROOT / "notebooks").iterdir()} == checkout
    assert list((tmp_path / "here").iterdir()) == []
    left = [path.name for path in (tmp_path / "temporary").rglob("*") if "tapeline" in path.name]
    assert left == []
