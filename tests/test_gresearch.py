"""G-Research end to end on some simulated days: run, report, predictions of a file, Flat and Deep."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tapeline import checks, files, lookup
from tapeline.cli import main as cli
from tapeline.datasets import gresearch
from tapeline.errors import Refused
from tapeline.models import fitted as fits
from tapeline.report import page
from tapeline.serving.servers.server import follow_store
from tapeline.tables import predictions as forecasts
from tapeline.tasks import returns
from tests.datasets.gresearch.recipe import weighted_correlation
from tests.serving.servables import http, running, until

SMALL = ["experiment=gresearch_sample", "dataset.rows=30000", "split.train=1d", "split.test=12h", "hw.threads=1"]
MODEL = ["model.steps=30", "model.report_every=10", "model.learning_rate=0.1", "model.num_leaves=7"]
OPEN = ["gate.threshold=null", "gate.baseline_margin=null", "gate.confidence=null"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with a run that is published."""
    folder = tmp_path_factory.mktemp("gresearch")
    with chdir(folder):
        assert cli.main(["run", *SMALL, *MODEL, *OPEN]) == 0
        (folder / "first").symlink_to((folder / "runs" / "latest").resolve())
        yield folder


@pytest.mark.parametrize("model", ["flat", "deep"])
def test_weights_that_a_family_does_not_use_are_refused(model: str) -> None:
    with pytest.raises(Refused) as refused:
        checks.configured(["dataset=gresearch", "dataset.weights=asset", f"model={model}"])
    [finding] = refused.value.findings
    assert finding.where == "dataset.weights=asset"
    assert "model=lightgbm" in finding.fix


def record(folder: Path, name: str = "metrics.json") -> Any:
    return files.read_json(folder / name)


def test_scores_are_those_of_the_predictions(place: Path) -> None:
    metrics, rows = record(place / "first"), forecasts.read(place / "first" / "predictions.parquet")
    known = np.isfinite(rows.scored["target"])
    target, forecast = rows.scored["target"][known], rows.scored["prediction"][known, 0]
    wanted = weighted_correlation(target, forecast, rows.scored["weight"][known])
    overall = metrics["test"]["overall"]
    assert overall["weighted_correlation"] == pytest.approx(wanted, rel=1e-9)
    assert overall["rmse"] == pytest.approx(float(np.sqrt(np.mean((target - forecast) ** 2))), rel=1e-9)
    assert overall["labels"] == known.sum() < overall["rows"]
    interval = overall["intervals"]["weighted_correlation"]
    assert interval["low"] < overall["weighted_correlation"] < interval["high"]
    assert interval["block"] >= 32
    assert interval["blocks"] * interval["block"] <= len(np.unique(rows.axis))
    assert metrics["config"]["gate"]["metric"] == "weighted_correlation"


def test_scores_are_listed_by_asset_and_by_month(place: Path) -> None:
    metrics, rows = record(place / "first"), forecasts.read(place / "first" / "predictions.parquet")
    by = metrics["test"]["by"]
    assert set(by) == {"asset", "month"}
    assert sum(each["rows"] for each in by["asset"].values()) == metrics["test"]["overall"]["rows"]
    assert sum(each["rows"] for each in by["month"].values()) == metrics["test"]["overall"]["rows"]
    own = rows.take(rows.rows["partition"] == "01").scored
    known = np.isfinite(own["target"])
    wanted = np.corrcoef(own["target"][known], own["prediction"][known, 0])[0, 1]
    assert by["asset"]["Bitcoin"]["weighted_correlation"] == pytest.approx(wanted)
    assert {"zero", "last return", "minus last return"} <= set(metrics["baselines"])
    assert metrics["baselines"]["zero"]["weighted_correlation"] == 0


def test_the_purge_keeps_labels_apart(place: Path) -> None:
    fitted = fits.read(place / "first" / "fitted.json")
    (window,) = fitted.windows
    (train, validation, test) = (getattr(window, side) for side in ("train", "validation", "test"))
    assert train[-1].last + np.timedelta64(16, "m") < validation[0].first
    assert validation[-1].last + np.timedelta64(16, "m") < test[0].first
    assert test[0].first - validation[-1].last > np.timedelta64(1, "h")


def test_the_report_has_its_pictures(place: Path) -> None:
    run = place / "first"
    parts = (record(run), record(run, "scores.json"), record(run, "profile.json"))
    html = page(*parts, fits.read(run / "fitted.json"), forecasts.read(run / "predictions.parquet"))
    for name in ("by-asset", "by-month", "importance", "windows", "prices"):
        assert f'<figure id="{name}"' in html
    assert "/test/by/asset/Bitcoin/weighted_correlation" in html
    assert len(html) < 3_000_000


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[Any]:
    with running(follow_store(str(place / "store"))) as started:
        until(lambda: http(started.rest_port, "/v1/models/gresearch-simulated/metadata")[0] == 200)
        yield [f"serving.grpc_port={started.grpc_port}", f"serving.rest_port={started.rest_port}"]


@pytest.fixture(scope="module")
def bars(place: Path) -> pl.DataFrame:
    """The simulated bars of the run, as a file without targets."""
    section = lookup.configure(SMALL).dataset
    frame: pl.DataFrame = gresearch.simulate(section.seed, **section.simulation)
    frame.select("timestamp", "Asset_ID", "Open", "High", "Low", "Close").write_csv(place / "bars.csv")
    return frame


