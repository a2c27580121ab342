"""Columns of text to dates, times and numbers, without guessing: what can be read in two ways is a finding.

parsed = dates(frame["Date"])                            one column in memory: values and findings
parsed = scan(lazy, {"Date": date_reader(), "Close": price_reader()})        columns of any length
refuse_findings("closes.csv", parsed.values())           all that is wrong with them, at once
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
"""Rows among which a header is looked for that stands below other lines."""


def dates(column: pl.Series, date_format: str | None = None) -> Parsed:
    """Date. `date_format` is the user's (strptime, or epoch_s and so on); None where the values must show it.

    Raises:
        Refused: `date_format` is no such format.
    """
    return read(column, date_reader(date_format))


def times(column: pl.Series, date_format: str | None = None, zone: str = "UTC") -> Parsed:
    """Datetime("us") in UTC, without zone; `zone` is that of times whose text names none.

    Raises:
        Refused: `date_format` is no such format.
    """
    return read(column, time_reader(date_format, zone))


def numbers(column: pl.Series) -> Parsed:
    """Float64, finite."""
    return read(column, number_reader())


def prices(column: pl.Series) -> Parsed:
    """Float64 above zero, one at least."""
    return read(column, price_reader())


def integers(column: pl.Series) -> Parsed:
    """Int64."""
    return read(column, integer_reader())


def column(frame: pl.LazyFrame, candidates: Sequence[str], where: str, fix: str) -> str:
    """The frame's name of the candidate that it has, blanks around it and case aside.

    Raises:
        Refused: it has none of them, or several.
    """
    wanted = {name.strip().lower() for name in candidates}
    names = frame.collect_schema().names()
    found = [name for name in names if _plain(name) in wanted]
    if len(found) == 1:
        return found[0]
    what = " or ".join(candidates)
    if found:
        twice = ", ".join(name.strip() for name in dict.fromkeys(map(_original, found)))
        problem = f"has the columns {twice}" if "," in twice else f"has {len(found)} columns called {twice}"
        raise refuse(where, f"{problem}, and each could be the {candidates[0]}", fix)
    if line := _header_below(frame, wanted):
        problem = f"the header stands in row {line} below other lines"
        raise refuse(where, f"has no column {what} in its first line; {problem}", "remove the lines above the header")
    raise refuse(where, f"has no column {what} (it has {', '.join(map(str.strip, names[:12]))})", fix)


def _original(name: str) -> str:
    """A name as the file has it; Polars renames a second column of the same name."""
    return name.partition("_duplicated_")[0]


def _plain(name: str) -> str:
    return _original(name).strip().lower()


def _header_below(frame: pl.LazyFrame, wanted: set[str]) -> int | None:
    rows = frame.head(PREAMBLE).collect().rows()
    return next(
        (at for at, row in enumerate(rows, 1) if any(str(each).strip().lower() in wanted for each in row)), None
    )
