"""Intervals against what is known of them: closed forms, coverage of dependent data, seeds and blocks."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeline.intervals import (
    GROUPS,
    REPETITIONS,
    SEED,
    Units,
    bootstrap,
    by_group,
    by_row,
    by_time,
    jackknife,
    remaining,
    student,
    wilson,
)

DAY = timedelta(days=1)


def mean(sums: np.ndarray) -> np.ndarray:
    return np.asarray(sums[..., 0] / sums[..., 1])


def sums(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones(len(values))], axis=1)


def days(rows: int) -> np.ndarray:
    return np.datetime64("2020-01-01") + np.arange(rows)


def test_wilson_keeps_what_metrics_json_has() -> None:
    assert list(wilson(200, 288).record()) == ["low", "high", "level", "method"]
    assert wilson(200, 288, 0.99).low < wilson(200, 288).low


@given(st.integers(1, 5000), st.floats(0, 1))
def test_wilson_is_the_closed_form(rows: int, part: float) -> None:
    share, z = round(part * rows) / rows, 1.959963984540054
    found = wilson(round(part * rows), rows)
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half), abs=1e-12)
    assert 0 <= found.low <= share <= found.high <= 1


def test_rows_of_one_time_are_one_unit_in_the_order_of_time() -> None:
    units = by_time(np.array(["2020-01-02", "2020-01-01", "2020-01-02", "2020-01-05"], "datetime64[D]"), None)
    assert (units.of.tolist(), units.count, units.length) == ([1, 0, 1, 2], 3, 1)
    assert by_group(np.array(["b", "a", "b"])).of.tolist() == [1, 0, 1]
    assert by_row(3).of.tolist() == [0, 1, 2]


@given(
    st.lists(st.integers(0, 3000), min_size=2, max_size=60, unique=True),
    st.integers(0, 200),
)
def test_a_block_covers_twice_the_horizon(minutes: list[int], horizon: int) -> None:
    time = np.datetime64("2020-01-01T00:00") + np.sort(minutes)
    units = by_time(time, timedelta(minutes=horizon))
    starts = np.arange(len(time) - units.length)
    spans = (time[starts + units.length] - time[starts]).astype(int)
    assert (spans >= 2 * horizon).all(), "from the first time of a block to the first behind it"


def test_the_bootstrap_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(1).normal(size=2000)
    found = bootstrap(sums(values), mean, by_row(2000))
    assert found is not None
    error = values.std() / np.sqrt(2000)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    assert found.low < values.mean() < found.high
    record = found.record()
    assert (record["seed"], record["repetitions"], record["block"]) == (SEED, REPETITIONS, 1)


def test_blocks_see_that_neighbours_err_alike() -> None:
    """Of sums over 20 days, taken each day, the error of the mean is that of independent ones, not of rows."""
    noise = np.random.default_rng(2).normal(size=4019)
    values = np.convolve(noise, np.ones(20), "valid")
    error = 20 / np.sqrt(4000)
    alone, blocks = (bootstrap(sums(values), mean, each) for each in (by_row(4000), by_time(days(4000), 20 * DAY)))
    assert alone is not None
    assert blocks is not None
    assert blocks.block == 40
    assert (blocks.high - blocks.low) / 2 == pytest.approx(1.96 * error, rel=0.25)
    assert alone.high - alone.low < 0.4 * (blocks.high - blocks.low)


def test_rows_of_one_time_are_drawn_together() -> None:
    """Fourteen assets that move as one are no more than one."""
    values = np.random.default_rng(3).normal(size=1000)
    time = days(1000)
    one = bootstrap(sums(values), mean, by_time(time, None))
    many = bootstrap(sums(np.tile(values, 14)), mean, by_time(np.tile(time, 14), None))
    assert one is not None
    assert many is not None
    assert (many.low, many.high) == pytest.approx((one.low, one.high))


def test_the_same_seed_gives_the_same_and_another_does_not() -> None:
    values = sums(np.random.default_rng(4).normal(size=300))
    units = by_time(days(300), DAY)
    assert bootstrap(values, mean, units) == bootstrap(values, mean, units)
    assert bootstrap(values, mean, units, seed=1) != bootstrap(values, mean, units)
    wide, narrow = bootstrap(values, mean, units, 0.99), bootstrap(values, mean, units, 0.5)
    assert wide is not None
    assert narrow is not None
    assert wide.low < narrow.low < narrow.high < wide.high


@settings(max_examples=20)
@given(st.integers(50, 400))
def test_the_jackknife_of_a_mean_of_single_rows_is_its_standard_error(rows: int) -> None:
    values = np.random.default_rng(rows).normal(size=rows)
    units = Units(np.arange(rows) * GROUPS // rows, GROUPS, 1, "groups")
    found = jackknife(values.mean(), [values[left].mean() for left in remaining(units)], units)
    assert found is not None
    assert (found.blocks, found.block) == (GROUPS, 1)
    if rows == GROUPS:
        half = student(0.95, GROUPS) * values.std(ddof=1) / np.sqrt(rows)
        assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half))


def test_too_few_blocks_have_no_interval() -> None:
    values = np.arange(30.0)
    units = by_time(days(30), 10 * DAY)
    assert bootstrap(sums(values), mean, units) is None
    assert jackknife(values.mean(), [values[left].mean() for left in remaining(units)], units) is None
    assert jackknife(1.0, [1.0, None], by_row(100)) is None
    assert jackknife(None, [1.0, 2.0], by_row(100)) is None
