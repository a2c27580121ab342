"""Text from strangers' files to dates and prices, without guessing: what can be read two ways is refused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import time
from typing import TYPE_CHECKING

from tapeline.errors import Refused, refuse

if TYPE_CHECKING:
    import polars as pl

DATE_FORMATS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d"),
    *("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y"),
    *("%d/%m/%y", "%m/%d/%y", "%d.%m.%y"),
    *("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%d %B %Y"),
)
MIDNIGHT = r"[T ]00:00(:00(\.0+)?)?( ?(Z|UTC|[+-]00:?00))?$"
MISSING = ("", "-", ".", "na", "n/a", "#n/a", "nan", "null", "none")
THOUSANDS = r"^\d{1,3}(,\d{3})+(\.\d*)?$"

DATE_NAMES = ("date", "time", "timestamp", "datetime")


def column(frame: pl.DataFrame, candidates: Sequence[str], where: str, fix: str) -> str:
    """The frame's name of the first candidate that it has, blanks around it and case aside.

    Raises:
        Refused: it has none of them.
    """
    lower: dict[str, str] = {}
    for name in frame.columns:
        lower.setdefault(name.strip().lower(), name)
    for name in candidates:
        if name.strip().lower() in lower:
            return lower[name.strip().lower()]
    has = ", ".join(frame.columns[:12])
    raise refuse(where, f"has no column {' or '.join(candidates)} (it has {has})", fix)


def dates(column: pl.Series, where: str, date_format: str | None) -> pl.Series:
    """A column of dates; `date_format` is the user's (strptime), None where it has to be told.

    Raises:
        Refused: a value is missing, is no date, is in another form than the rest, or all can be
            read in two ways.
    """
    import polars as pl

    place = f"{where}, column {column.name}"
    if column.null_count():
        raise _in_row(place, column.is_null(), "the date is missing", "complete or remove the row")
    if column.dtype == pl.Date:
        return column
    if column.dtype == pl.Datetime:
        if (late := column.dt.time() != time()).any():
            raise _in_row(place, late, "the time is not midnight", "give one row a day, dated by its day")
        return column.dt.date()
    text = column.cast(pl.String).str.strip_chars().str.replace(MIDNIGHT, "")
    if not date_format:
        return _tell(text, place)
    parsed = _parse(text, date_format)
    if parsed.null_count():
        problem = f"{{!r}} is not a date of the form {date_format}"
        raise _in_row(place, parsed.is_null(), problem, "correct it, or set dataset.date_format", text)
    return parsed


def _tell(text: pl.Series, place: str) -> pl.Series:
    """Try every form; only one reading of the whole column may remain."""
    readings = {form: _parse(text, form) for form in DATE_FORMATS}
    form, best = min(readings.items(), key=lambda item: item[1].null_count())
    if best.null_count() == len(text):
        fix = "set dataset.date_format, as in %d/%m/%Y"
        raise _in_row(place, best.is_null(), "{!r} is not a date", fix, text)
    if best.null_count():
        good = int(best.is_not_null().arg_true()[0])
        problem = f"{{!r}} is not a date written as {text[good]!r} in row {good + 1}"
        raise _in_row(place, best.is_null(), problem, "write all dates in one form", text)
    whole = {other: reading for other, reading in readings.items() if not reading.null_count()}
    for other, reading in whole.items():
        if not reading.equals(best):
            fix = f"say which, as in dataset.date_format={form}"
            raise refuse(place, f"the dates can be read as {form} and as {other}", fix)
    return best


def _parse(text: pl.Series, date_format: str) -> pl.Series:
    """Null where a value is not of that form, or of no year that markets know.

    Days and months have their zeros throughout the column, or throughout not: among dates with them,
    2010-01-2 has lost a digit. Only where the year is last may one have them and the other not.
    """
    import polars as pl

    try:
        parsed = text.str.to_date(date_format, strict=False)
    except pl.exceptions.PolarsError:
        raise refuse(f"dataset.date_format={date_format}", "is no strptime format", "write as in %d/%m/%Y") from None
    best = pl.repeat(False, len(text), eager=True)
    mixed = () if date_format.startswith("%Y") else (("%d", "%-m"), ("%-d", "%m"))
    for day, month in (("%d", "%m"), ("%-d", "%-m"), *mixed) if parsed.null_count() < len(text) else ():
        form = date_format.replace("%d", day).replace("%m", month)
        same = (parsed.dt.strftime(form).str.to_lowercase() == text.str.to_lowercase()).fill_null(False)
        best = max(best, same, key=lambda each: int(each.sum()))
    plausible = best & parsed.dt.year().is_between(1800, 2200)
    return parsed.to_frame().select(pl.when(plausible).then(pl.first())).to_series()


def prices(column: pl.Series, where: str) -> pl.Series:
    """A column of prices, float64 above zero, null where missing.

    Raises:
        Refused: a value is not a number above zero, or all are missing.
    """
    import polars as pl

    place, fix = f"{where}, column {column.name}", "correct it, or leave it empty"
    given = column
    if column.dtype == pl.String:
        text = column.str.strip_chars()
        whole = pl.when(text.str.contains(THOUSANDS)).then(text.str.replace_all(",", "")).otherwise(text)
        known = ~text.str.to_lowercase().is_in(MISSING)
        given = column.to_frame().select(pl.when(known).then(whole).alias(column.name)).to_series()
    elif not column.dtype.is_numeric() and column.dtype != pl.Null:
        raise refuse(place, f"holds {column.dtype}, not prices", "give numbers")
    numbers = given.cast(pl.Float64, strict=False)
    if (strange := numbers.is_null() & given.is_not_null()).any():
        raise _in_row(place, strange, "{!r} is not a price", fix, column)
    numbers = numbers.fill_nan(None)
    if (strange := numbers.is_infinite() | (numbers <= 0)).any():
        raise _in_row(place, strange, "{!r} is not a price above zero", fix, column)
    if numbers.null_count() == len(numbers):
        raise refuse(place, "every value is missing", "give the closes of this market")
    return numbers


def _in_row(place: str, bad: pl.Series, problem: str, fix: str, values: pl.Series | None = None) -> Refused:
    """The refusal of the first bad row, counted from 1 below the header."""
    row = int(bad.fill_null(False).arg_true()[0])
    return refuse(f"{place}, row {row + 1}", problem.format(*[] if values is None else [values[row]]), fix)
