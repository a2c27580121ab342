"""Sweeps: what is skipped, what a failed job does, and what stays as it was."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline import files
from tapeline.commands.sweep import leaderboard
from tapeline.config.compose import for_hydra
from tapeline.config.overrides import parse
from tapeline.errors import Finding, Refused
from tapeline.evaluation.comparison import changes
from tapeline.intervals import wilson
from tapeline.pipeline.run_folder import Run
from tapeline.tables import predictions
from tapeline.tables.predictions import Predictions
from tests.conftest import Tapeline, metrics
from tests.metrics_json import sample

SMALL = ["model.report_every=20", "gate.threshold=0", "gate.baseline_margin=null"]


def board(folder: Path) -> list[dict[str, str]]:
    with open(folder / "sweeps" / "latest" / "leaderboard.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_ranks_names_what_failed_and_never_publishes(tapeline: Tapeline, folder: Path) -> None:
    code, out, err = tapeline("sweep", "model=flat,deep", "model.steps=20", "split.train=0.8,0.00001", *SMALL)
    assert (code, err) == (0, "")
    rows = board(folder)
    assert [row["status"] for row in rows] == ["finished"] * 2 + ["failed"] * 2
    places = ["1", "2"] if rows[0]["score"] != rows[1]["score"] else ["1", "1"]
    assert [row["rank"] for row in rows] == [*places, "", ""]
    assert float(rows[0]["score"]) >= float(rows[1]["score"])
    assert all("leaves none to one side" in row["beside the best"] for row in rows[2:])
    assert "chosen on test, 4 jobs tried" in out
    page = (folder / "sweeps" / "latest" / "leaderboard.html").read_text()
    assert "Chosen on test, 4 jobs tried" in page
    assert "leaves none to one side" in page
    assert not (folder / "store").exists()
    assert tapeline("publish", f"run={rows[0]['run']}")[0] == 0
    assert (folder / "store" / "indices-simulated" / "1" / "saved_model.pb").is_file()


def test_hydras_whole_grammar_of_sweeps(tapeline: Tapeline, folder: Path, without_report: None) -> None:
    few = ["model.steps=2", "model.report_every=1", *SMALL[1:]]
    assert tapeline("sweep", "model=glob([f*,l*])", *few)[0] == 0
    jobs = [json.loads(path.read_text()) for path in folder.glob("sweeps/latest/jobs/*.json")]
    assert sorted(job["overrides"][0] for job in jobs) == ["model=flat", "model=lightgbm"]
    assert {job["status"] for job in jobs} == {"finished"}
    values = {"range(1,4)", "choice(1,2)", "shuffle(range(1,3))", "sort(2,1)", "tag(a,choice(1,2))", "1,2"}
    assert len(for_hydra(parse(f"model.steps={each}" for each in values), sweep=True)) == len(values)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model=glob(z*)", "no option of model matches; choose among: "),
        ("model.steps=glob(*)", "model.steps is not a group"),
        ("model.steps=interval(1,2)", "INTERVAL_SWEEP"),
    ],
)
def test_a_sweep_that_chooses_nothing_is_refused(tapeline: Tapeline, folder: Path, override: str, says: str) -> None:
    code, _, err = tapeline("sweep", override)
    assert (code, len(err.splitlines())) == (2, 1)
    assert says in err


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


def test_a_failed_job_is_tried_again(
    tapeline: Tapeline, folder: Path, without_report: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["sweep", "model=flat", "model.steps=20", *SMALL]
    with monkeypatch.context() as patch:

        def full(*_: object, **__: object) -> None:
            raise Refused(Finding("runs", "the disk is full", "free some space"))

        patch.setattr("tapeline.commands.sweep.sweep.local.run", full)
        tapeline(*line)
    assert [row["status"] for row in board(folder)] == ["failed"]
    assert tapeline(*line)[0] == 0
    assert [row["status"] for row in board(folder)] == ["finished"]


@pytest.mark.long
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
    for wrong, says in (("+hw=null", "correct the override"), ("name=../x", "is not a folder name")):
        code, _, err = tapeline("sweep", "model=flat,deep", wrong)
        assert (code, len(err.splitlines())) == (2, 1)
        assert says in err
    assert not (folder / "x").exists()
    code, out, err = tapeline("sweep", "model.stepz=1,2")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "did you mean steps?" in err
    assert not list(folder.glob("sweeps/*/jobs/*.json"))
    code, _, err = tapeline("sweep", "model=flat", "split.train=0.00001,0.00002")
    assert code == 2
    assert "no job of this sweep finished" in err
    assert all("leaves none to one side" in row["beside the best"] for row in board(folder))


def test_only_an_accepted_run_that_finished_can_be_published(tapeline: Tapeline, folder: Path) -> None:
    code, _, err = tapeline("publish", "run=nope")
    assert code == 2
    assert "run=nope: runs holds no runs; make one: tapeline run" in err
    assert tapeline("run", "model=flat", "model.steps=20", "model.report_every=20", "gate.threshold=0.99")[0] == 0
    code, _, err = tapeline("publish")
    assert code == 2
    assert "run=latest: the gate rejected the model of " in err
    code, _, err = tapeline("publish", "run=indices_flt")
    assert code == 2
    assert "did you mean indices_flat?" in err
    assert not (folder / "store").exists()


def job(
    folder: Path, name: str, right: int, *, validation: float | None = None, rows: int = 200, overrides: str = ""
) -> dict[str, Any]:
    """A finished job that is right on the first of its test rows; its run has predictions."""
    run, target = folder / "runs" / name, np.arange(rows) % 2
    prediction = np.where(np.arange(rows) < right, target, 1 - target)
    predicted = Predictions(
        {"window": np.zeros(rows, int), "time": np.datetime64("2020-01-01") + np.arange(rows)},
        {"target": target, "prediction": prediction},
        {"majority": np.zeros(rows, int)},
    )
    interval = wilson(right, rows).record()
    overall = {"rows": rows, "accuracy": right / rows, "intervals": {"accuracy": interval}}
    metrics = sample(
        test={"overall": overall, "by": {}},
        validation=None if validation is None else {"overall": {"accuracy": validation}},
    )
    files.write_json(run / "metrics.json", metrics)
    predictions.write(run / "predictions.parquet", predicted)
    words = (overrides or name).split()
    return {"overrides": words, "status": "finished", "problem": None, "run": str(run), "metrics": metrics}


def test_a_difference_is_judged_row_by_row_as_in_comparisons(tmp_path: Path) -> None:
    """b is right on 8 rows on which c is not: the intervals of both scores overlap, and the paired one has no 0."""
    jobs = [job(tmp_path, "a", 120), job(tmp_path, "b", 140), job(tmp_path, "c", 132), job(tmp_path, "d", 138)]
    rows, chosen = leaderboard.rank(jobs)
    assert [(row["job"], row["beside the best"]) for row in rows] == [
        ("b", "the best"), ("d", "may be chance"), ("c", "worse"), ("a", "worse"),
    ]  # fmt: skip
    assert rows[2]["high"] > rows[0]["low"]
    assert rows[2]["change low"] < rows[2]["change"] < rows[2]["change high"] < 0
    assert chosen == "chosen on test, 4 jobs tried"
    best, third = (Run(Path(jobs[at]["run"])).tested for at in (1, 2))
    (shown,) = changes(best, third, only="accuracy")
    assert shown.interval is not None
    assert (shown.interval.low, shown.interval.high) == (rows[2]["change low"], rows[2]["change high"])


def test_ties_share_a_rank_and_are_said(tmp_path: Path) -> None:
    rows, chosen = leaderboard.rank([job(tmp_path, "a", 140), job(tmp_path, "b", 140), job(tmp_path, "c", 120)])
    assert [row["rank"] for row in rows] == [1, 1, 3]
    assert rows[1]["change"] == 0
    assert "2 jobs share the first rank" in chosen


def test_seeds_are_grouped_and_what_is_the_same_in_all_rows_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [
        job(tmp_path, f"{family}{seed}", right + 4 * seed, overrides=f"model={family} seed={seed} hw=cpu")
        for family, right in (("flat", 100), ("deep", 140))
        for seed in (0, 1, 2)
    ]
    leaderboard.write(jobs, tmp_path / "sweeps" / "mine")
    page = (tmp_path / "sweeps" / "mine" / "leaderboard.html").read_text()
    out = capsys.readouterr().out
    assert "all with hw=cpu" in out
    assert "model=deep: 3 seeds, mean 0.7200, sd 0.0200, 0.7000 to 0.7400" in out
    assert out.index("model=deep: 3 seeds") < out.index("model=flat: 3 seeds")
    assert max(map(len, out.splitlines()[:-1])) <= 80
    assert page.count('<svg class="interval"') == 6
    assert page.count('href="../../runs/') == 6
    assert "gate is accepted" in page
    assert '<th scope="col">gate</th>' not in page


@pytest.mark.long
def test_families_that_keep_validation_rows_are_ranked_by_them(tapeline: Tapeline, folder: Path) -> None:
    code, out, _ = tapeline("sweep", "model=lightgbm", "model.steps=5,30")
    assert code == 0
    assert "ranked by validation score" in out
    assert [row["rows"] for row in board(folder)] == ["validation", "validation"]
    assert float(board(folder)[0]["score"]) >= float(board(folder)[1]["score"])
    shown = metrics(folder)
    assert shown["validation"]["overall"]["rows"] == shown["data"]["rows"]["validation"] == 172
    _, out, _ = tapeline("sweep", "model=lightgbm,flat", "model.steps=5", "model.report_every=5")
    assert "chosen on test, 2 jobs tried" in out


def test_validation_scores_rank_where_all_have_one(tmp_path: Path) -> None:
    rows, chosen = leaderboard.rank([job(tmp_path, "a", 120, validation=0.9), job(tmp_path, "b", 140, validation=0.8)])
    assert ([row["job"] for row in rows], chosen) == (["a", "b"], "ranked by validation score")
    rows, chosen = leaderboard.rank([job(tmp_path, "a", 120, validation=0.9), job(tmp_path, "b", 140)])
    assert ([row["job"] for row in rows], chosen) == (["b", "a"], "chosen on test, 2 jobs tried")
