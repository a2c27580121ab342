"""Defects of a series are found by day and size; regular series have none."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from tapeline.console import logged
from tapeline.tables.observed import Array, Observed, holes
from tapeline.tables.quality import Defect, examine, limits, records, say

WEEKDAYS = np.arange("2012-01-02", "2014-12-31", dtype="datetime64[D]")
WEEKDAYS = WEEKDAYS[np.is_busday(WEEKDAYS)]


def market(name: str = "a", seed: int = 0, every: float = 0.01) -> Observed:
    """A close on each weekday, with an exchange that is open on these."""
    moves = np.random.default_rng(seed).normal(0, every, len(WEEKDAYS))
    return Observed(name, WEEKDAYS, 100 * np.exp(moves.cumsum()), WEEKDAYS, WEEKDAYS, pause=11)


def with_values(series: Observed, rows: slice, values: Array | float) -> Observed:
    changed = series.values.copy()
    changed[rows] = values
    return replace(series, values=changed)


def without(series: Observed, rows: slice) -> Observed:
    kept = np.ones(len(series.time), bool)
    kept[rows] = False
    return replace(series, time=series.time[kept], values=series.values[kept])


def only(defects: list[Defect]) -> Defect:
    (found,) = defects
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_regular_series_has_no_defect(seed: int) -> None:
    assert examine([market("a", seed), market("b", seed + 10, 0.03)]) == []


def test_a_close_times_100_on_one_day() -> None:
    series = market()
    found = only(examine([with_values(series, slice(300, 301), series.values[300] * 100)]))
    day = str(WEEKDAYS[300])
    assert (found.kind, found.series, found.first, found.last) == ("jump", "a", day, day)
    assert found.size == pytest.approx(99, rel=0.05)
    assert all(each in found.text for each in ("a rises to", day))


def test_a_factor_for_some_days_has_its_end() -> None:
    series = market()
    found = only(examine([with_values(series, slice(300, 320), series.values[300:320] / 100)]))
    assert (found.kind, found.first, found.last) == ("jump", str(WEEKDAYS[300]), str(WEEKDAYS[319]))
    assert "falls 99." in found.text


def test_a_change_of_the_unit_is_no_crash() -> None:
    series = market()
    found = only(examine([with_values(series, slice(300, None), series.values[300:] * 1000)]))
    assert (found.kind, found.first) == ("unit", str(WEEKDAYS[300]))
    assert "1,000 times larger" in found.text
    halved = only(examine([with_values(series, slice(300, None), series.values[300:] * 0.6)]))
    assert halved.kind == "jump"
    assert halved.size == pytest.approx(-0.4, abs=0.05)


def test_frozen_values_have_their_first_and_last_day() -> None:
    series = market()
    found = only(examine([with_values(series, slice(200, 260), series.values[200])]))
    assert (found.kind, found.size) == ("frozen", 60)
    assert (found.first, found.last) == (str(WEEKDAYS[200]), str(WEEKDAYS[259]))
    assert examine([with_values(series, slice(200, 203), series.values[200])]) == [], "three may be chance"


def test_a_price_that_often_stays_is_not_frozen() -> None:
    series = market()
    calm = replace(series, values=np.round(series.values, -1))
    assert not [each for each in examine([calm]) if each.kind == "frozen"]


def test_a_hole_against_the_calendar() -> None:
    found = only(examine([without(market(), slice(300, 488)), market("b", 1), market("c", 2)]))
    assert (found.kind, found.series, found.size) == ("hole", "a", 188)
    assert (found.first, found.last) == (str(WEEKDAYS[300]), str(WEEKDAYS[487]))
    single = only(examine([without(market(), slice(300, 600, 100)), market("b", 1), market("c", 2)]))
    assert (single.kind, single.size, single.first) == ("hole", 3, str(WEEKDAYS[300]))


def test_a_hole_of_the_whole_data_is_named_once() -> None:
    gone = [without(market(name, seed), slice(300, 488)) for seed, name in enumerate("abcd")]
    found = only(examine(gone))
    assert (found.size, "a, b, c, d have no value" in found.text) == (188, True)


def test_without_a_calendar_only_long_pauses_are_holes() -> None:
    series = replace(without(market(), slice(300, 360)), expected=None, trading=None)
    ((first, last, many),) = holes(series)
    assert (first, last, many) == (WEEKDAYS[299] + 1, WEEKDAYS[360] - 1, 60)
    minutes = np.datetime64("2021-01-01T00:00") + np.arange(1000)
    coin = Observed("btc", np.delete(minutes, slice(500, 520)), market().values[:780].repeat(2)[:980], every="minute")
    assert [(str(hole[0])[11:], hole[2]) for hole in holes(coin)] == [("08:20", 20)]


@pytest.mark.parametrize(("step", "name"), [(5, "weekly"), (21, "monthly")])
@pytest.mark.parametrize("filled", [True, False])
def test_a_rarer_series_is_named_whether_or_not_it_is_filled(step: int, name: str, filled: bool) -> None:
    series = market()
    rare = replace(series, values=series.values[::step].repeat(step)[: len(WEEKDAYS)])
    if not filled:
        rare = replace(series, time=series.time[::step], values=series.values[::step])
    found = only(examine([rare, market("b", 1)]))
    assert (found.kind, f"a is {name}" in found.text) == ("sparse", True)


def test_holidays_filled_by_the_vendor_and_values_of_closed_days() -> None:
    series = market()
    holidays = WEEKDAYS[[100, 200, 300]]
    trading = np.setdiff1d(WEEKDAYS, holidays)
    values = series.values.copy()
    values[[100, 200]] = values[[99, 199]]
    filled, other = sorted(
        examine([replace(series, values=values, trading=trading, expected=trading)]), key=lambda each: -each.size
    )
    assert (filled.kind, filled.size, filled.first) == ("filled", 2, str(WEEKDAYS[100]))
    assert (other.kind, other.size, other.first) == ("closed", 1, str(WEEKDAYS[300]))
    assert all(each.series in each.text and each.first in each.text for each in (filled, other))


def test_an_early_end() -> None:
    found = only(examine([without(market(), slice(700, None)), market("b", 1)]))
    assert (found.kind, found.size, found.first) == ("end", len(WEEKDAYS) - 700, str(WEEKDAYS[699]))


def test_records_are_json_and_the_gravest_kind_comes_first() -> None:
    series = market()
    bad = with_values(with_values(series, slice(200, 260), series.values[200]), slice(300, None), 1e6)
    record = json.loads(json.dumps(records(examine([bad])), allow_nan=False))
    kinds = [each["kind"] for each in record]
    assert kinds == sorted(kinds, key=["unit", "jump", "frozen", "hole"].index)
    assert {"kind", "series", "first", "last", "size", "text"} == set(record[0])


def test_many_defects_of_a_kind_take_three_lines() -> None:
    series = market()
    values = series.values.copy()
    values[50:700:50] *= 100
    found = examine([replace(series, values=values)])
    assert len(found) == 3
    assert "(and 10 more)" in found[-1].text


def test_limits_refuse_by_market_day_and_size() -> None:
    gap, jump = without(market("a"), slice(300, 310)), with_values(market("b", 1), slice(300, 301), 1e4)
    assert not list(limits([gap, jump], 10, None))
    ((where, problem, _),) = ((f.where, f.problem, f.fix) for f in limits([gap, jump], 9, None))
    assert (where, str(WEEKDAYS[300]) in problem, "10 trading days" in problem) == ("a", True, True)
    ((where, problem, _),) = ((f.where, f.problem, f.fix) for f in limits([gap, jump], None, 0.5))
    assert (where, str(WEEKDAYS[300]) in problem, "dataset.max_move=0.5" in problem) == ("b", True, True)


def test_a_line_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    with logged():
        say([{"text": "a falls"}, {"text": "b falls"}])
        say([{"text": "a falls"}])
        logging.getLogger("tapeline.tables").info("other")
    assert capsys.readouterr().out.splitlines() == ["data quality: a falls", "data quality: b falls", "other"]


@pytest.mark.parametrize("values", [np.full(780, 5.0), np.zeros(780), -np.arange(1.0, 781.0), np.arange(780.0)])
def test_odd_series_are_examined(values: Array) -> None:
    series = replace(market(), time=WEEKDAYS[:780], values=values)
    with np.errstate(all="raise"):
        json.dumps(records(examine([series])), allow_nan=False)
    assert examine([replace(series, time=series.time[:3], values=values[:3])]) == []