def test_predictions_of_a_file_are_the_runs(
    place: Path, served: list[str], bars: pl.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["predict", *SMALL[:2], *served, "rows=bars.csv", "out=predictions.csv"]) == 0
    assert f"{len(bars):,} rows" in capsys.readouterr().out
    found = pl.read_csv(place / "predictions.csv")
    rows = forecasts.read(place / "first" / "predictions.parquet")
    own = pl.DataFrame(
        {
            "timestamp": rows.axis.astype("datetime64[s]").astype(np.int64),
            "Asset_ID": rows.rows["partition"].astype(np.int64),
            "wanted": rows.scored["prediction"][:, 0],
        }
    )
    both = own.join(found, on=["timestamp", "Asset_ID"], how="left")
    assert both["prediction"].null_count() == 0
    np.testing.assert_allclose(both["prediction"], both["wanted"], rtol=0, atol=1e-12)


def test_the_latest_bars_of_all_assets(place: Path, served: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", *SMALL[:2], *served, "api=grpc", "json=true"]) == 0
    latest = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "Bitcoin" in latest["asset"]
    assert len(latest["prediction"]) == len(latest["asset"]) <= 14
    assert cli.main(["predict", *SMALL[:2], *served]) == 0
    assert "2021-09-21T00:00:00, Bitcoin: " in capsys.readouterr().out
    assert cli.main(["predict", *SMALL[:2], *served, "random=true"]) == 2


@pytest.mark.parametrize(
    ("column", "value", "wanted"),
    [("High", "0.001", "below the low"), ("timestamp", "61", "minute"), ("Close", "x", "price")],
)
def test_a_wrong_file_of_bars_is_refused_and_nothing_written(
    place: Path,
    served: list[str],
    bars: pl.DataFrame,
    capsys: pytest.CaptureFixture[str],
    column: str,
    value: str,
    wanted: str,
) -> None:
    lines = list(csv.DictReader((place / "bars.csv").read_text().splitlines()[:200]))
    lines[9][column] = value
    with open(place / "wrong.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    assert cli.main(["predict", *SMALL[:2], *served, "rows=wrong.csv", "out=wrong_out.csv"]) == 2
    error = capsys.readouterr().err
    assert "row 10" in error
    assert wanted in error
    assert not (place / "wrong_out.csv").exists()


@pytest.mark.parametrize("family", ["flat", pytest.param("deep", marks=pytest.mark.long)])
def test_networks_fit_it_with_mini_batches(place: Path, family: str) -> None:
    model = [f"model={family}", "model.steps=40", "model.report_every=20", "model.batch_rows=512"]
    assert cli.main(["run", *SMALL[1:], "dataset=gresearch", *model, *OPEN, "publish=false"]) == 0
    latest = place / "runs" / "latest"
    assert np.isfinite(forecasts.read(latest / "predictions.parquet").scored["prediction"]).all()
    assert record(latest)["test"]["overall"]["weighted_correlation"] is not None


def test_original_choices_are_a_tables_own_and_one_asset_is_enough(place: Path) -> None:
    keys = ["dataset.original=true", "dataset.assets=[1]", "publish=false"]
    assert cli.main(["run", *SMALL, *MODEL, *OPEN, *keys]) == 0
    assert list(record(place / "runs" / "latest")["test"]["by"]["asset"]) == ["Bitcoin"]
    rows = forecasts.read(place / "runs" / "latest" / "predictions.parquet").scored
    assert np.isfinite(rows["target"]).all()
    assert (rows["target"] == 0).mean() > 0.01


def test_weights_of_train_rows_change_the_model_and_not_the_metric(place: Path) -> None:
    assert cli.main(["run", *SMALL, *MODEL, *OPEN, "dataset.weights=asset", "publish=false"]) == 0
    plain, weighted = (forecasts.read(place / run / "predictions.parquet").scored for run in ("first", "runs/latest"))
    np.testing.assert_array_equal(plain["weight"], weighted["weight"])
    assert not np.array_equal(plain["prediction"], weighted["prediction"])


def test_a_file_that_is_too_short_is_refused_with_the_longest_that_fits(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", *SMALL, *MODEL, "split.train=9d"]) == 2
    assert "the longest that fits" in capsys.readouterr().err


def test_the_metric_is_the_closed_form() -> None:
    random = np.random.default_rng(0)
    target, forecast, weight = random.normal(size=500), random.normal(size=500), random.uniform(1, 7, 500)
    rows = {"target": np.r_[target, np.nan], "prediction": np.r_[forecast, 5.0][:, None]}
    found = returns.score(rows, np.r_[weight, 100.0])
    assert found["weighted_correlation"] == pytest.approx(weighted_correlation(target, forecast, weight), rel=1e-12)
    assert (found["rows"], found["labels"]) == (501, 500)
    covariance = np.cov(target, forecast, aweights=weight, ddof=0)
    assert found["weighted_correlation"] == pytest.approx(
        covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    )
    constant = {"target": target, "prediction": np.zeros((500, 1))}
    assert returns.score(constant, weight)["weighted_correlation"] == 0
