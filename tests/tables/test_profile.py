from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tapeline.features.returns import log_returns
from tapeline.tables import profile as overview
from tapeline.tables.profile import Series, of_series, of_table
from tapeline.tables.spec import Column, Manifest
from tapeline.tables.table import Table
from tapeline.tables.writing import write
from tapeline.tasks import direction, regression
from tests.tables.tables import FACES, faces

DRAW = np.random.default_rng(0)
NAN = np.nan


def series(rows: int = 500) -> Series:
    """Two markets, of which b repeats a's returns a day later and has holidays."""
    move = DRAW.normal(0, 0.01, rows)
    a, b = 100 * np.exp(np.cumsum(move)), 50 * np.exp(np.cumsum(np.roll(move, 1)))
    b[[3, 100, 101, 102, 400]] = NAN
    return Series(np.datetime64("2020-06-01") + np.arange(rows), {"a": a, "b": b}, "a", "points", "market", "day")


def test_what_is_reported_is_what_numpy_says() -> None:
    given = series()
    record = of_series(given)
    a = given.values["a"]
    returns = log_returns(a)[1:]
    assert record["levels"]["a"]["mean"] == pytest.approx(a.mean(), rel=1e-5)
    assert record["levels"]["a"]["q1"] == pytest.approx(np.quantile(a, 0.25), rel=1e-5)
    assert record["returns"]["a"]["sd"] == pytest.approx(returns.std(), rel=1e-5)
    expected = np.corrcoef(returns, log_returns(overview.filled(given.values["b"][:, None])[:, 0])[1:])[0, 1]
    assert record["correlation"][0][0][1] == pytest.approx(expected, abs=1e-3)
    deviation = returns - returns.mean()
    assert record["autocorrelation"]["returns"]["a"][2] == pytest.approx(
        deviation[3:] @ deviation[:-3] / (deviation @ deviation), rel=1e-4
    )


def test_a_follower_shows_at_its_lag() -> None:
    correlation = of_series(series())["correlation"]
    assert correlation[1][1][0] > 0.9, "b today with a the day before"
    assert abs(correlation[1][0][1]) < 0.2, "and not the other way round"


def test_missing_values_are_counted_and_not_forgotten() -> None:
    missing = of_series(series())["missing"]
    assert missing["total"] == {"a": 0, "b": 5}
    assert missing["longest"] == {"a": 0, "b": 3}
    assert sum(missing["counts"]["b"]) == 5
    assert sum(missing["rows"]) == 500
    filled = overview.filled(np.array([[NAN, 1.0], [2.0, NAN], [NAN, NAN]]))
    np.testing.assert_array_equal(filled, [[NAN, 1.0], [2.0, 1.0], [2.0, 1.0]])


def test_values_filled_before_show_as_unchanged() -> None:
    given = series()
    filled = {name: overview.filled(column[:, None])[:, 0] for name, column in given.values.items()}
    record = of_series(Series(given.time, filled, "a", "points", "market", "day"))
    assert record["missing"]["total"]["b"] == 0
    assert record["unchanged"] == {"a": 0, "b": 5}


@pytest.mark.parametrize(
    "values",
    [np.full(100, 5.0), np.full(100, NAN), np.arange(-50.0, 50.0), np.r_[np.full(60, NAN), np.arange(1.0, 41.0)]],
    ids=["constant", "nothing", "below zero", "late"],
)
def test_odd_series_are_reported_without_nan(values: np.ndarray) -> None:
    time = np.datetime64("2020-01-01") + np.arange(100)
    given = Series(time, {"a": values, "b": np.arange(1.0, 101.0)}, "a", "points", "market", "day")
    with np.errstate(all="raise"):
        record = of_series(given)
    json.dumps(record, allow_nan=False)
    assert record["moves"] == ("difference" if np.nanmin(np.nan_to_num(values, nan=1)) < 0 else "log return")


def test_a_long_series_takes_no_more_room() -> None:
    small, large = (len(json.dumps(of_series(series(rows)))) for rows in (500, 50_000))
    assert large < 1.5 * small


def test_a_density_holds_nearly_all() -> None:
    record = overview.density(DRAW.normal(size=5000))
    assert np.trapezoid(record["density"], record["at"]) == pytest.approx(0.98, abs=0.02)
    assert overview.density(np.full(10, 1.0)) == {"at": [], "density": []}


def test_periods_are_as_long_as_there_are_a_few() -> None:
    days = np.datetime64("2020-01-01") + np.arange(1500)
    assert overview.periods(days)[0] == ["2020", "2021", "2022", "2023", "2024"]
    assert overview.periods(days[:80])[0] == ["2020-01", "2020-02", "2020-03"]
    assert overview.periods(days[:3].astype("datetime64[m]"))[0] == ["2020-01-01", "2020-01-02", "2020-01-03"]


TIME = np.datetime64("2020-01-01") + np.arange(1500)
NAMES = [f"x{at}" for at in range(70)]


def tabled(folder: Path, task: str, targets: Mapping[str, np.ndarray]) -> Table:
    """A table of 70 columns, and these targets."""
    columns = [Column("time", "time", "datetime64[D]")]
    columns += [Column(name, "target", values.dtype.name) for name, values in targets.items()]
    columns += [Column(name, "feature", "float32") for name in NAMES]
    features = dict(zip(NAMES, DRAW.normal(size=(70, 1500)).astype(np.float32), strict=True))
    header = Manifest(task, "many", tuple(columns), tuple(targets))
    return Table(folder, write(folder, header, [("all", pl.DataFrame({"time": TIME, **targets, **features}))]))


def test_a_table_is_described_with_its_target(tmp_path: Path) -> None:
    down = (np.datetime64("2021-01-01") > TIME).astype(np.int64)
    table = tabled(tmp_path / "direction", "direction", {"target": down})
    found = of_table(table, direction.describe)
    assert found["down"]["share"] == [1, 0, 0, 0, 0]
    assert (found["rows"], found["described"], found["first"], found["last"]) == (
        1500,
        1500,
        "2020-01-01",
        "2024-02-08",
    )
    assert (found["columns"], list(found["features"])) == (70, NAMES[:60])
    fifth = table.column("all", "x5")
    assert found["features"]["x5"]["mean"] == pytest.approx(fifth.mean(), rel=1e-5)
    table = tabled(tmp_path / "regression", "regression", {"there": np.ones(1500), "missing": np.full(1500, NAN)})
    found = of_table(table, regression.describe)
    assert [found["outputs"][name]["count"] for name in ("there", "missing")] == [1500, 0]
    json.dumps(found, allow_nan=False)


def test_a_large_table_is_described_by_rows_spread_over_its_parts(
    two: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = of_table(two, regression.describe)
    monkeypatch.setattr(overview, "ROWS", 50)
    some = of_table(two, regression.describe)
    assert (whole["described"], some["described"]) == (137, 34 + 13)
    for key in ("rows", "first", "last", "columns"):
        assert some[key] == whole[key]
    ends = two.part("BTC")
    assert (whole["first"], whole["last"]) == (ends.first, ends.last)


def test_features_with_a_shape_are_counted_and_not_described(tmp_path: Path) -> None:
    table = Table(tmp_path / "faces", write(tmp_path / "faces", FACES, [("all", faces(30)[0])]))
    found = of_table(table, regression.describe)
    assert (found["columns"], found["features"], found["first"], found["last"]) == (1, {}, 0, 29)
    assert set(found["outputs"]) == {"nose_x", "nose_y"}
