"""The bitcoin system by all commands: simulated candles, a short training, a server, and the original's inputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline import files
from tapeline.cli import main as cli
from tapeline.clusters.kfp import ui
from tapeline.commands.sweep import leaderboard
from tapeline.serving import saved_model
from tapeline.serving.servers.server import Server, follow_store
from tapeline.tables import raw as raws
from tapeline.tables.table import open_table
from tests import metrics_json
from tests.conftest import artifact
from tests.serving.servables import http, running, until

MODEL = ["dataset=bitcoin", "model=flat", "model.steps=400", "model.report_every=200", "model.initial_bias=0.0"]
RATE = "model.learning_rate=0.003"
OFF = ["gate.baseline_margin=null", "gate.confidence=null"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with a run of each target, `next_day` and `same_day`, both published."""
    folder = tmp_path_factory.mktemp("bitcoin")
    with chdir(folder):
        for target, gate in (("next_day", OFF), ("same_day", [])):
            assert cli.main(["run", *MODEL, RATE, f"dataset.target={target}", *gate]) == 0
            (folder / target).symlink_to((folder / "runs" / "latest").resolve())
        yield folder


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[Server]:
    with running(follow_store(f"{place}/store")) as started:
        for name in ("bitcoin-simulated", "bitcoin-same_day-simulated"):
            until(lambda name=name: http(started.rest_port, f"/v1/models/{name}/metadata")[0] == 200)  # type: ignore[misc]
        yield started


def record(place: Path, target: str, name: str = "metrics.json") -> Any:
    return files.read_json(place / target / name)


