"""Forms: ways to write a date, a time or a number as text. A form gives null for each value written otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

DATE_FORMATS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d"),
    *("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%Y"),
    *("%d/%m/%y", "%m/%d/%y", "%d.%m.%y"),
    *("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%d %B %Y"),
)
"""The formats of a date that are tried if dataset.date_format is null."""
EPOCHS = {"epoch_s": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000, "epoch_ns": 1_000_000_000}
"""Units of time since 1970-01-01 UTC, by their name in `date_format`: how many there are in a second."""
EPOCH_YEARS = (315_532_800, 4_133_980_800)
"""Seconds of 1980-01-01 and 2101-01-01: between them, no number is valid in two units or as YYYYMMDD."""
ANY_YEARS = (-5_364_662_400, 4_133_980_800)
"""Seconds of 1800-01-01 and 2101-01-01, for a unit that the user names."""

PADDED, BARE = "[0-9]{2}", "[1-9][0-9]?"
OFFSET = "(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october"]
MONTHS += ["november", "december"]
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
DIRECTIVES = {
    "%Y": "[0-9]{4}",
    "%y": "[0-9]{2}",
    "%-m": BARE,
    "%-d": BARE,
    "%e": "[ 1-9]?[0-9]",
    "%j": "[0-9]{3}",
    "%B": f"(?i:{'|'.join(MONTHS)})",
    "%b": f"(?i:{'|'.join(each[:3] for each in MONTHS)})",
    "%A": f"(?i:{'|'.join(DAYS)})",
    "%a": f"(?i:{'|'.join(each[:3] for each in DAYS)})",
    "%H": "[0-9]{1,2}",
    "%I": "[0-9]{1,2}",
    "%M": "[0-9]{2}",
    "%S": "[0-9]{2}",
    "%.f": r"(?:\.[0-9]{1,9})?",
    "%p": "(?i:[ap]m)",
    "%#z": OFFSET,
    "%%": "%",
}
"""The regular expression of each strptime directive; %d and %m have two styles, see _styles."""
ALIASES = {"%T": "%H:%M:%S", "%R": "%H:%M", "%F": "%Y-%m-%d", "%D": "%m/%d/%y", "%h": "%b", ".%f": "%.f", "%z": "%#z"}
"""Directives that are short for others. In strptime, %f is a fraction of a second; Polars reads nanoseconds."""
CLOCK = re.compile(
    r"(?P<gap>[T ]|, )(?P<hour>\d{1,2})(?P<colon>:?)(?P<minute>\d{2})?(?P<second>(?P=colon)\d{2}(?:\.\d{1,9})?)?"
    r"(?P<half>[ -]?[AaPp][Mm])?(?P<zone> ?(?:Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?$"
)
"""A time of day after a date."""

THOUSANDS = r"^[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?$"
COMMA = r"^[+-]?([1-9][0-9]{0,2}(\.[0-9]{3})+|[0-9]+)(,[0-9]*)?$"
WHOLE = r"^[+-]?[0-9]+(\.0*)?$"


@dataclass(frozen=True)
class Form:
    """One way to write a value."""

    name: str
    """Its value for `date_format`, or an example."""
    read: Callable[[pl.Series], pl.Series]
    """Text to values; null where the text is not in this form."""
    shape: str = ""
    """A regular expression that its values match."""
    advice: str = ""
    """The fix if two forms are possible; empty: set dataset.date_format."""
    local: bool = False
    """It has a time of day, and the text names no zone."""


def of_format(date_format: str) -> list[Form]:
    """The forms of a strptime format, or of a name in EPOCHS: days and months with leading zeros, or without.

    Either all values of a column have leading zeros, or none has: among dates with zeros, 2010-01-2 has lost a
    digit. Only if the year comes last, day and month may differ.

    Raises:
        ValueError: a directive is unknown, or the format does not name day, month and year.
    """
    if date_format in EPOCHS:
        return [Form(date_format, partial(_epoch, unit=date_format, years=ANY_YEARS), WHOLE)]
    pattern = date_format
    for short, long in ALIASES.items():
        pattern = pattern.replace(short, long)
    tokens = re.findall(r"%[-#.]?[A-Za-z%]|[^%]|%", pattern)
    held = {token.replace("-", "").replace("e", "d") for token in tokens if token.startswith("%")}
    if not ("%j" in held or ("%d" in held and held & {"%m", "%b", "%B"})) or not held & {"%Y", "%y"}:
        raise ValueError("must have a day, a month and a year")
    hour = {"%H": "[0-9]{2}"} if re.search("%d%H|%H%M", pattern) else {}
    shapes = []
    for style in _styles(pattern):
        parts = {**DIRECTIVES, **style, **hour}
        if unknown := [token for token in tokens if token.startswith("%") and token not in parts]:
            raise ValueError(f"{unknown[0]} is unknown")
        shapes.append("^" + "".join(parts.get(token) or re.escape(token) for token in tokens) + "$")
    local = bool(held & {"%H", "%I"}) and "%#z" not in held
    read = partial(_strptime, pattern=pattern, timed=bool(held & {"%H", "%I"}))
    return [Form(date_format, partial(read, shape=shape), shape, local=local) for shape in dict.fromkeys(shapes)]


def of_dates() -> list[Form]:
    """The forms of dates, epochs included."""
    return [form for date_format in DATE_FORMATS for form in of_format(date_format)] + epochs()


def of_clock(value: str) -> list[Form]:
    """The forms of a date followed by a time of day as in this value; empty if the value has no time of day."""
    found = CLOCK.search(value)
    if not found or not (found["minute"] or found["half"]):
        return []
    hour = "%I" if found["half"] else "%H"
    clock = found["gap"] + hour + (found["colon"] + "%M" if found["minute"] else "")
    clock += found["colon"] + "%S%.f" if found["second"] else ""
    clock += found["half"][:-2] + "%p" if found["half"] else ""
    zone = (found["zone"] or "").strip()
    if zone and zone[0] in "+-Z":
        clock += found["zone"][: -len(zone)] + "%z"
    elif zone:
        clock += found["zone"]
    timed = [form for date_format in DATE_FORMATS for form in of_format(date_format + clock)]
    return [replace(form, local=False) for form in timed] if zone else timed


def epochs() -> list[Form]:
    """Seconds, milliseconds, microseconds and nanoseconds since 1970, in the years EPOCH_YEARS."""
    return [Form(unit, partial(_epoch, unit=unit, years=EPOCH_YEARS), WHOLE) for unit in EPOCHS]


def of_numbers() -> list[Form]:
    """A decimal point, with or without commas for thousands; or a decimal comma, with or without points."""
    fix = "write numbers without thousands separators, as in 1234.5, and three decimals with a zero, as in 1.2340"
    return [Form("1,234.5", _point, advice=fix), Form("1.234,5", _comma, advice=fix)]


def of_integers() -> list[Form]:
    """Digits, with or without commas for thousands."""
    return [Form("1,234", _integer)]


def _styles(pattern: str) -> list[dict[str, str]]:
    if re.search(r"%[dmYy]%[dmYy]", pattern):  # without leading zeros, 2010111 has two readings
        return [{"%d": PADDED, "%m": PADDED}]
    mixed = () if pattern.startswith("%Y") else ((PADDED, BARE), (BARE, PADDED))
    return [{"%d": day, "%m": month} for day, month in ((PADDED, PADDED), (BARE, BARE), *mixed)]


def _strptime(text: pl.Series, shape: str, pattern: str, timed: bool) -> pl.Series:
    import polars as pl

    text = _where(text, text.str.contains(shape))
    # names of months are slow to parse, so a cache is faster
    cache = "%b" in pattern or "%B" in pattern
    if not timed:
        return text.str.to_date(pattern, strict=False, cache=cache)
    if "%M" not in pattern:  # Polars needs minutes
        text, pattern = text + ":00", pattern + ":%M"
    values = text.str.to_datetime(pattern, strict=False, cache=cache, time_unit="us")
    return values.dt.replace_time_zone(None) if isinstance(values.dtype, pl.Datetime) else values


def _epoch(text: pl.Series, unit: str, years: tuple[int, int]) -> pl.Series:
    """Datetime("us") in UTC; null for nanoseconds that are not whole microseconds."""
    import polars as pl

    scale, (low, high) = EPOCHS[unit], years
    number = _where(text, text.str.contains(WHOLE)).str.replace(r"\.0*$", "").cast(pl.Int64, strict=False)
    fits = number.is_between(low * scale, high * scale, closed="left") & (number % max(scale // 10**6, 1) == 0)
    number = _where(number, fits)
    return (number * (10**6 // scale) if scale <= 10**6 else number // 1000).cast(pl.Datetime("us"))


def _point(text: pl.Series) -> pl.Series:
    import polars as pl

    values = text.cast(pl.Float64, strict=False)
    if values.null_count() > text.null_count():
        values = _ungrouped(text, THOUSANDS, ",").cast(pl.Float64, strict=False)
    return values.fill_nan(None)


def _comma(text: pl.Series) -> pl.Series:
    import polars as pl

    fits = _where(text, text.str.contains(COMMA))
    return fits.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True).cast(pl.Float64)


def _integer(text: pl.Series) -> pl.Series:
    import polars as pl

    values = text.cast(pl.Int64, strict=False)
    if values.null_count() == text.null_count():
        return values
    plain = _ungrouped(text, THOUSANDS, ",")
    return _where(plain, plain.str.contains(WHOLE)).str.replace(r"\.0*$", "").cast(pl.Int64, strict=False)


def _ungrouped(text: pl.Series, shape: str, mark: str) -> pl.Series:
    import polars as pl

    grouped = text.str.contains(shape)
    plain = pl.when(grouped).then(text.str.replace_all(mark, "", literal=True)).otherwise(text)
    return text.to_frame().select(plain.alias(text.name)).to_series()


def _where(values: pl.Series, fits: pl.Series) -> pl.Series:
    """Null where `fits` is false; the same series if it is true everywhere."""
    import polars as pl

    if fits.all():
        return values
    return values.to_frame().select(pl.when(fits).then(pl.first()).alias(values.name)).to_series()
