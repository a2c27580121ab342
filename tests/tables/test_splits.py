"""Splits: the rows of the recipe before, no overlap, purge and embargo in durations, rows and groups without time."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tapeline.errors import Refused
from tapeline.lookup import configure
from tapeline.tables import windows
from tapeline.tables.spec import parse_duration
from tapeline.tables.splits import periods
from tapeline.tables.splits.base import Timed
from tapeline.tables.splits.by_group import Section as ByGroup
from tapeline.tables.splits.by_row import Section as ByRow
from tapeline.tables.windows import Period, Window
from tests.tables import reference
from tests.tables.sections import chronological, dates, days, drawn, numbers, rolling, sides, walk

Array = np.ndarray[Any, Any]
NONE = timedelta(0)


def same(made: tuple[Window, ...], times: Array, expected: reference.Windows) -> None:
    assert len(made) == len(expected)
    for window, (train, test) in zip(made, expected, strict=True):
        assert [side.tolist() for side in sides(window, times)] == [train.tolist(), [], test.tolist()]


def times_of(least: int) -> st.SearchStrategy[Array]:
    """At least so many times, half days or more apart, of one to three rows each."""
    return st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=least, max_size=60).map(
        lambda pairs: np.repeat(
            np.datetime64("2020-01-01T07:00", "us") + np.cumsum([gap for gap, _ in pairs]) * np.timedelta64(12, "h"),
            [rows for _, rows in pairs],
        )
    )


moments, longer = times_of(1), times_of(30)
filtering = settings(suppress_health_check=[HealthCheck.filter_too_much])


@given(moments, st.floats(0.05, 0.95))
def test_chronological_has_the_rows_of_before(times: Array, train: float) -> None:
    try:
        made = periods(chronological(train=train), times, NONE)
    except Refused:
        return
    same(made, times, reference.chronological(times, train))


@given(moments, st.integers(1, 60), st.none() | st.integers(1, 9), st.none() | st.integers(9, 30))
def test_dates_have_the_rows_of_before(times: Array, until: int, begin: int | None, end: int | None) -> None:
    first = np.datetime64("2020-01-01")
    marks: dict[str, Any] = {
        "train_until": str(first + until),
        "test_from": None if begin is None else str(first + until + begin),
        "test_until": None if end is None else str(first + until + end),
    }
    try:
        made = periods(dates(**marks), times, NONE)
    except Refused:
        return
    same(made, times, reference.dates(times, **marks))


@given(moments, st.integers(1, 6), st.floats(0.05, 0.95), st.none() | st.integers(1, 40), st.none() | st.integers(1, 8))
def test_walk_forward_has_the_rows_of_before(
    times: Array, count: int, train: float, train_rows: int | None, test_rows: int | None
) -> None:
    keys: dict[str, Any] = {"windows": count, "train": train, "train_rows": train_rows, "test_rows": test_rows}
    try:
        made = periods(walk(**keys), times, NONE)
    except Refused:
        return
    same(made, times, reference.walk_forward(times, **keys))


durations = st.sampled_from(["0s", "30m", "12h", "1d", "36h", "3d", "1w"])


@st.composite
def timed(draw: st.DrawFn) -> Timed:
    keys = {"purge": draw(st.none() | durations), "validation": draw(st.none() | st.floats(0, 0.6))}
    embargo = draw(durations)
    return draw(
        st.sampled_from(
            [
                chronological(train=draw(st.floats(0.1, 0.9)), **keys),
                dates(train_until=f"2020-01-{draw(st.integers(1, 28)):02}", **keys),
                walk(windows=draw(st.integers(1, 5)), train=draw(st.floats(0.1, 0.9)), embargo=embargo, **keys),
                walk(train_rows=draw(st.integers(1, 30)), test_rows=draw(st.integers(1, 6)), embargo=embargo, **keys),
                rolling(train=draw(st.sampled_from(["3d", "10d", "2w"])), gap=draw(durations), embargo=embargo, **keys),
            ]
        )
    )


@filtering
@given(longer, timed(), st.sampled_from([NONE, timedelta(minutes=16), timedelta(days=2)]), st.sampled_from([0.0, 0.15]))
def test_no_label_reaches_a_later_side_and_every_test_row_is_pooled_once(
    times: Array, split: Timed, horizon: timedelta, share: float
) -> None:
    try:
        made = periods(split, times, horizon, share)
    except Refused:
        assume(False)
    reach = np.timedelta64(horizon if split.purge is None else parse_duration(split.purge))
    embargo = np.timedelta64(parse_duration(getattr(split, "embargo", "0d")))
    share = share if split.validation is None else split.validation
    pooled = [sides(window, times)[2] for window in made]
    assert (np.diff(np.concatenate(pooled)) > 0).all()
    for number, window in enumerate(made):
        train, validation, test = (times[side] for side in sides(window, times))
        assert len(train)
        assert len(test)
        assert bool(len(validation)) == bool(share)
        later = [side.min() for side in (validation, test) if len(side)]
        assert (train + reach < min(later)).all()
        assert not len(validation) or (validation < test.min() - reach).all()
        for earlier in pooled[:number]:
            end = times[earlier[-1]]
            for side in (train, validation):
                assert not ((side > end) & (side <= end + embargo)).any()


@filtering
@given(longer, timed())
def test_a_window_is_the_same_after_json(times: Array, split: Timed) -> None:
    try:
        made = periods(split, times, timedelta(hours=1), 0.2)
    except Refused:
        assume(False)
    again = tuple(windows.read(json.loads(json.dumps(window.record()))) for window in made)
    assert again == made


@given(longer)
def test_rows_of_a_part_follow_from_the_periods_of_all(times: Array) -> None:
    """Each part's rows are those whose time lies on the side, though the periods come from all parts."""
    parts = [times[::2], times[1::2]]
    try:
        made = periods(walk(windows=3, train=0.3, embargo="1d"), windows.distinct(parts), NONE, 0.2)
    except Refused:
        assume(False)
    for window in made:
        for side in windows.SIDES:
            whole = set(times[numbers(window, times, side)].tolist())
            for part in parts:
                expected = [row for row, time in enumerate(part.tolist()) if time in whole]
                assert numbers(window, part, side).tolist() == expected


