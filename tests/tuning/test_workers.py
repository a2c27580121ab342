"""A run on this machine with tune.workers is one worker of the study, whatever the number is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tapeline import files
from tapeline.tuning import database
from tests.conftest import Tapeline
from tests.tuning.problems import SMALL


@pytest.fixture
def line(table: Path, tmp_path: Path) -> list[str]:
    return [
        "step",
        "tune",
        *SMALL,
        "tune.trials=3",
        f"tune.storage=sqlite:///{tmp_path}/study.db",
        "--in",
        f"table={table}",
    ]


def tried(out: str) -> list[str]:
    return [each.split()[1] for each in out.splitlines() if each.strip().startswith("trial")]


def test_one_leaves_nothing_but_its_trials_and_another_makes_the_artifacts_of_them(
    line: list[str], tmp_path: Path, tapeline: Tapeline
) -> None:
    before = set(tmp_path.iterdir())
    code, out, _ = tapeline(*line, "tune.workers=3")
    assert (code, tried(out)) == (0, ["0,", "1,", "2,"])
    assert [each for each in out.splitlines() if "one worker" in each and "tune.workers=3" in each]
    assert {each.name for each in set(tmp_path.iterdir()) - before} == {"study.db"}
    ends = [word for name in ("best", "study") for word in ("--out", f"{name}={tmp_path}/{name}.json")]
    code, out, _ = tapeline(*line, *ends)
    assert (code, tried(out)) == (0, [])
    assert "one worker" not in out
    study, best = (files.read_json(tmp_path / f"{name}.json") for name in ("study", "best"))
    assert [each["number"] for each in study["trials"]] == [0, 1, 2]
    assert study["trials"][best["trial"]]["value"] == study["best"]["value"]


def test_a_worker_waits_for_a_database_that_answers_late(
    line: list[str], tmp_path: Path, tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = [f"tune.storage=sqlite:///{tmp_path}/late/study.db", "tune.trials=1"]
    monkeypatch.setattr(database, "PATIENCE", 0.0)
    assert tapeline(*line, *late)[0] == 2
    monkeypatch.setattr(database, "PATIENCE", 3600.0)
    monkeypatch.setattr(database, "time", Opening(tmp_path / "late"))
    code, out, _ = tapeline(*line, *late)
    assert (code, tried(out)) == (0, ["0,"])


class Opening:
    """A clock that makes a folder while others sleep."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.monotonic = time.monotonic

    def sleep(self, seconds: float) -> None:
        self.folder.mkdir(exist_ok=True)