def candles(place: Path, target: str = "next_day") -> dict[str, np.ndarray]:
    frame = raws.read(artifact(place / target, "raw", place / ".tapeline" / "cache"))
    days = frame["date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    prices = {name: frame[name].fill_null(np.nan).to_numpy() for name in ("open", "high", "low", "close", "volume")}
    return {"time": days, **prices}


def rows(place: Path, target: str) -> dict[str, np.ndarray]:
    table = open_table(artifact(place / target, "table", place / ".tapeline" / "cache"))
    return table.read(("feature", "time", "last_price"))


def test_a_forecast_is_compared_with_its_baselines(place: Path) -> None:
    metrics = record(place, "next_day")
    assert metrics["ran"]["task"] == "price"
    assert list(metrics["baselines"]) == ["drift", "persistence", "moving average"]
    assert metrics["config"]["gate"]["metric"] == "rmse"
    assert metrics["test"]["overall"]["rmse"] > 0.5 * metrics["baselines"]["persistence"]["rmse"], "a leak"
    for name, interval in metrics["test"]["overall"]["intervals"].items():
        assert interval["method"] == "moving-block bootstrap"
        assert interval["low"] < metrics["test"]["overall"][name] < interval["high"]
    assert "direction_accuracy" in metrics["test"]["overall"]["intervals"]
    assert metrics["data"]["note"] is None


def test_the_same_day_beats_its_baselines_and_is_labelled_a_leak(place: Path) -> None:
    metrics = record(place, "same_day")
    assert metrics["gate"]["accepted"] is True
    assert list(metrics["baselines"]) == ["drift", "open", "previous close", "(high+low)/2"]
    assert "(high+low)/2" in metrics["gate"]["reasons"][0]
    assert metrics["data"]["note"].startswith("Leak")
    page = (place / "same_day" / "report.html").read_text()
    assert page.index("Leak: ") < page.index("Simulated") < page.index("Accepted")
    assert "Leak: " not in (place / "next_day" / "report.html").read_text()


def test_pages_show_the_unit_of_the_prices(place: Path) -> None:
    page = (place / "next_day" / "report.html").read_text()
    assert "the model's rmse is" in page.replace("&#39;", "'")
    assert " USD." in page
    assert "{unit}" not in page
    assert 'id="pairs-0"' not in page, "one series has no pairs"
    assert "1 coin, " in page


def test_a_leaderboard_begins_with_the_label(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = record(place, "same_day")
    finished = {"overrides": ["model=flat"], "status": "finished", "metrics": metrics, "run": "runs/a"}
    leaderboard.write([finished], tmp_path)
    page = (tmp_path / "leaderboard.html").read_text()
    assert page.index("Leak: ") < page.index('id="jobs"')
    assert capsys.readouterr().out.startswith("Leak: ")
    plain = {**finished, "metrics": metrics_json.sample()}
    leaderboard.write([plain], tmp_path)
    assert "Leak" not in (tmp_path / "leaderboard.html").read_text()


def test_kfps_page_has_the_scores_as_numbers(place: Path) -> None:
    shown = ui.SHOWN["metrics"]({"metrics": place / "next_day" / "metrics.json"})
    assert shown["rmse.low"] < shown["rmse"] < shown["rmse.high"]
    assert {"mape", "rmse_log_return", "direction_accuracy", "baseline"} <= shown.keys()


def test_candles_answer_as_predictors_do(place: Path) -> None:
    servable = place / "next_day" / "servable"
    table, found = rows(place, "next_day"), candles(place)
    at = np.searchsorted(found["time"], table["time"].astype("datetime64[D]").astype(np.int64))
    windows = {name: values[at[:, None] + np.arange(-7, 1)] for name, values in found.items()}
    expected = saved_model.load(servable)(table["feature"])["prediction"]
    answers = saved_model.load(servable, "candles")(windows)
    np.testing.assert_allclose(answers["prediction"], expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(answers["price"], table["last_price"][:, None] * np.exp(expected), rtol=1e-6)
    zero = {**windows, "volume": np.nan_to_num(windows["volume"])}
    np.testing.assert_array_equal(saved_model.load(servable, "candles")(zero)["price"], answers["price"])


def test_candles_that_do_not_fit_get_no_answer(place: Path) -> None:
    answer = saved_model.load(place / "next_day" / "servable", "candles")
    found = {name: np.stack([values[-8:]] * 7) for name, values in candles(place).items()}
    found["time"][1, 3] += 1
    found["close"][2, 0] = 0
    found["low"][3, 7] = np.nan
    found["high"][4, 2] = found["low"][4, 2] / 2
    found["open"][5, 7] = np.inf
    found["volume"][6, 7] = -1
    np.testing.assert_array_equal(np.isfinite(answer(found)["price"][:, 0]), [True, *[False] * 5, True])
    assert np.isnan(answer(found)["prediction"][1, 0])


def test_a_csv_row_and_an_example_answer_as_three_numbers_do(place: Path) -> None:
    from tapeline import tensorflow as tf

    servable, found = place / "same_day" / "servable", candles(place, "same_day")
    prices = {name: found[name][-40:].astype(np.float32).astype(np.float64) for name in ("open", "high", "low")}
    expected = saved_model.load(servable)(rows(place, "same_day")["feature"][-40:])
    three = saved_model.load(servable, "open_high_low")(prices)
    np.testing.assert_allclose(three["prediction"], expected["prediction"], rtol=1e-4, atol=1e-6)
    text = [",".join(map(repr, map(float, row))) for row in zip(*prices.values(), strict=True)]
    wide = [f"bitcoin, 2018-03-25, {row.replace(',', ', ')}, 1.0" for row in text]
    for lines in (text, wide):
        answer = saved_model.load(servable, "csv_row")({"csv_row": np.array(lines, object)})
        np.testing.assert_array_equal(answer["price"], three["price"])
    train = tf.load().train
    examples = []
    for at in range(40):
        feature = {name: train.Feature(float_list=train.FloatList(value=[each[at]])) for name, each in prices.items()}
        examples.append(train.Example(features=train.Features(feature=feature)).SerializeToString())
    answer = saved_model.load(servable, "example")({"example_proto": np.array(examples, object)})
    np.testing.assert_allclose(answer["price"], three["price"], rtol=1e-12)


@pytest.mark.parametrize(
    "line", ["", "1,2", "1,2,x", "1,nan,1", "0,1,1", "1,1,2", "1,2,1,4", "slug, date, open, high, low, close", "-1,1,1"]
)
def test_a_row_that_is_no_price_gets_no_answer(place: Path, line: str) -> None:
    answer = saved_model.load(place / "same_day" / "servable", "csv_row")
    found = answer({"csv_row": np.array([line, "10,11,9"], object)})["price"]
    assert np.isfinite(found[:, 0]).tolist() == [False, True]


def predict(served: Server, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    ports = [f"serving.grpc_port={served.grpc_port}", f"serving.rest_port={served.rest_port}"]
    assert cli.main(["predict", "json=true", *MODEL[:1], *ports, *words]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_date_answers_with_the_next_days_price(
    place: Path, served: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    found, servable = candles(place), saved_model.load(place / "next_day" / "servable")
    table = rows(place, "next_day")
    for api in ("rest", "grpc"):
        answer = predict(served, capsys, "date=2018-03-24", f"api={api}")
        assert (answer["date"], answer["forecast_for"]) == ("2018-03-24", "2018-03-25")
        assert answer["last_price"] == found["close"][-2]
        expected = servable(table["feature"][-1:])["prediction"][0, 0]
        assert answer["prediction"] == pytest.approx([expected])
        assert answer["price"] == pytest.approx(answer["last_price"] * np.exp(expected))
    newest = predict(served, capsys)
    assert (newest["date"], newest["forecast_for"]) == ("2018-03-25", "2018-03-26")
    assert newest["last_price"] == found["close"][-1]
    early = predict(served, capsys, "date=2013-07-01")
    assert early["price"] > 0, "the volume is not known on that day"
    same = predict(served, capsys, "dataset.target=same_day", "date=2018-03-24")
    assert same["forecast_for"] == "2018-03-24"
    assert same["last_price"] == found["open"][-2]


def test_a_file_of_rows_may_leave_a_feature_empty(
    place: Path, served: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    names = saved_model.read_metadata(place / "next_day" / "servable")["features"]
    values = ["" if name == "volume_change" else "0.1" for name in names]
    (tmp_path / "rows.csv").write_text(f"{','.join(names)}\n{','.join(values)}\n")
    answer = predict(served, capsys, f"rows={tmp_path}/rows.csv")
    assert np.isfinite(answer["prediction"][0])
    assert "price" not in answer
