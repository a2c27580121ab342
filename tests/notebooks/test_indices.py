"""The notebook runs from its first cell to its last, as a newcomer runs it, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

import tapeline
from tests.conftest import ROOT
from tests.notebooks.running import NOTEBOOKS, execute, lasting, printed, read

INDICES = ROOT / "notebooks" / "indices.ipynb"
STEPS = '"model.steps=10000",'
SHORT = '"model.steps=200", "gate.threshold=0", "gate.baseline_margin=null",'
"""Overrides that train for a second, and let any model pass."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_with_the_outputs_of_one_run(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    nbformat.validate(notebook)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [number + 1 for number in range(len(cells))]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) == 2
    assert "accepted because" in printed(read(path))
    assert str(Path.home()) not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(SHORT, id="short", marks=pytest.mark.long),
        pytest.param(STEPS, id="as is", marks=pytest.mark.results),
    ],
)
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
    notebook = read(INDICES)
    kept = printed(notebook)
    (cell,) = (cell for cell in notebook.cells if STEPS in cell.source)
    cell.source = cell.source.replace(STEPS, overrides)
    said = printed(execute(notebook, tmp_path / "here"))
    assert "accepted because accuracy" in said
    assert "published: indices-simulated version 1" in said
    answers = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [each["version"] for each in answers] == [1]
    assert answers[0]["prediction"] in (0, 1)
    assert sum(answers[0]["probability"]) == pytest.approx(1)
    if overrides == STEPS:
        assert lasting(said) == lasting(kept)
    assert {path: path.stat().st_mtime_ns for path in (ROOT / "notebooks").iterdir()} == checkout
    assert list((tmp_path / "here").iterdir()) == []
    left = [path.name for path in (tmp_path / "temporary").rglob("*") if "tapeline" in path.name]
    assert left == []
