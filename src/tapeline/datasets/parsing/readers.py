"""Readers of columns: dates, times, numbers, prices and whole numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from tapeline.datasets.parsing import forms
from tapeline.datasets.parsing.columns import Check, Reader
from tapeline.datasets.parsing.forms import Form
from tapeline.errors import refuse

if TYPE_CHECKING:
    import polars as pl

OFFSET = r"(:[0-9]{2}(?:\.[0-9]+)?) ?(?:Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)$"
"""Follows a time of day. A date is the day in the text, whatever the zone."""
MIDNIGHT = r"([T ]|, )00:00(:00(\.0+)?)?$"
MISSING = ("", "-", ".", "na", "n/a", "#n/a", "nan", "null", "none")
"""Texts that mean a missing number, in lower case."""
YEARS = (1500, 2100)
EXACT = 2**53
"""Whole numbers up to this one are exact in a float."""
CORRECT = "correct the value, or leave it empty"
NO_DAY = ("{!r} is not a day of the calendar", "correct the date, or remove the row")
"""Problem and fix of a date in the right form, as 2011-02-29."""


def date_reader(date_format: str | None = None) -> Reader:
    """The reader of `dates`: a date in every row."""
    midnight = Check("the time is not midnight", "use one row for each day, with the date alone", _not_midnight)
    checks = (midnight, *_year_checks())
    reader = partial(
        Reader, "date", "Date", native=_native_day, checks=checks, finish=_to_date, complete=True, absent=NO_DAY
    )
    if not date_format:
        unreadable = ("{!r} is not a date", "set its format, as in dataset.date_format=%d/%m/%Y")
        return reader(_day_forms, unreadable=unreadable, clean=_without_offset, one_form=True)
    offset = re.search(" ?%#?z$", date_format)
    own = _user_forms(date_format, date_format[: offset.start()] if offset else date_format)
    unreadable = (f"{{!r}} is not a date of the form {date_format}", "correct it, or set dataset.date_format")
    clean = _without_offset if offset else _strip if own[0].local else _without_midnight
    return reader(lambda sample: own, unreadable=unreadable, clean=clean)


def time_reader(date_format: str | None = None, zone: str = "UTC") -> Reader:
    """The reader of `times`: a time in every row."""
    problem = f"{{!r}} occurs twice or never in {zone}, because clocks change then"
    gap = Check(
        problem,
        "write times in UTC, or with an offset, as in 2024-03-10 02:30-05:00",
        partial(_clocks_change, zone=zone),
    )
    checks, finish = (*_year_checks(), gap), partial(_in_utc, zone=zone)
    reader = partial(
        Reader, "time", "Datetime", native=_native_time, checks=checks, finish=finish, complete=True, absent=NO_DAY
    )
    if not date_format:
        unreadable = ("{!r} is not a time", "set its format, as in dataset.date_format=epoch_ms")
        return reader(_time_forms, unreadable=unreadable, clean=_strip, one_form=True)
    own = _user_forms(date_format, date_format)
    unreadable = (f"{{!r}} is not a time of the form {date_format}", "correct it, or set dataset.date_format")
    return reader(lambda sample: own, unreadable=unreadable, clean=_strip)


def number_reader() -> Reader:
    """The reader of `numbers`."""
    finite = Check("{!r} is not a finite number", CORRECT, lambda values, form: values.is_infinite())
    return _numbers("number", finite)


def price_reader() -> Reader:
    """The reader of `prices`."""
    above = Check("{!r} is not a price above zero", CORRECT, lambda values, form: values.is_infinite() | (values <= 0))
    return _numbers("price", above, needed=True)


def integer_reader() -> Reader:
    """The reader of `integers`."""
    return Reader(
        "whole number",
        "Int64",
        lambda sample: forms.of_integers(),
        lambda dtype: Form("", _whole) if dtype.is_numeric() else None,
        ("{!r} is not a whole number", CORRECT),
        (),
        _without_missing,
    )


def _numbers(noun: str, check: Check, needed: bool = False) -> Reader:
    return Reader(
        noun,
        "Float64",
        lambda sample: forms.of_numbers(),
        lambda dtype: Form("", _float) if dtype.is_numeric() else None,
        (f"{{!r}} is not a {noun}", CORRECT),
        (check,),
        _without_missing,
        needed=needed,
    )


def _user_forms(shown: str, date_format: str) -> Sequence[Form]:
    """The forms of the user's format.

    Raises:
        Refused: it is not a date format.
    """
    try:
        return forms.of_format(date_format)
    except ValueError as error:
        fix = "use a format as in %d/%m/%Y, %Y-%m-%d %H:%M or epoch_s"
        raise refuse(f"dataset.date_format={shown}", f"is not a date format ({error})", fix) from None


def _day_forms(sample: pl.Series) -> list[Form]:
    """Forms of dates, with or without midnight; and of times, so that a finding can name the time of day."""
    days = [
        replace(form, read=partial(_read_day, read=form.read), shape=form.shape.removesuffix("$"))
        for form in forms.of_dates()
    ]
    return days + _clock_forms(sample)


def _time_forms(sample: pl.Series) -> list[Form]:
    return forms.of_dates() + _clock_forms(sample)


def _clock_forms(sample: pl.Series) -> list[Form]:
    """Forms of times like the first value that has a time of day."""
    return next((found for value in sample if (found := forms.of_clock(value))), [])


def _read_day(text: pl.Series, read: Callable[[pl.Series], pl.Series]) -> pl.Series:
    values = read(text)
    return values if values.null_count() == text.null_count() else read(text.str.replace(MIDNIGHT, ""))


def _native_day(dtype: pl.DataType) -> Form | None:
    """Dates, or times, whose local date is taken."""
    import polars as pl

    if not dtype.is_temporal() or dtype == pl.Time or dtype == pl.Duration:
        return None
    return Form("", lambda values: values.dt.replace_time_zone(None) if dtype == pl.Datetime else values)


def _native_time(dtype: pl.DataType) -> Form | None:
    import polars as pl

    if dtype == pl.Date:
        return Form("", lambda values: values.cast(pl.Datetime("us")), local=True)
    if not isinstance(dtype, pl.Datetime):
        return None
    if dtype.time_zone:
        return Form("", lambda values: values.dt.convert_time_zone("UTC").dt.replace_time_zone(None))
    return Form("", lambda values: values, local=True)


def _float(values: pl.Series) -> pl.Series:
    import polars as pl

    return values.cast(pl.Float64)


def _whole(values: pl.Series) -> pl.Series:
    """Int64; null for a number with a fraction, or too large to be exact."""
    import polars as pl

    whole = values.cast(pl.Int64, strict=False)
    if values.dtype.is_integer():
        return whole
    exact = (whole.cast(values.dtype) == values) & (whole.abs() <= EXACT)
    return whole.to_frame().select(pl.when(exact).then(pl.first())).to_series()


def _year_checks() -> tuple[Check, Check]:
    low, high = YEARS
    fix = "correct the year, or remove the row"
    between = Check(f"the year of {{!r}} is not from {low} to {high}", fix, _implausible)
    two_digits = "the century of {!r} is not clear: read as 20.., the date is in the future"
    return between, Check(two_digits, "write years with four digits", _in_future)


def _implausible(values: pl.Series, form: Form) -> pl.Series | None:
    low, high = date(YEARS[0], 1, 1), date(YEARS[1] + 1, 1, 1)
    return _outside(values, low, high)


def _in_future(values: pl.Series, form: Form) -> pl.Series | None:
    """Years of two digits are read as 1970 to 2069, and no row has a date in the future."""
    if "%y" not in form.name:
        return None
    return _outside(values, date.min, date.today() + timedelta(days=2))


def _outside(values: pl.Series, low: date, high: date) -> pl.Series | None:
    """True for a date or time before `low`, or at `high` or later."""
    import polars as pl

    limits = pl.Series([low, high]).cast(values.dtype)
    ends: Any = (values.min(), values.max())
    if ends[0] is None or (ends[0] >= limits[0] and ends[1] < limits[1]):
        return None
    return ~values.is_between(limits[0], limits[1], closed="left")


def _not_midnight(values: pl.Series, form: Form) -> pl.Series | None:
    import polars as pl

    return values.cast(pl.Date).cast(values.dtype) != values if values.dtype == pl.Datetime else None


def _clocks_change(values: pl.Series, form: Form, zone: str) -> pl.Series | None:
    if not form.local or zone == "UTC":
        return None
    return _in_utc(values, form, zone).is_null() & values.is_not_null()


def _in_utc(values: pl.Series, form: Form, zone: str) -> pl.Series:
    import polars as pl

    values = values.cast(pl.Datetime("us"))
    if not form.local or zone == "UTC":
        return values
    local = values.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    return local.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def _to_date(values: pl.Series, form: Form) -> pl.Series:
    import polars as pl

    return values.cast(pl.Date)


def _strip(text: pl.Series) -> pl.Series:
    """Text without blanks around it; null if nothing is left."""
    import polars as pl

    text = text.str.strip_chars()
    return text.to_frame().select(pl.when(text != "").then(pl.first()).alias(text.name)).to_series()


def _without_offset(text: pl.Series) -> pl.Series:
    return _strip(text).str.replace(OFFSET, "${1}")


def _without_midnight(text: pl.Series) -> pl.Series:
    return _without_offset(text).str.replace(MIDNIGHT, "")


def _without_missing(text: pl.Series) -> pl.Series:
    """Null where the text means a missing number."""
    import polars as pl

    text = text.str.strip_chars()
    present = ~text.str.to_lowercase().is_in(MISSING)
    return text.to_frame().select(pl.when(present).then(pl.first()).alias(text.name)).to_series()
