"""A search as a part of a run: its values reach training, report, metrics and lists."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from tapeline import files, lookup
from tapeline.cli import main as cli
from tapeline.config.compose import compose, options
from tapeline.pipeline.execution import view
from tapeline.steps import train
from tapeline.tables import splits
from tapeline.tables.table import open_table
from tapeline.tuning import space
from tests.conftest import metrics, without_pictures
from tests.tuning.problems import SMALL

RUN = [*SMALL, "tune.trials=5", "gate.threshold=0", "gate.baseline_margin=null"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a run of five trials."""
    folder = tmp_path_factory.mktemp("tuned")
    with chdir(folder):
        with without_pictures():
            assert cli.main(["run", *RUN]) == 0
        yield folder


def record(folder: Path, name: str) -> Any:
    return files.read_json(folder / "runs" / "latest" / name)


def test_the_best_values_are_those_that_train(place: Path) -> None:
    study, best, fitted = (record(place, name) for name in ("study.json", "best.json", "fitted.json"))
    values = {each["number"]: each["value"] for each in study["trials"] if each["state"] == "complete"}
    assert study["best"]["value"] == max(values.values()) == values[best["trial"]]
    assert {f"model.{key}" for key, origin in fitted["origin"].items() if origin == "tune"} == set(best["overrides"])
    for key, value in best["overrides"].items():
        assert fitted["section"][key.removeprefix("model.")] == value
    assert len(study["trials"]) == sum(study["counts"].values()) == 5


def test_metrics_name_the_search_and_the_values(place: Path) -> None:
    summary = metrics(place)["tune"]
    assert summary["best"] == record(place, "study.json")["best"]
    assert summary["counts"]["complete"] + summary["counts"]["pruned"] == 5
    assert (summary["metric"]["name"], summary["stopped_by"]) == ("accuracy", "trials")
    assert metrics(place)["trained"]["origin"]["learning_rate"] == "tune"
    assert "trials" not in summary


def test_the_report_shows_every_trial(place: Path) -> None:
    page = (place / "runs" / "latest" / "report.html").read_text()
    for shown in ("tuning-history", "tuning-slices", "tuning-importances", "All trials", "min_data_in_leaf"):
        assert shown in page
    for trial in record(place, "study.json")["trials"]:
        number = trial["number"]
        assert trial["value"] is None or f'data-key="/study/trials/{number}/value"' in page


def test_runs_name_the_values(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["runs"]) == 0
    out = capsys.readouterr().out
    best = record(place, "best.json")["overrides"]
    assert f"tuned: learning_rate={best['model.learning_rate']:.4g}" in out
    assert f"num_leaves={best['model.num_leaves']}" in out


