"""Closing times with their history, and holidays: facts that are known from elsewhere."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from tapeline import files
from tapeline.datasets import indices
from tapeline.datasets.indices import calendars
from tests.datasets.test_indices import section, tabled


def closes(first: str, days: int = 300) -> pl.DataFrame:
    """Invented closes of all markets on weekdays."""
    dates = np.busday_offset(first, np.arange(days), roll="forward")
    random = np.random.default_rng(0)
    values = {market: 100 * np.exp(random.normal(0, 0.01, days).cumsum()) for market in indices.CLOSES}
    return pl.DataFrame({"date": dates, **values})


def features(raw: pl.DataFrame, **keys: Any) -> tuple[str, ...]:
    return tabled(section(**keys), raw)[0].names("feature")


def test_each_line_of_the_hours_has_its_source() -> None:
    lines = files.read_json(calendars.HOURS)
    assert {each["exchange"] for each in lines} == {exchange for exchange, _ in calendars.EXCHANGES.values()}
    for each in lines:
        assert len(each["source"]) > 20, each
        date.fromisoformat(each["since"])
    assert len({(each["exchange"], each["since"]) for each in lines}) == len(lines)


@pytest.mark.parametrize(
    ("day", "closing"),
    [("2000-05-31", "17:30"), ("2000-06-02", "20:00"), ("2003-10-31", "20:00"), ("2003-11-03", "17:30")],
)
def test_the_dax_closed_later_from_2000_to_2003(day: str, closing: str) -> None:
    assert indices.CLOSES["dax"].at(date.fromisoformat(day)) == f"{closing} Europe/Berlin"


def test_a_close_after_the_decision_on_some_day_is_no_feature(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="tapeline"):
        names = features(closes("2001-01-02"))
    assert set(indices_names()) - set(names) == {"dax_log_return_0"}
    (said,) = (each.getMessage() for each in caplog.records)
    assert "dax_log_return_0 (closes at 20:00 Europe/Berlin the same day)" in said
    assert set(features(closes("2005-01-03"))) == set(indices_names())


def test_years_of_unknown_hours_have_no_feature_of_the_day(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="tapeline"):
        header, _ = tabled(section(), closes("1990-01-02"))
    assert {name for name in header.names("feature") if name.endswith("_0")} == {"nikkei_log_return_0"}
    assert "dax_log_return_1" in header.names("feature"), "known by the next day"
    (said,) = (each.getMessage() for each in caplog.records)
    assert "ftse_log_return_0 (closing time unknown before 1999-09-20)" in said
    assert "dataset.cutoff_year=2000" in said
    assert header.extra["known"]["ftse_log_return_0"]["hours"] is None
    assert "ftse_log_return_0" in header.extra["late"]


def indices_names() -> list[str]:
    return [f"{market}_log_return_{lag}" for market in indices.CLOSES for lag in indices.LAGS[market]]


@pytest.mark.parametrize(
    ("exchange", "closed", "traded"),
    [
        ("XNYS", ["2001-09-11", "2012-10-29", "2015-07-03"], ["2015-10-12"]),
        ("XTKS", ["2019-05-06", "2020-10-01"], ["2019-05-07"]),
        ("XLON", ["2012-06-05", "2015-08-31"], ["2015-07-03"]),
        ("XETR", ["2014-12-31", "2015-05-01"], ["2015-10-01"]),
        ("XHKG", ["2015-02-19"], ["2015-02-17"]),
        ("XASX", ["2015-01-26"], ["2015-01-27"]),
    ],
)
def test_holidays_are_those_of_the_exchange(exchange: str, closed: list[str], traded: list[str]) -> None:
    days = calendars.open_days(exchange)
    assert not np.isin(np.array(closed, "datetime64[D]"), days).any()
    assert np.isin(np.array(traded, "datetime64[D]"), days).all()
    assert np.is_busday(days).all()
    assert (days[0] <= np.datetime64("1997-01-06"), days[-1] >= np.datetime64("2026-12-30")) == (True, True)
