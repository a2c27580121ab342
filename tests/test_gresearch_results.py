"""Boosted trees on real minute bars, out of sample: reference figures, and nothing where there is nothing to learn."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tapeline import lookup
from tapeline.datasets import gresearch
from tapeline.evaluation import comparison
from tapeline.models import Rows, Training
from tapeline.tables import splits, writing
from tapeline.tables.predictions import Predictions
from tapeline.tables.spec import categorical
from tapeline.tables.table import Table, open_table
from tapeline.tables.windows import SIDES, rows_of
from tests.datasets.gresearch.conftest import BINANCE, section

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
    keys: Any = lookup.configure(["dataset=gresearch", "dataset.source=csv", f"dataset.path={BINANCE}"]).dataset
    frame, where = lookup.source(keys).read(keys, gresearch.simulate, tmp_path)
    parts = dict(gresearch.ingest(keys, frame, where))
    assert (len(parts), sum(map(len, parts.values()))) == (9, 386_237)