def test_purge_and_embargo_in_numbers() -> None:
    split = walk(train=0.25, windows=3, purge="2d", embargo="3d")
    train, _, test = sides(periods(split, days(40), NONE)[-1], days(40))
    assert test.tolist() == list(range(30, 40))
    assert train.tolist() == [*range(20), *range(23, 28)]  # embargo behind the fold 10 to 19, purge before 30
    (train, _, _) = sides(periods(walk(train=0.25, windows=3), days(40), NONE)[-1], days(40))
    assert train.tolist() == list(range(30))


def test_a_rolling_train_side_keeps_its_length_before_the_purge() -> None:
    made = periods(walk(train=0.5, test_rows=2, windows=3, train_rows=5, purge="2d"), days(20), NONE)
    assert [sides(window, days(20))[0].tolist() for window in made] == [
        list(range(first, first + 5)) for first in (3, 5, 7)
    ]


def test_null_takes_the_horizon_and_the_share_of_the_model() -> None:
    times = np.datetime64("2021-01-01", "us") + np.arange(100) * np.timedelta64(1, "m")
    (window,) = periods(chronological(), times, timedelta(minutes=16), 0.25)
    train, validation, test = sides(window, times)
    # 80 train times, of which 0 to 63 have a label that ends before the test; a quarter of them validates
    assert (validation.tolist(), test.tolist()) == (list(range(48, 64)), list(range(80, 100)))
    assert train.tolist() == list(range(32))
    (window,) = periods(chronological(validation=0.0, purge="20m"), times, timedelta(minutes=16), 0.25)
    assert [len(side) for side in sides(window, times)] == [60, 0, 20]


def test_dates_leave_out_what_lies_between_and_after() -> None:
    split = dates(train_until="2020-01-03", test_from="2020-01-06", test_until="2020-01-07")
    minutes = np.repeat(days(10).astype("datetime64[s]"), 2) + np.tile([0, 60], 10)
    train, _, test = sides(periods(split, minutes, NONE)[0], minutes)
    assert (train.tolist(), test.tolist()) == ([0, 1, 2, 3, 4, 5], [10, 11, 12, 13])


