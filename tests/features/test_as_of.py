from __future__ import annotations

import zoneinfo
from datetime import date, datetime, time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeline.datasets.indices import CLOSES
from tapeline.features.as_of import Clock, parse
from tapeline.features.returns import lagged, log_returns


def at(clock: str, *days: str) -> list[str]:
    return [str(moment)[5:16] for moment in parse(clock).instants(np.array(days, "datetime64[D]"))]


def test_summer_time_is_each_zones_own() -> None:
    days = "2014-01-15", "2014-03-20", "2014-07-15"  # New York changed on 9 March, London on the 30th
    assert at("16:00 America/New_York", *days) == ["01-15T21:00", "03-20T20:00", "07-15T20:00"]
    assert at("16:30 Europe/London", *days) == ["01-15T16:30", "03-20T16:30", "07-15T15:30"]
    assert at("16:00 Australia/Sydney", *days) == ["01-15T05:00", "03-20T05:00", "07-15T06:00"]


def test_tokyo_closes_later_since_november_2024() -> None:
    instants = CLOSES["nikkei"].instants(np.array(["2024-11-04", "2024-11-05"], "datetime64[D]"))
    assert [str(each)[11:16] for each in instants] == ["06:00", "06:30"]


def test_by_the_default_moment_all_but_new_york_have_closed_on_every_day_of_the_year() -> None:
    days = np.arange("2010-01-01", "2026-01-01", dtype="datetime64[D]")
    decision = parse("17:00 Europe/London").instants(days)
    closed = {market: bool((clock.instants(days) <= decision).all()) for market, clock in CLOSES.items()}
    assert [market for market, is_closed in closed.items() if not is_closed] == ["snp", "nyse", "djia"]


def one_by_one(clock: Clock, days: list[date]) -> list[int]:
    """The definition: seconds since 1970 of the time that applies on each day, by the standard library."""
    zone, since = zoneinfo.ZoneInfo(clock.zone), sorted(clock.times)
    moments = []
    for day in days:
        applies = max((start for start in since if start <= day), default=since[0])
        moments.append(int(datetime.combine(day, clock.times[applies], zone).timestamp()))
    return moments


@settings(max_examples=60)
@given(
    zone=st.sampled_from(sorted(zoneinfo.available_timezones())),
    times=st.dictionaries(st.dates(), st.times().map(lambda each: each.replace(microsecond=0)), min_size=1, max_size=3),
    days=st.lists(st.one_of(st.dates(date(2, 1, 1), date(9998, 12, 31)), st.dates(date(1890, 1, 1), date(2120, 1, 1)))),
    year=st.integers(1900, 2100),
)
def test_moments_are_those_of_the_standard_library(
    zone: str, times: dict[date, time], days: list[date], year: int
) -> None:
    days = [*days, *np.arange(f"{year}-01-01", f"{year + 1}-01-01", dtype="datetime64[D]").tolist()]
    clock = Clock(zone, times)
    moments = clock.instants(np.array(days, "datetime64[D]"))
    assert moments.dtype == "datetime64[s]"
    assert moments.astype(np.int64).tolist() == one_by_one(clock, days)


@pytest.mark.parametrize("zone", ["America/New_York", "Africa/Casablanca", "Australia/Lord_Howe", "Europe/London"])
@pytest.mark.parametrize("at", [time(1, 30), time(2, 15), time(23, 59, 59)])
def test_hours_that_clocks_skip_or_repeat(zone: str, at: time) -> None:
    days = np.arange("1960-01-01", "2110-01-01", dtype="datetime64[D]")
    clock = Clock(zone, {date(1900, 1, 1): at})
    assert clock.instants(days).astype(np.int64).tolist() == one_by_one(clock, days.tolist())


def test_no_dates_have_no_moments() -> None:
    assert parse("17:00 Europe/London").instants(np.array([], "datetime64[D]")).shape == (0,)


@pytest.mark.parametrize("text", ["17:00", "5pm Europe/London", "24:00 Europe/London", "17:00 Europe/Atlantis", ""])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_log_returns_and_lags() -> None:
    prices = np.array([100.0, 110.0, 99.0])
    np.testing.assert_allclose(log_returns(prices), [np.nan, np.log(1.1), np.log(0.9)])
    np.testing.assert_allclose(lagged(log_returns(prices), 1), [np.nan, np.nan, np.log(1.1)])
    np.testing.assert_allclose(lagged(prices, 0), prices)
