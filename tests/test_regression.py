"""A regression with missing labels, and a context column, by all commands: see tests/toys."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import chdir
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline import files, lookup
from tapeline.cli import main as cli
from tapeline.clusters.kfp import ui
from tapeline.evaluation.comparison import changes
from tapeline.pipeline.run_folder import Run
from tapeline.serving import saved_model as servable
from tapeline.serving.servers.server import follow_store
from tapeline.tables import predictions
from tests import toy
from tests.serving.servables import http, running, until

POOR = [*toy.MODEL[:2], "model.steps=5", "model.report_every=5", "model.learning_rate=0.01"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with a first run, accepted and published."""
    folder = tmp_path_factory.mktemp("toy")
    with chdir(folder), toy.installed(folder):
        assert cli.main(["run", *toy.MODEL, "gate.confidence=0.95"]) == 0
        (folder / "first").symlink_to((folder / "runs" / "latest").resolve())
        yield folder


def record(folder: Path, name: str = "metrics.json") -> Any:
    return files.read_json(folder / name)


def refused(capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    assert cli.main(["run", *overrides]) == 2
    return capsys.readouterr().err


def test_it_is_accepted_by_its_lead_over_the_best_baseline(place: Path) -> None:
    metrics = record(place / "first")
    assert metrics["gate"]["accepted"] is True
    assert [name in metrics["gate"]["reasons"][0] for name in metrics["baselines"]] == [False, True, False]
    assert metrics["config"]["gate"]["metric"] == "rmse"
    assert metrics["test"]["overall"]["rmse"] < 0.6 < metrics["baselines"]["zero"]["rmse"]
    assert metrics["test"]["overall"]["labels"] < metrics["test"]["overall"]["rows"] == 80
    for name in ("rmse", "mae", "correlation", "r2"):
        interval = metrics["test"]["overall"]["intervals"][name]
        assert interval["low"] < metrics["test"]["overall"][name] < interval["high"]
        assert {"block", "seed", "repetitions"} <= set(interval)
    assert (place / "store" / "toy-simulated" / "1").is_dir()


def test_context_is_in_no_models_input(place: Path) -> None:
    assert servable.read_metadata(place / "first" / "servable")["features"] == ["first", "second"]
    assert "close" in predictions.read(place / "first" / "predictions.parquet").scored


def test_the_page_shows_numbers_and_no_classes(place: Path) -> None:
    page = (place / "first" / "report.html").read_text()
    for shown in ('id="errors"', 'id="pairs"', 'id="over-time"', "s rmse is", "Rows without a label"):
        assert shown in page
    for absent in ('id="roc"', 'id="confusion"', "accuracy", "Positive is down"):
        assert absent not in page


def test_a_lead_that_may_be_chance_is_too_little(place: Path) -> None:
    assert cli.main(["run", *POOR, "model.steps=40", "gate.confidence=0.9999", "publish=false"]) == 0
    metrics = record(place / "runs" / "latest")
    assert metrics["test"]["overall"]["rmse"] < metrics["baselines"]["zero"]["rmse"]
    assert metrics["gate"]["accepted"] is False
    assert "at least 0" in metrics["gate"]["reasons"][0]
    assert "its lower end is not above 0" in metrics["gate"]["reasons"][1]


def test_the_champion_is_compared_in_the_same_metric(place: Path) -> None:
    assert cli.main(["run", *POOR, "gate.baseline_margin=null", "gate.champion_margin=0.05"]) == 0
    metrics = record(place / "runs" / "latest")
    assert metrics["gate"]["accepted"] is False
    assert metrics["champion"]["score"] < metrics["champion"]["candidate"]
    assert metrics["champion"]["rows"] == 80, "the purge left no train row whose label reaches a test row"


def test_runs_are_listed_and_compared_row_by_row(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", *toy.MODEL, "seed=1", "model.steps=20", "publish=false"]) == 0
    other = (place / "runs" / "latest").resolve().name
    capsys.readouterr()
    assert cli.main(["runs"]) == 0
    listed = capsys.readouterr().out
    line = next(each for each in listed.splitlines() if (place / "first").resolve().name in each)
    assert " to " in line
    assert "rmse on 80 test rows" in listed
    assert cli.main(["runs", f"compare={(place / 'first').resolve().name},{other}"]) == 0
    out = capsys.readouterr().out
    assert out.count("paired moving-block bootstrap") == 4
    before, after = (Run(place / "runs" / name).tested for name in ((place / "first").resolve().name, other))
    found = {each.metric.name: each for each in changes(before, after)}
    assert found["rmse"].after > found["rmse"].before
    assert (found["rmse"].verdict, found["correlation"].verdict) == ("worse", "worse") or found["rmse"].interval


@pytest.mark.long
def test_a_sweep_ranks_the_least_error_first(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["sweep", "dataset=toy", "model=flat,lightgbm", "model.steps=40", "model.report_every=20"]
    assert cli.main([*line, "++model.learning_rate=0.001,0.05"]) == 0
    with open(place / "sweeps" / "latest" / "leaderboard.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    scores = [float(row["score"]) for row in rows]
    assert (len(rows), scores) == (4, sorted(scores))
    assert {row["metric"] for row in rows} == {"rmse"}
    assert rows[0]["beside the best"] == "the best"
    assert rows[-1]["beside the best"] == "worse"
    assert all(float(row["low"]) < float(row["test"]) < float(row["high"]) for row in rows)


def test_served_and_asked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(follow_store(f"{place}/store")) as server:
        until(lambda: http(server.rest_port, "/v1/models/toy-simulated/metadata")[0] == 200)
        ports = [f"serving.grpc_port={server.grpc_port}", f"serving.rest_port={server.rest_port}"]
        for api in ("rest", "grpc"):
            capsys.readouterr()
            assert cli.main(["predict", "dataset=toy", "date=2020-06-01", "json=true", f"api={api}", *ports]) == 0
            answer = json.loads(capsys.readouterr().out.splitlines()[-1])
            assert list(answer) == ["date", "prediction", "model_version", "version", "latency_ms"]
            toy_dataset: Any = lookup.dataset_named("toy")

            raw = toy_dataset.simulate(0)
            row = raw.filter(raw["day"] == date(2020, 6, 1)).select("first", "second").to_numpy()
            row = row.astype(np.float32)
            own = servable.load(place / "store" / "toy-simulated" / str(answer["version"]))(row)["prediction"]
            assert answer["prediction"] == pytest.approx(own[0].tolist())


def test_kfps_page_has_its_numbers(place: Path) -> None:
    paths = {name: place / "first" / f"{name}.json" for name in ("metrics", "scores")}
    paths["predictions"] = place / "first" / "predictions.parquet"
    shown = ui.SHOWN["metrics"](paths)
    metrics = record(place / "first")
    assert shown["baseline"] == metrics["baselines"]["zero"]["rmse"]
    assert shown["rmse.low"] < shown["rmse"] < shown["rmse.high"]
    assert ui.SHOWN["scores"](paths) == {}


def test_a_task_of_its_own_reads_the_context(place: Path) -> None:
    """One module: its metric is in the gate, in scores and in the report."""
    model = ["dataset=traded", *toy.MODEL[1:]]
    assert cli.main(["run", *model, "gate.metric=profit", "gate.threshold=0.1", "publish=false"]) == 0
    metrics = record(place / "runs" / "latest")
    rows = predictions.read(place / "runs" / "latest" / "predictions.parquet").scored
    earned = np.mean(np.sign(rows["prediction"][:, 0]) * np.r_[np.diff(rows["close"]), 0])
    assert metrics["test"]["overall"]["profit"] == pytest.approx(earned)
    assert metrics["gate"]["accepted"] is True
    assert "profit" in (place / "runs" / "latest" / "report.html").read_text()
    assert servable.read_metadata(place / "runs" / "latest" / "servable")["features"] == ["first", "second"]


def test_what_cannot_work_is_refused_with_what_can(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "gate.threshold=-1: rmse is never below it" in refused(capsys, *toy.MODEL, "gate.threshold=-1")
    assert "choose one of: rmse, mae, correlation, r2" in refused(capsys, *toy.MODEL, "gate.metric=accuracy")
    module: Any = lookup.module("datasets", "toy", "dataset.name")
    spec = module.SPEC
    patched = {"outputs": ("x", "y")}, {"feature_shape": (96, 96)}
    several, images = (type(spec)(**{**vars(spec), **each}) for each in patched)
    monkeypatch.setattr(module, "SPEC", several)
    said = refused(capsys, "dataset=toy", "model=lightgbm")
    assert "model.family=lightgbm: LightGBM forecasts one number" in said
    assert "choose model=deep or model=flat" in said
    monkeypatch.setattr(module, "SPEC", images)
    said = refused(capsys, "dataset=toy", "model=lightgbm")
    assert "shape (96, 96)" in said
    assert "choose model=conv or model=deep or model=flat" in said
