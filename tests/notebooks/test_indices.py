"""The notebook runs from its first cell to its last, as a newcomer runs it, and leaves nothing behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

import tapeline
from tests.conftest import ROOT
from tests.notebooks.running import NOTEBOOKS, executed, same, texts

SHORT = ('"model.steps=10000",', '"model.steps=200", "gate.threshold=0", "gate.baseline_margin=null",')
"""Overrides that train for a second, and let any model pass."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_with_the_outputs_of_one_execution(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    nbformat.validate(notebook)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {"stream", "execute_result", "display_data"} == {output["output_type"] for output in outputs}
    assert {output["name"] for output in outputs if "name" in output} == {"stdout"}
    assert not re.search(r"\W/(?:home|tmp|root|var|Users)/", text), "a path of one machine"
    assert len(text) < 400_000


@pytest.mark.parametrize(
    "changed", [pytest.param(SHORT, id="short"), pytest.param(None, id="as is", marks=pytest.mark.docs)]
)
def test_indices_goes_from_prices_to_a_served_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: tuple[str, str] | None
) -> None:
    for name in ("here", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("PYTHONPATH", str(Path(tapeline.__file__).parents[1]))
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    path = ROOT / "notebooks" / "indices.ipynb"
    checkout = {path: path.stat().st_mtime_ns for path in (ROOT / "notebooks").iterdir()}
    notebook = executed(path, tmp_path / "here", changed)
    said = "".join(text for cell in notebook.cells for text in texts(cell))
    assert "accepted because accuracy" in said
    assert "published: indices-simulated version 1" in said
    answers = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [each["version"] for each in answers] == [1]
    assert answers[0]["prediction"] in (0, 1)
    assert sum(answers[0]["probability"]) == pytest.approx(1)
    if changed is None:
        assert differences(notebook, nbformat.read(path, as_version=4)) == []  # type: ignore[no-untyped-call]
    assert {path: path.stat().st_mtime_ns for path in (ROOT / "notebooks").iterdir()} == checkout
    assert list((tmp_path / "here").iterdir()) == []
    left = [path.name for path in (tmp_path / "temporary").rglob("*") if "tapeline" in path.name]
    assert left == []


def differences(ours: Any, stored: Any) -> list[str]:
    """Cells whose outputs are not what is stored."""
    pairs = [(texts(one), texts(other), one) for one, other in zip(ours.cells, stored.cells, strict=True)]
    return [
        f"{cell.id}: {said} instead of {before}"
        for said, before, cell in pairs
        if len(said) != len(before) or not all(map(same, said, before))
    ]


def test_a_stored_output_that_is_not_true_is_found() -> None:
    assert same("accuracy 0.7222 in 3.2 s, model 0a1b2c3d4e5f", "accuracy 0.7223 in 4.1 s, model ffffffffffff")
    assert not same("accuracy 0.7222", "accuracy 0.6222")
    assert not same("accepted: 1", "rejected: 1")
