"""A curve keeps its extremes, its ends and its holes, whatever its length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeline.tables.decimation import curve


@settings(max_examples=40)
@given(rows=st.integers(1, 4000), columns=st.integers(2, 50), seed=st.integers(0, 99), data=st.data())
def test_one_row_of_many_is_never_lost(rows: int, columns: int, seed: int, data: st.DataObject) -> None:
    values = np.random.default_rng(seed).normal(size=(rows, 2))
    row = data.draw(st.integers(0, rows - 1))
    values[row, 1] = 1000
    time, points = curve(np.datetime64("2000-01-01") + np.arange(rows), values, columns)
    assert points.shape == (len(time), 2)
    assert len(time) <= 2 * columns + 4 or rows <= 2 * columns + 4
    assert points[:, 1].max() == 1000
    for at in (0, 1):
        assert (points[:, at].min(), points[:, at].max()) == (values[:, at].min(), values[:, at].max())
    np.testing.assert_array_equal(points[[0, -1]], values[[0, -1]])
    assert (np.diff(time.astype(np.int64)) >= 0).all()
    peak = time[points[:, 1].argmax()].astype(np.int64) - time[0].astype(np.int64)
    assert abs(peak - row) <= rows / columns + 1, "in its own pixel column"


def test_a_hole_in_the_times_breaks_the_line() -> None:
    days = np.concatenate([np.arange(500), np.arange(770, 1400)]).astype("datetime64[D]")
    time, points = curve(days, np.ones((len(days), 1)), 100)
    (hole,) = np.flatnonzero(np.isnan(points[:, 0]))
    assert time[hole - 1] <= np.datetime64(499, "D") < time[hole] < np.datetime64(770, "D") <= time[hole + 1]
    weekdays = np.arange("2012-01-02", "2012-04-01", dtype="datetime64[D]")
    weekdays = weekdays[np.is_busday(weekdays)]
    assert np.isfinite(curve(weekdays, np.ones((len(weekdays), 1)))[1]).all(), "weekends do not"


def test_missing_values_stay_missing() -> None:
    values = np.ones((1000, 1))
    values[400:600] = np.nan
    _, points = curve(np.arange(1000), values, 50)
    assert 15 <= np.isnan(points).sum() <= 24
    assert np.isnan(curve(np.arange(3), np.full((3, 1), np.nan))[1]).all()


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_hardly_any_rows_stay(rows: int) -> None:
    time, points = curve(np.arange(rows), np.ones((rows, 1)))
    assert (len(time), len(points)) == (rows, rows)
