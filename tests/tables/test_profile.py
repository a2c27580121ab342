from __future__ import annotations

import json

import numpy as np
import pytest

from tapeline.features.returns import log_returns
from tapeline.tables import profile as overview
from tapeline.tables.profile import Series, of_series, of_table
from tapeline.tasks import direction, regression

DRAW = np.random.default_rng(0)
NAN = np.nan


def series(rows: int = 500) -> Series:
    """Two markets, of which b repeats a's returns a day later and has holidays."""
    move = DRAW.normal(0, 0.01, rows)
    a, b = 100 * np.exp(np.cumsum(move)), 50 * np.exp(np.cumsum(np.roll(move, 1)))
    b[[3, 100, 101, 102, 400]] = NAN
    return Series(np.datetime64("2020-06-01") + np.arange(rows), {"a": a, "b": b}, "a", "points", "market", "day")


def test_what_is_told_is_what_numpy_says() -> None:
    given = series()
    told = of_series(given)
    a = given.values["a"]
    returns = log_returns(a)[1:]
    assert told["levels"]["a"]["mean"] == pytest.approx(a.mean(), rel=1e-5)
    assert told["levels"]["a"]["q1"] == pytest.approx(np.quantile(a, 0.25), rel=1e-5)
    assert told["returns"]["a"]["sd"] == pytest.approx(returns.std(), rel=1e-5)
    expected = np.corrcoef(returns, log_returns(overview.filled(given.values["b"][:, None])[:, 0])[1:])[0, 1]
    assert told["correlation"][0][0][1] == pytest.approx(expected, abs=1e-3)
    deviation = returns - returns.mean()
    assert told["autocorrelation"]["returns"]["a"][2] == pytest.approx(
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
    told = of_series(Series(given.time, filled, "a", "points", "market", "day"))
    assert told["missing"]["total"]["b"] == 0
    assert told["unchanged"] == {"a": 0, "b": 5}


@pytest.mark.parametrize(
    "values",
    [np.full(100, 5.0), np.full(100, NAN), np.arange(-50.0, 50.0), np.r_[np.full(60, NAN), np.arange(1.0, 41.0)]],
    ids=["constant", "nothing", "below zero", "late"],
)
def test_odd_series_are_told_without_nan(values: np.ndarray) -> None:
    time = np.datetime64("2020-01-01") + np.arange(100)
    given = Series(time, {"a": values, "b": np.arange(1.0, 101.0)}, "a", "points", "market", "day")
    with np.errstate(all="raise"):
        told = of_series(given)
    json.dumps(told, allow_nan=False)
    assert told["moves"] == ("difference" if np.nanmin(np.nan_to_num(values, nan=1)) < 0 else "log return")


def test_a_long_series_takes_no_more_room() -> None:
    small, large = (len(json.dumps(of_series(series(rows)))) for rows in (500, 50_000))
    assert large < 1.5 * small


def test_a_density_holds_nearly_all() -> None:
    told = overview.density(DRAW.normal(size=5000))
    assert np.trapezoid(told["density"], told["at"]) == pytest.approx(0.98, abs=0.02)
    assert overview.density(np.full(10, 1.0)) == {"at": [], "density": []}


def test_periods_are_as_long_as_there_are_a_few() -> None:
    days = np.datetime64("2020-01-01") + np.arange(1500)
    assert overview.periods(days)[0] == ["2020", "2021", "2022", "2023", "2024"]
    assert overview.periods(days[:80])[0] == ["2020-01", "2020-02", "2020-03"]
    assert overview.periods(days[:3].astype("datetime64[m]"))[0] == ["2020-01-01", "2020-01-02", "2020-01-03"]


def test_a_table_tells_of_its_target() -> None:
    time = np.datetime64("2020-01-01") + np.arange(1500)
    features = DRAW.normal(size=(1500, 70)).astype(np.float32)
    names = tuple(f"x{at}" for at in range(70))
    told = of_table(
        time,
        names,
        features,
        direction.describe(time, (time < np.datetime64("2021-01-01")).astype(np.int64), ("down",)),
    )
    assert told["down"]["share"] == [1, 0, 0, 0, 0]
    assert (told["columns"], len(told["features"])) == (70, 60)
    target = np.array([[1.0, NAN]] * 1500)
    told = of_table(time, names, features, regression.describe(time, target, ("output 0", "output 1")))
    assert told["outputs"]["output 0"]["count"] == 1500
    assert told["outputs"]["output 1"]["count"] == 0
    json.dumps(told, allow_nan=False)