def test_a_second_run_takes_all_from_the_cache_and_a_longer_search_goes_on(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = record(place, "study.json")["trials"]
    assert cli.main(["run", *RUN, "publish=false"]) == 0
    assert "tune       cached" in capfd.readouterr().out
    assert cli.main(["run", *RUN, "tune.trials=6", "publish=false"]) == 0
    out = capfd.readouterr().out
    assert [line.split()[1] for line in out.splitlines() if line.strip().startswith("trial")] == ["5,"]
    assert record(place, "study.json")["trials"][:5] == before
    entries = record(place, "run.json")["entries"]
    (study,) = [each for each in entries if each.startswith("studies/")]
    assert (place / ".tapeline" / "cache" / study / "5.json").is_file()
    assert cli.main(["cache"]) == 0
    assert [line.split()[-2:] for line in capfd.readouterr().out.splitlines() if "studies" in line] == [["a", "run"]]


def test_a_sweep_names_the_values_of_each_job(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    jobs = ["sweep", *RUN[:-2], "tune.trials=5,6", "gate.threshold=0", "gate.baseline_margin=null"]
    assert cli.main([each for each in jobs if each != "tune.trials=5"]) == 0
    text = (place / "sweeps" / "latest" / "leaderboard.csv").read_text()
    assert text.splitlines()[0].endswith(",tuned")
    assert text.count("learning_rate=") == 2


def run_train(table: Path, folder: Path, best: dict[str, Any] | None, *overrides: str) -> dict[str, Any]:
    """fitted.json, and the bytes of the first window's model."""
    path = None
    if best is not None:
        path = folder.with_suffix(".json")
        files.write_json(path, {"overrides": {}, "refit_steps": None, **best})
    config = lookup.configure(overrides)
    train.run(view(config, train.Reads), table=table, best=path, fitted=folder)
    made = files.read_json(folder / "fitted.json")
    return {**made, "digest": files.digest_path(folder / "window_0")}


SPACES = {
    name: lookup.configure([f"model={name}", "tune=optuna"]).tune.space  # type: ignore[union-attr]
    for name in options("model")
    if compose([f"model={name}", "tune=optuna"]).values["tune"]["spaces"].get(name)
    and lookup.family(name).supports(lookup.spec("indices")) is None
}


@pytest.mark.long
@pytest.mark.parametrize("family", SPACES)
def test_each_key_of_a_shipped_space_changes_the_weights(table: Path, tmp_path: Path, family: str) -> None:
    few = [f"model={family}", "model.steps=4", "model.report_every=4"]
    for key, each in SPACES[family].items():
        ends = [each.low, each.high] if each.choices is None else each.choices[:2]
        made = [
            run_train(table, tmp_path / f"{key}{at}", {"overrides": {key: end}}, *few) for at, end in enumerate(ends)
        ]
        assert made[0]["digest"] != made[1]["digest"], key
        assert [one["section"][key.removeprefix("model.")] for one in made] == ends
        assert made[0]["origin"][key.removeprefix("model.")] == "tune"


def test_without_a_search_nothing_comes_from_one(table: Path, tmp_path: Path) -> None:
    few = ["model=lightgbm", "model.steps=4"]
    assert set(run_train(table, tmp_path / "fitted", None, *few)["origin"].values()) == {"configuration"}


def test_refit_trains_on_validation_rows_with_fixed_steps(table: Path, tmp_path: Path) -> None:
    small = ["model=lightgbm", "model.steps=60", "model.report_every=20"]
    plain = run_train(table, tmp_path / "plain", {"overrides": {"model.num_leaves": 7}}, *small)
    refit = run_train(table, tmp_path / "refit", {"overrides": {"model.num_leaves": 7}, "refit_steps": 9}, *small)
    (before,), (after,) = plain["rows"], refit["rows"]
    assert (before["validation"] > 0, after["validation"]) == (True, 0)
    assert after["train"] >= before["train"] + before["validation"]
    assert after["test"] == before["test"]
    assert refit["section"]["early_stopping_rounds"] is None
    assert (refit["section"]["steps"], refit["traces"][0][-1]["step"]) == (9, 9)
    assert {key for key, origin in refit["origin"].items() if origin == "tune"} == {
        "num_leaves", "steps", "early_stopping_rounds",
    }  # fmt: skip


def test_a_family_without_validation_rows_keeps_some_for_the_search_and_says_so(
    table: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = ["step", "tune", "model=flat", "model.steps=2", "model.report_every=2", "tune=optuna", "tune.trials=1"]
    ends = ["--in", f"table={table}", "--out", f"study={tmp_path}/study.json", "--out", f"best={tmp_path}/best.json"]
    assert cli.main([*line, "tune.refit=true", *ends]) == 0
    assert f"keeps none, so the search keeps {space.VALIDATION:.0%}" in capfd.readouterr().out
    study = json.loads((tmp_path / "study.json").read_text())
    rows = study["rows"]
    assert rows["validation"] / sum(rows.values()) == pytest.approx(space.VALIDATION, abs=0.01)
    assert study["validation"]["chosen_by"] == "search"
    assert json.loads((tmp_path / "best.json").read_text())["refit_steps"] == 2


def test_a_sample_of_train_rows_has_whole_blocks(table: Path, tmp_path: Path) -> None:
    ends = ["--in", f"table={table}", "--out", f"study={tmp_path}/study.json"]
    line = ["step", "tune", *SMALL, "tune.trials=1", "tune.rows=300", "tune.block=4w"]
    assert cli.main([*line, *ends]) == 0
    study = json.loads((tmp_path / "study.json").read_text())
    members = study["sample"]["members"]
    assert 280 <= study["rows"]["train"] <= 300
    assert members == sorted(members)
    config, data = lookup.configure(list(SMALL)), open_table(table)
    (window,) = splits.of_table(config.split, data, lookup.spec("indices").horizon, 0.15)
    first, last = (str(each) for each in (window.train[0].first, window.train[0].last))  # type: ignore[union-attr]
    assert all(first[:10] <= begin[:10] <= end[:10] <= last[:10] for begin, end in members)
    (tmp_path / "study.json").unlink()
    assert cli.main([*line, "tune.seed=1", *ends]) == 0
    assert json.loads((tmp_path / "study.json").read_text())["sample"]["members"] != members
