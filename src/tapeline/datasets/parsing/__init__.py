"""Columns of text to dates, times and numbers, without guessing: a value that can be read in two ways is a finding.

parsed = dates(frame["Date"])                            one column in memory: values and findings
parsed = scan(lazy, {"Date": date_reader(), "Close": price_reader()})        columns of any length, in batches
refuse_findings("closes.csv", parsed.values())           refuses all findings at once
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tapeline.datasets.parsing.columns import Parsed, Reader, RowFinding, read, refuse_findings, scan
from tapeline.datasets.parsing.readers import date_reader, integer_reader, number_reader, price_reader, time_reader
from tapeline.errors import refuse

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "DATE_NAMES",
    "Parsed",
    "Reader",
    "RowFinding",
    "column",
    "date_reader",
    "dates",
    "integer_reader",
    "integers",
    "number_reader",
    "numbers",
    "price_reader",
    "prices",
    "read",
    "refuse_findings",
    "scan",
    "time_reader",
    "times",
]

DATE_NAMES = ("date", "time", "timestamp", "datetime")
PREAMBLE = 30
"""Rows at the top of a file in which a header below other lines is searched."""


def dates(column: pl.Series, date_format: str | None = None) -> Parsed:
    """A column as Date.

    Args:
        column: text, numbers or times.
        date_format: strptime directives, or epoch_s, epoch_ms, epoch_us, epoch_ns; None detects it from the values.

    Raises:
        Refused: `date_format` is not a date format.
    """
    return read(column, date_reader(date_format))


def times(column: pl.Series, date_format: str | None = None, zone: str = "UTC") -> Parsed:
    """A column as Datetime("us") in UTC, without zone.

    Args:
        column: text, numbers or times.
        date_format: as for `dates`.
        zone: the time zone of values whose text names none.

    Raises:
        Refused: `date_format` is not a date format.
    """
    return read(column, time_reader(date_format, zone))


def numbers(column: pl.Series) -> Parsed:
    """A column as Float64, finite."""
    return read(column, number_reader())


def prices(column: pl.Series) -> Parsed:
    """A column as Float64 above zero, with at least one value."""
    return read(column, price_reader())


def integers(column: pl.Series) -> Parsed:
    """A column as Int64."""
    return read(column, integer_reader())


def column(frame: pl.LazyFrame, candidates: Sequence[str], where: str, fix: str) -> str:
    """The name of the one column that matches a candidate; blanks around names and upper case are ignored.

    Raises:
        Refused: no column matches, or several do.
    """
    normalized = {name.strip().lower() for name in candidates}
    names = frame.collect_schema().names()
    found = [name for name in names if _normalized(name) in normalized]
    if len(found) == 1:
        return found[0]
    what = " or ".join(candidates)
    if found:
        twice = ", ".join(name.strip() for name in dict.fromkeys(map(_original, found)))
        problem = f"has the columns {twice}" if "," in twice else f"has {len(found)} columns called {twice}"
        raise refuse(where, f"{problem}, and each could be the {candidates[0]}", fix)
    if line := _header_below(frame, normalized):
        problem = f"the header is in row {line}, below other lines"
        raise refuse(where, f"has no column {what} in its first line; {problem}", "remove the lines above the header")
    raise refuse(where, f"has no column {what} (it has {', '.join(map(str.strip, names[:12]))})", fix)


def _original(name: str) -> str:
    """The name in the file; Polars renames a second column of the same name."""
    return name.partition("_duplicated_")[0]


def _normalized(name: str) -> str:
    return _original(name).strip().lower()


def _header_below(frame: pl.LazyFrame, candidates: set[str]) -> int | None:
    rows = frame.head(PREAMBLE).collect().rows()
    return next(
        (at for at, row in enumerate(rows, 1) if any(str(each).strip().lower() in candidates for each in row)), None
    )
