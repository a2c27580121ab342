"""The kinds of columns: dates, times, numbers, prices and whole numbers."""

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
"""Behind a time of day. A day's row is dated by the day that its text names, whatever the zone."""
MIDNIGHT = r"([T ]|, )00:00(:00(\.0+)?)?$"
MISSING = ("", "-", ".", "na", "n/a", "#n/a", "nan", "null", "none")
"""What stands for a missing number, in small letters."""
YEARS = (1800, 2100)
EXACT = 2**53
"""Whole numbers below it are exact in a float."""
LEAVE = "correct it, or leave it empty"


def date_reader(date_format: str | None = None) -> Reader:
    """Of days, one in each row; as `dates`."""
    midnight = Check("the time is not midnight", "give one row a day, dated by its day", _not_midnight)
    checks = (midnight, *_year_checks())
    reader = partial(Reader, "date", "Date", typed=_typed_day, checks=checks, finish=_to_date, complete=True)
    if not date_format:
        strange = ("{!r} is not a date", "set dataset.date_format, as in %d/%m/%Y")
        return reader(_day_forms, strange=strange, clean=_without_offset, one_form=True)
    offset = re.search(" ?%#?z$", date_format)
    own = _own(date_format, date_format[: offset.start()] if offset else date_format)
    strange = (f"{{!r}} is not a date of the form {date_format}", "correct it, or set dataset.date_format")
    clean = _without_offset if offset else _strip if own[0].local else _without_midnight
    return reader(lambda sample: own, strange=strange, clean=clean)


def time_reader(date_format: str | None = None, zone: str = "UTC") -> Reader:
    """Of moments; as `times`."""
    problem = f"{{!r}} comes twice or never in {zone}, where clocks change then"
    gap = Check(problem, "give times in UTC, or with their offset", partial(_clocks_change, zone=zone))
    checks, finish = (*_year_checks(), gap), partial(_in_utc, zone=zone)
    reader = partial(Reader, "time", "Datetime", typed=_typed_time, checks=checks, finish=finish, complete=True)
    if not date_format:
        strange = ("{!r} is not a time", "set dataset.date_format, as in %Y-%m-%d %H:%M:%S or epoch_ms")
        return reader(_time_forms, strange=strange, clean=_strip, one_form=True)
    own = _own(date_format, date_format)
    strange = (f"{{!r}} is not a time of the form {date_format}", "correct it, or set dataset.date_format")
    return reader(lambda sample: own, strange=strange, clean=_strip)


def number_reader() -> Reader:
    """Of finite numbers."""
    finite = Check("{!r} is not a finite number", LEAVE, lambda values, form: values.is_infinite())
    return _numbers("number", finite)


def price_reader() -> Reader:
    """Of prices, above zero."""
    above = Check("{!r} is not a price above zero", LEAVE, lambda values, form: values.is_infinite() | (values <= 0))
    return _numbers("price", above, needed=True)


def integer_reader() -> Reader:
    """Of whole numbers of 64 bits."""
    return Reader(
        "whole number",
        "Int64",
        lambda sample: forms.of_integers(),
        lambda dtype: Form("", _whole) if dtype.is_numeric() else None,
        ("{!r} is not a whole number", LEAVE),
        (),
        _without_marks,
    )


def _numbers(noun: str, check: Check, needed: bool = False) -> Reader:
    return Reader(
        noun,
        "Float64",
        lambda sample: forms.of_numbers(),
        lambda dtype: Form("", _float) if dtype.is_numeric() else None,
        (f"{{!r}} is not a {noun}", LEAVE),
        (check,),
        _without_marks,
        needed=needed,
    )


def _own(shown: str, date_format: str) -> Sequence[Form]:
    """The forms of the user's format.

    Raises:
        Refused: it is none.
    """
    try:
        return forms.of_format(date_format)
    except ValueError as error:
        fix = "write as in %d/%m/%Y, %Y-%m-%d %H:%M or epoch_s"
        raise refuse(f"dataset.date_format={shown}", f"is no format of dates ({error})", fix) from None


def _day_forms(sample: pl.Series) -> list[Form]:
    """Of days, which midnight may follow; and of times, so that their hours are what is found."""
    days = [
        replace(form, read=partial(_read_day, read=form.read), shape=form.shape.removesuffix("$"))
        for form in forms.of_dates()
    ]
    return days + _clock_forms(sample)


def _time_forms(sample: pl.Series) -> list[Form]:
    return forms.of_dates() + _clock_forms(sample)


def _clock_forms(sample: pl.Series) -> list[Form]:
    """Of times that end as the first value does that ends in a time of day."""
    return next((found for value in sample if (found := forms.of_clock(value))), [])


def _read_day(text: pl.Series, read: Callable[[pl.Series], pl.Series]) -> pl.Series:
    values = read(text)
    return values if values.null_count() == text.null_count() else read(text.str.replace(MIDNIGHT, ""))


def _typed_day(dtype: pl.DataType) -> Form | None:
    """Days, or times of which the wall clock's day counts."""
    import polars as pl

    if not dtype.is_temporal() or dtype == pl.Time or dtype == pl.Duration:
        return None
    return Form("", lambda values: values.dt.replace_time_zone(None) if dtype == pl.Datetime else values)


def _typed_time(dtype: pl.DataType) -> Form | None:
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
    """Int64; null where a number has a fraction, or is too large to be exact."""
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
    two_digits = "the century of {!r} is not clear: as 20.. it would be in the future"
    return between, Check(two_digits, "write years with four digits", _in_future)


def _implausible(values: pl.Series, form: Form) -> pl.Series | None:
    low, high = date(YEARS[0], 1, 1), date(YEARS[1] + 1, 1, 1)
    return _outside(values, low, high)


def _in_future(values: pl.Series, form: Form) -> pl.Series | None:
    """Years of two digits are read as 1970 to 2069, and no row of data is of a day to come."""
    if "%y" not in form.name:
        return None
    return _outside(values, date.min, date.today() + timedelta(days=2))


def _outside(values: pl.Series, low: date, high: date) -> pl.Series | None:
    """True where a date or time is before `low`, or `high` or later."""
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
    """Without blanks around; null where nothing is left."""
    import polars as pl

    text = text.str.strip_chars()
    return text.to_frame().select(pl.when(text != "").then(pl.first()).alias(text.name)).to_series()


def _without_offset(text: pl.Series) -> pl.Series:
    return _strip(text).str.replace(OFFSET, "${1}")


def _without_midnight(text: pl.Series) -> pl.Series:
    return _without_offset(text).str.replace(MIDNIGHT, "")


def _without_marks(text: pl.Series) -> pl.Series:
    """Null where a mark says that the value is missing."""
    import polars as pl

    text = text.str.strip_chars()
    known = ~text.str.to_lowercase().is_in(MISSING)
    return text.to_frame().select(pl.when(known).then(pl.first()).alias(text.name)).to_series()
