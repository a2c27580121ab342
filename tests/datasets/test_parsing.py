from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeline.datasets import parsing as typed
from tapeline.errors import Refused

DAYS = [date(2010, 1, 1) + timedelta(days=step) for step in range(60)]


@pytest.mark.parametrize("form", typed.DATE_FORMATS)
def test_every_form_is_told_where_only_one_fits(form: str) -> None:
    column = pl.Series("date", [day.strftime(form) for day in DAYS])
    assert typed.dates(column, "f", None).to_list() == DAYS
    assert typed.dates(column, "f", form).to_list() == DAYS


@pytest.mark.parametrize("form", ["%-d/%-m/%Y", "%-m/%-d/%Y", "%-d/%m/%y", "%d.%-m.%Y"])
def test_dates_without_zeros_are_told_where_all_are_so(form: str) -> None:
    column = pl.Series("date", [day.strftime(form) for day in DAYS])
    assert typed.dates(column, "f", None).to_list() == DAYS


def test_a_date_that_lost_a_digit_is_no_other_date() -> None:
    column = pl.Series("date", ["2010-01-27", "2010-01-2", "2010-01-29"])
    for form in (None, "%Y-%m-%d"):
        with pytest.raises(Refused, match="row 2: '2010-01-2' is not a date"):
            typed.dates(column, "f", form)


@pytest.mark.parametrize("suffix", [" 00:00", "T00:00:00", " 00:00:00+00:00", "T00:00:00.000Z", " 00:00:00 UTC"])
def test_midnight_says_nothing(suffix: str) -> None:
    column = pl.Series("date", [day.isoformat() + suffix for day in DAYS])
    assert typed.dates(column, "f", None).to_list() == DAYS


def test_days_and_months_that_can_change_places_are_refused() -> None:
    column = pl.Series("date", ["01/02/2010", "03/04/2010", "05/06/2010"])
    with pytest.raises(Refused, match=r"can be read as %d/%m/%Y and as %m/%d/%Y; say which"):
        typed.dates(column, "f", None)
    assert typed.dates(column, "f", "%m/%d/%Y").to_list() == [date(2010, 1, 2), date(2010, 3, 4), date(2010, 5, 6)]


def test_two_forms_in_one_column_are_refused() -> None:
    column = pl.Series("date", ["2010-01-13", "2010-01-14", "15/01/2010"])
    with pytest.raises(Refused, match="row 3: '15/01/2010' is not a date written as '2010-01-13' in row 1"):
        typed.dates(column, "f", None)


@pytest.mark.parametrize(
    ("values", "form", "says"),
    [
        (["yesterday"], None, "row 1: 'yesterday' is not a date"),
        (["2010-02-30"], None, "row 1: '2010-02-30' is not a date"),
        (["2010-01-01", None], None, "row 2: the date is missing"),
        (["2010-01-01"], "%d/%m/%Y", "row 1: '2010-01-01' is not a date of the form %d/%m/%Y"),
        (["2010-01-01"], "%Q", "is not a date of the form %Q"),
        (["2010-01-01 09:30"], None, "is not a date"),
    ],
)
def test_what_is_no_date_is_refused(values: list[str | None], form: str | None, says: str) -> None:
    with pytest.raises(Refused) as refused:
        typed.dates(pl.Series("date", values), "f", form)
    assert says in str(refused.value)


@given(st.lists(st.one_of(st.none(), st.floats(1e-6, 1e9)), min_size=1).filter(lambda each: any(each)))
def test_prices_come_back_as_they_were(values: list[float | None]) -> None:
    text = pl.Series("x", ["" if value is None else repr(value) for value in values])
    assert typed.prices(text, "f").to_list() == values
    assert typed.prices(pl.Series("x", values, dtype=pl.Float64), "f").to_list() == values


def test_thousands_and_missing_marks_are_understood() -> None:
    column = pl.Series("x", ["1,234.5", " 12,345,678 ", "N/A", "-", "null", "7"])
    assert typed.prices(column, "f").to_list() == [1234.5, 12345678.0, None, None, None, 7.0]


@pytest.mark.parametrize("value", ["1.234,5", "12,34", "$5", "1e", "0x10", "-0.0"])
def test_what_is_no_price_is_refused(value: str) -> None:
    with pytest.raises(Refused, match="is not a price"):
        typed.prices(pl.Series("x", ["1", value]), "f")


def test_nan_in_a_typed_file_is_missing() -> None:
    assert typed.prices(pl.Series("x", [1.0, float("nan")]), "f").to_list() == [1.0, None]
