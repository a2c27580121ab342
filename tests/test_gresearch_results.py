"""Boosted trees on real minute bars, out of sample: reference figures, and nothing where there is nothing to learn."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tapeline import lookup
from tapeline.cli import main as cli
from tapeline.datasets import gresearch
from tapeline.evaluation import comparison
from tapeline.models import Rows, Training
from tapeline.serving.servers.server import follow_store
from tapeline.tables import predictions as forecasts
from tapeline.tables import splits, writing
from tapeline.tables.predictions import Predictions
from tapeline.tables.spec import categorical
from tapeline.tables.table import Table, open_table
from tapeline.tables.windows import SIDES, rows_of
from tests.datasets.gresearch.conftest import BINANCE, section
from tests.serving.servables import http, running, until

Array = np.ndarray[Any, Any]
pytestmark = pytest.mark.results


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """The table of the real bars."""
    if not BINANCE.is_file():
        pytest.skip(f"the real data is not here ({BINANCE}); set TAPELINE_DATA")
    keys = section()
    frame = pl.read_csv(BINANCE, infer_schema=False).lazy()
    raw = {name: part.lazy() for name, part in gresearch.ingest(keys, frame, BINANCE.name)}
    folder = tmp_path_factory.mktemp("binance") / "table"
    writing.write(folder, *gresearch.table(keys, raw))
    return open_table(folder)


def scores_of(table: Table, seed: int, shuffled: bool = False) -> dict[str, Any]:
    """Scores of the last 20 % of a model of the experiment, trained on the rows before them."""
    config = lookup.configure(["experiment=gresearch_sample", "split=chronological", "hw.threads=1"])
    (window,) = splits.of_table(config.split, table, timedelta(minutes=16), 0.15)
    names = ("feature", "target", "weight")
    sides = {side: table.read((*names, "time"), rows_of(window, table, side)) for side in SIDES}
    if shuffled:
        for each in sides.values():
            each["target"] = _by_day(each, seed)
    family, task = lookup.family("lightgbm"), lookup.task("returns")
    training = Training(task, seed, lambda *_: None, 1, categorical=categorical(gresearch.SPEC, table.manifest))
    train, validation = (Rows(sides[side]["feature"], sides[side]["target"]) for side in SIDES[:2])
    model, _ = family.fit(config.model, train, validation, training)
    test = sides["test"]
    order = np.argsort(test["time"], kind="stable")
    scored = {"target": test["target"], "weight": test["weight"], **family.predict(model, test["feature"])}
    rows = {"window": np.zeros(len(order), np.int64), "time": test["time"]}
    found = Predictions(rows, scored, {}).take(order)
    return comparison.scores(comparison.answers(task, found, timedelta(minutes=16)))


def _by_day(rows: dict[str, Array], seed: int) -> Array:
    """Targets of each asset in another order of its days."""
    random = np.random.default_rng(seed)
    target = rows["target"].copy()
    asset = rows["feature"][:, 0]
    for number in np.unique(asset):
        own = np.flatnonzero(asset == number)
        days = np.array_split(own, max(2, len(own) // 1440))
        order = random.permutation(len(days))
        target[own] = rows["target"][np.concatenate([days[at] for at in order])]
    return target


def test_the_mean_of_three_seeds_is_above_chance_and_below_a_leak(table: Table) -> None:
    found = [scores_of(table, seed) for seed in range(3)]
    scores = [each["weighted_correlation"] for each in found]
    lows = [each["intervals"]["weighted_correlation"]["low"] for each in found]
    print("weighted correlation", scores, "lower ends", lows)
    assert 0.01 < np.mean(scores) < 0.15
    assert np.mean(lows) > 0


def test_shuffled_targets_teach_nothing(table: Table) -> None:
    ends = scores_of(table, 0, shuffled=True)["intervals"]["weighted_correlation"]
    print("shuffled", ends)
    assert ends["low"] < 0 < ends["high"]


def test_the_path_to_the_file_is_read_as_it_is(tmp_path: Path) -> None:
    if not BINANCE.is_file():
        pytest.skip(f"the real data is not here ({BINANCE}); set TAPELINE_DATA")
    keys = section("dataset.source=csv", f"dataset.path={BINANCE}")
    frame, where = lookup.source(keys).read(keys, gresearch.simulate, tmp_path)
    parts = dict(gresearch.ingest(keys, frame, where))
    assert (len(parts), sum(map(len, parts.values()))) == (9, 386_237)


BARS, HISTORY = 100_000, 4096
"""Of the file; minutes until averages have forgotten where it begins, as in the signature `bars`."""


def test_predictions_of_a_hundred_thousand_bars_are_the_runs(folder: Path) -> None:
    if not BINANCE.is_file():
        pytest.skip(f"the real data is not here ({BINANCE}); set TAPELINE_DATA")
    data = ["experiment=gresearch_sample", "dataset.source=csv", f"dataset.path={BINANCE}"]
    line = [*data, "split=chronological", "hw.threads=1"]
    free = ["gate.threshold=null", "gate.baseline_margin=null", "gate.confidence=null"]
    assert cli.main(["run", *line, "split.train=0.6", "model.steps=200", "model.learning_rate=0.1", *free]) == 0
    whole = pl.read_csv(BINANCE, infer_schema_length=None)
    bars = whole.sort("timestamp", "Asset_ID").tail(BARS)
    bars.select("timestamp", "Asset_ID", "Open", "High", "Low", "Close").write_csv("bars.csv")
    with running(follow_store(str(folder / "store"))) as served:
        until(lambda: http(served.rest_port, "/v1/models/gresearch/metadata")[0] == 200)
        ports = [f"serving.grpc_port={served.grpc_port}", f"serving.rest_port={served.rest_port}"]
        assert cli.main(["predict", *data, *ports, "rows=bars.csv", "out=predictions.csv"]) == 0
    found = pl.read_csv("predictions.csv")
    assert len(found) == BARS
    rows = forecasts.read(folder / "runs" / "latest" / "predictions.parquet")
    own = pl.DataFrame(
        {
            "timestamp": rows.axis.astype("datetime64[s]").astype(np.int64),
            "Asset_ID": rows.rows["partition"].astype(np.int64),
            "wanted": rows.scored["prediction"][:, 0],
        }
    )
    both = found.join(own, on=["timestamp", "Asset_ID"])
    both = both.filter(pl.col("timestamp") > bars["timestamp"][0] + 60 * HISTORY)
    print(f"{len(both):,} of {len(found):,} bars are test rows 4,096 minutes behind its beginning")
    assert len(both) > BARS // 2
    assert both["prediction"].null_count() == 0
    np.testing.assert_allclose(both["prediction"], both["wanted"], rtol=0, atol=1e-12)