def test_rolling_fills_the_data_backwards() -> None:
    made = periods(rolling(train="10d", test="5d", gap="2d"), days(28), NONE)
    got = [[each.tolist() for each in sides(window, days(28))] for window in made]
    assert [(train[0], train[-1], test[0], test[-1]) for train, _, test in got] == [
        (1, 10, 13, 17),
        (6, 15, 18, 22),
        (11, 20, 23, 27),
    ]
    assert len(periods(rolling(step="11d"), days(26), NONE)) == 2
    assert len(periods(rolling(), days(15), NONE)) == 1


def test_too_short_data_are_refused_with_the_longest_that_fits() -> None:
    with pytest.raises(Refused) as refused:
        periods(rolling(train="40w", test="5d"), days(100), NONE)
    fix = refused.value.findings[0].fix
    assert "split.train=13w" in fix
    assert periods(rolling(train="13w", test="5d"), days(100), NONE)
    with pytest.raises(Refused):
        periods(rolling(train="14w", test="5d"), days(100), NONE)
    with pytest.raises(Refused, match=r"^split\.test=40w: "):
        periods(rolling(test="40w"), days(100), NONE)
    with pytest.raises(Refused, match=r"^split\.test=100d: "):
        periods(rolling(train="1d", test="100d"), days(100), NONE)


def test_two_rows_fill_two_of_their_intervals() -> None:
    (window,) = periods(rolling(train="1d", test="1d"), days(2), NONE)
    assert [side.tolist() for side in sides(window, days(2))] == [[0], [], [1]]


def test_rows_follow_their_leaders() -> None:
    window = Window("row", (0, 2), (3,), (5,))
    rows, leaders = np.array([6, 0, 1, 2, 3, 5]), np.array([5, 0, 0, 2, 3, 5])
    assert window.led(rows, leaders) == Window("row", (0, 1, 2), (3,), (5, 6))


@given(st.integers(2, 200), st.integers(0, 5), st.sampled_from([ByRow, ByGroup]), st.floats(0.1, 0.9))
def test_drawn_sides_hold_every_name_once(count: int, seed: int, section: type[ByRow], train: float) -> None:
    names = np.arange(count) if section is ByRow else np.array([f"face {each}" for each in range(count)], dtype=object)
    repeated = np.repeat(names, 3) if section is ByGroup else names
    try:
        (window,) = periods(drawn(section, seed=seed, train=train), repeated, None, 0.2)
    except Refused:
        return
    rows = sides(window, repeated)
    assert sorted(np.concatenate(rows).tolist()) == list(range(len(repeated)))
    assert sorted([*window.train, *window.validation, *window.test]) == sorted(names.tolist())
    assert len(window.test) == count - int(count * train)
    assert windows.read(json.loads(json.dumps(window.record()))) == window
    shuffled = np.random.default_rng(0).permutation(repeated)
    assert periods(drawn(section, seed=seed, train=train), shuffled, None, 0.2) == (window,)


@pytest.mark.parametrize("section", [ByRow, ByGroup])
def test_a_share_that_leaves_no_row_to_train_is_refused(section: type[ByRow]) -> None:
    with pytest.raises(Refused, match=r"split\.train=0\.3"):
        periods(drawn(section, train=0.3), np.arange(3), None, 0.0)


def test_another_seed_draws_other_groups() -> None:
    names = np.arange(100)
    tests = {periods(drawn(ByRow, seed=seed), names, None)[0].test for seed in range(3)}
    assert len(tests) == 3


@pytest.mark.parametrize("name", ["chronological", "dates"])
def test_the_original_split_of_the_closes(closing_data: Path, name: str) -> None:
    import polars as pl

    times = pl.read_csv(closing_data, try_parse_dates=True).to_series(0).cast(pl.Date).sort().to_numpy()[7:]
    (window,) = periods(configure([f"split={name}"]).split, times, NONE)
    train, _, test = sides(window, times)
    assert (train.tolist(), test.tolist()) == (list(range(1152)), list(range(1152, 1440)))
    assert window.record()["train"] == [["2010-01-13", "2014-08-11"]]


def test_periods_are_inclusive_and_split_where_times_are_left_out() -> None:
    found = windows.as_periods(days(9), np.array([0, 1, 2, 5, 7, 8]))
    first = np.datetime64("2020-01-01")
    assert found == (Period(first, first + 2), Period(first + 5, first + 5), Period(first + 7, first + 8))
