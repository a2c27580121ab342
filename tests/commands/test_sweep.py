"""Sweeps: what is skipped, what a failed job does, and what stays as it was."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tapeline.commands.sweep import leaderboard
from tests.conftest import Tapeline, metrics

SMALL = ["model.report_every=20", "gate.threshold=0", "gate.baseline_margin=null"]


def board(folder: Path) -> list[dict[str, str]]:
    with open(folder / "sweeps" / "latest" / "leaderboard.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_ranks_names_what_failed_and_never_publishes(tapeline: Tapeline, folder: Path) -> None:
    code, out, err = tapeline("sweep", "model=flat,deep", "model.steps=20", "split.train=0.8,0.00001", *SMALL)
    assert (code, err) == (0, "")
    rows = board(folder)
    assert [row["status"] for row in rows] == ["finished"] * 2 + ["failed"] * 2
    assert [row["rank"] for row in rows] == ["1", "2", "", ""]
    assert float(rows[0]["score"]) >= float(rows[1]["score"])
    assert all("leaves none to one side" in row["beside the best"] for row in rows[2:])
    assert "chosen on test, 4 jobs tried" in out
    page = (folder / "sweeps" / "latest" / "leaderboard.html").read_text()
    assert "chosen on test, 4 jobs tried" in page
    assert "leaves none to one side" in page
    assert not (folder / "store").exists()
    assert tapeline("publish", f"run={rows[0]['run']}")[0] == 0
    assert (folder / "store" / "indices-simulated" / "1" / "saved_model.pb").is_file()


def test_the_same_sweep_again_skips_what_finished(tapeline: Tapeline, folder: Path) -> None:
    line = ["sweep", "model=flat", "model.steps=20,40", "name=mine", *SMALL]
    assert tapeline(*line)[0] == 0
    runs = set((folder / "runs").iterdir())
    code, out, _ = tapeline(*line)
    assert code == 0
    assert out.count("finished before") == 2
    assert set((folder / "runs").iterdir()) == runs
    assert (folder / "sweeps" / "latest").resolve() == folder / "sweeps" / "mine"
    _, out, _ = tapeline("sweep", "model=flat", "model.steps=20,60", "name=mine", *SMALL)
    assert out.count("finished before") == 1
    assert len(board(folder)) == 3


def test_a_killed_sweep_goes_on_with_what_is_missing(tapeline: Tapeline, folder: Path) -> None:
    line = ["sweep", "model=flat", "model.steps=20,21,22", *SMALL]
    script = (
        "import os, pathlib, signal; from tapeline import files; from tapeline.cli.main import main\n"
        "write = files.write_json\n"
        "def counted(path, value):\n"
        "    write(path, value)\n"
        "    if len(list(pathlib.Path().glob('sweeps/*/jobs/*.json'))) == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"files.write_json = counted; main({line})"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=folder, stdout=subprocess.DEVNULL, check=False)
    assert killed.returncode == -signal.SIGKILL
    code, out, _ = tapeline(*line)
    assert (code, out.count("finished before")) == (0, 2)
    assert [row["status"] for row in board(folder)] == ["finished"] * 3


def test_what_no_job_could_have_is_refused(tapeline: Tapeline, folder: Path) -> None:
    code, _, err = tapeline("sweep", "model=flat,dep")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "model has no option dep" in err
    code, _, err = tapeline("sweep", "hydra/sweeper=nope", "model=flat,deep")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "hydra/sweeper/nope" in err
    for wrong, says in (("+hw=null", "correct the override"), ("name=../x", "is no name for a folder in sweeps")):
        code, _, err = tapeline("sweep", "model=flat,deep", wrong)
        assert (code, len(err.splitlines())) == (2, 1)
        assert says in err
    assert not (folder / "x").exists()
    code, _, err = tapeline("sweep", "model.stepz=1,2")
    assert code == 2
    assert "no job of this sweep finished" in err
    assert all("did you mean steps?" in row["beside the best"] for row in board(folder))


def test_only_an_accepted_run_that_finished_can_be_published(tapeline: Tapeline, folder: Path) -> None:
    code, _, err = tapeline("publish", "run=nope")
    assert code == 2
    assert "run=nope: no run of that name finished in runs" in err
    assert tapeline("run", "model=flat", "model.steps=20", "model.report_every=20", "gate.threshold=0.99")[0] == 0
    code, _, err = tapeline("publish")
    assert code == 2
    assert "the gate rejected this model" in err
    assert not (folder / "store").exists()


def job(name: str, accuracy: float, validation: float | None = None) -> dict[str, Any]:
    interval = {"low": accuracy - 0.05, "high": accuracy + 0.05}
    metrics: dict[str, Any] = {
        "config": {"dataset": {"name": "indices"}, "gate": {"metric": "accuracy"}},
        "test": {"overall": {"accuracy": accuracy, "intervals": {"accuracy": interval}}},
        "validation": None if validation is None else {"overall": {"accuracy": validation}},
        "gate": {"accepted": True},
    }
    return {"overrides": [name], "status": "finished", "problem": None, "run": f"runs/{name}", "metrics": metrics}


def test_a_difference_inside_the_noise_is_said_to_be() -> None:
    rows, chosen = leaderboard.rank([job("a", 0.60), job("b", 0.70), job("c", 0.66)])
    assert [(row["job"], row["beside the best"]) for row in rows] == [
        ("b", "the best"), ("c", "may be chance"), ("a", "worse"),
    ]  # fmt: skip
    assert chosen == "chosen on test, 3 jobs tried"


def test_families_that_keep_validation_rows_are_ranked_by_them(tapeline: Tapeline, folder: Path) -> None:
    code, out, _ = tapeline("sweep", "model=lightgbm", "model.steps=5,30")
    assert code == 0
    assert "ranked by validation score" in out
    assert [row["rows"] for row in board(folder)] == ["validation", "validation"]
    assert float(board(folder)[0]["score"]) >= float(board(folder)[1]["score"])
    told = metrics(folder)
    assert told["validation"]["overall"]["rows"] == told["data"]["rows"]["validation"] == 172
    _, out, _ = tapeline("sweep", "model=lightgbm,flat", "model.steps=5", "model.report_every=5")
    assert "chosen on test, 2 jobs tried" in out


def test_validation_scores_rank_where_all_have_one() -> None:
    rows, chosen = leaderboard.rank([job("a", 0.60, 0.9), job("b", 0.70, 0.8)])
    assert ([row["job"] for row in rows], chosen) == (["a", "b"], "ranked by validation score")
    rows, chosen = leaderboard.rank([job("a", 0.60, 0.9), job("b", 0.70)])
    assert ([row["job"] for row in rows], chosen) == (["b", "a"], "chosen on test, 2 jobs tried")
