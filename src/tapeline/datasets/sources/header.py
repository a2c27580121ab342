"""The header of a table of text: below other lines, or in several rows, where that is not ambiguous.

Vendors write names and settings above the header, spreadsheets `sep=;`, and yfinance three rows: Price, Ticker, Date.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapeline.errors import Finding, Refused, refuse

Array = np.ndarray[Any, Any]

SEPARATORS = ",;\t|"
SEARCHED = 30
"""Rows at the top of a file in which a header below other lines is searched."""
FIELDS = frozenset(("open", "high", "low", "close", "adj close", "adjclose", "price", "last", "volume"))
"""Names of the columns of a market."""
VALUE = re.compile(r"[+-]?[.,]?\d")
"""The beginning of a number or a date."""
BOM = b"\xef\xbb\xbf"
BINARY = {
    b"PAR1": ("is a Parquet file, not a table of text", "set dataset.source=parquet"),
    b"{": ("is JSON, not a table of text", "download or save the table as CSV"),
    b"[": ("is JSON, not a table of text", "download or save the table as CSV"),
}
"""By the first bytes of a file: what it is, and what to do."""
HTML = (b"<!doctype", b"<html", b"<?xml")


@dataclass(frozen=True)
class Header:
    """The layout of a file, by its first lines."""

    skipped: int
    """Lines before the header; of several rows, before the last one."""
    start: int
    """The byte where the header begins; of several rows, the last one."""
    separator: str
    columns: int
    names: tuple[str, ...] | None = None
    """The names of the columns where they stand in several rows; None: those in the header's row."""
    line: bytes = b""
    """The header's row."""


def find(content: bytes, name: str, dates: Sequence[str]) -> Header:
    """The header of a file.

    Args:
        content: the beginning of the file.
        name: of the file, in error messages.
        dates: names that the column of dates may have. The header is the first row that has one and no values;
            the first row where there is no such row.

    Raises:
        Refused: it is not a table of text.
    """
    start = len(BOM) if content.startswith(BOM) else 0
    _check_kind(content[start:].lstrip(), name)
    first = content[start:].split(b"\n", 1)[0]
    separators = SEPARATORS
    if first.strip().lower().startswith(b"sep=") and len(first.strip()) == 5:
        separators = first.strip()[4:].decode("latin-1")
        start += len(first) + 1
    ends = records(content[start:], b"\n")[1][: SEARCHED + 2]
    begins = [0, *(int(end) + 1 for end in ends)]
    lines = [content[start:][a:b] for a, b in zip(begins, [*(int(end) for end in ends), len(content)], strict=True)]
    wanted = {each.strip().lower() for each in dates}
    found = next((at for at, line in enumerate(lines[:SEARCHED]) if _separator(line, separators, wanted)), None)
    at = found or 0
    separator = _separator(lines[at], separators, wanted) or _most_often(lines[at], separators)
    here = start + begins[at]
    rows = [cells(line, separator) for line in lines[: at + 3]]
    if found is not None:
        _check_second(rows[at + 1 :], len(rows[at]), name)
    names = _joined(rows[: at + 1]) if found is not None else None
    columns = len(records(lines[at], separator.encode())[0]) + 1
    return Header(content[:here].count(b"\n"), here, separator, columns, names, lines[at].rstrip(b"\r"))


def _check_kind(content: bytes, name: str) -> None:
    if content[:9].lower().startswith(HTML):
        raise refuse(name, "is an HTML page, not a table", "download the file itself, not the page that shows it")
    for begin, (problem, fix) in BINARY.items():
        if content.startswith(begin):
            raise refuse(name, problem, fix)
    if b"\n" not in content and b"\r" in content.rstrip():
        raise refuse(name, "has line ends CR, as of old Macs", "save it with line ends LF or CRLF")


def _separator(line: bytes, separators: str, dates: set[str]) -> str | None:
    """The separator by which a line is a header: a name of dates, another cell, and no values."""
    for separator in sorted(separators, key=lambda each: -line.count(each.encode("latin-1"))):
        row = cells(line, separator)
        if len(row) > 1 and any(each.lower() in dates for each in row) and not any(map(VALUE.match, row)):
            return separator
    return None


def _most_often(line: bytes, separators: str) -> str:
    return max(separators, key=lambda each: len(records(line, each.encode("latin-1"))[0]))


def cells(line: bytes, separator: str) -> list[str]:
    """The values of one line without blanks around them; empty for a line that is not text."""
    try:
        row = next(csv.reader([line.decode("utf-8", "replace")], delimiter=separator), [])
    except csv.Error:
        return []
    return [each.strip() for each in row]


def _check_second(below: Sequence[Sequence[str]], columns: int, name: str) -> None:
    """Refuse a second row of names or units below the header, which is not followed by another such row."""
    if len(below) < 2 or len(below[0]) != columns or not any(below[0]):
        return
    if not any(map(VALUE.match, below[0])) and any(map(VALUE.match, below[1])):
        shown = ", ".join(filter(None, below[0]))
        raise refuse(f"{name}, row 1", f"has names or units and no values ({shown})", "remove this row")


def _joined(rows: Sequence[Sequence[str]]) -> tuple[str, ...] | None:
    """Names of the columns of several rows, the last one with the name of the dates alone; None for a usual header.

    Rows that have the same name in every column say nothing, unless no row says more.
    """
    *above, last = rows
    columns = len(last)
    if any(last[1:]) or not above or len(above[-1]) != columns:
        return None
    parts = [row for row in above[-2:] if len(row) == columns and all(row[1:]) and not any(map(VALUE.match, row))]
    naming = [row for row in parts if len(set(row[1:])) > 1]
    naming = naming or [row for row in parts if {each.lower() for each in row[1:]} & FIELDS] or parts[:1]
    if not naming:
        return None
    names, counts = [last[0]], dict[str, int]()
    for at in range(1, columns):
        name = " ".join(row[at] for row in naming)
        twice = counts.get(name, 0)
        counts[name] = twice + 1
        names.append(f"{name}_duplicated_{twice - 1}" if twice else name)
    return tuple(names)


def records(chunk: bytes, separator: bytes) -> tuple[Array, Array]:
    """Positions of separators outside quotes, and of the ends of rows."""
    data = np.frombuffer(chunk, np.uint8)
    separators, ends = data == separator[0], data == ord("\n")
    if b'"' in chunk:
        outside = np.cumsum(data == ord('"'), dtype=np.uint8) % 2 == 0
        separators &= outside
        ends &= outside
    return np.flatnonzero(separators), np.flatnonzero(ends)


def check_columns(columns: int, name: str, most: int) -> None:
    """Refuse a table with too many columns."""
    if columns > most:
        fix = f"leave out columns, or set dataset.max_columns={columns} or more"
        raise Refused(Finding(name, f"has {columns:,} columns, more than dataset.max_columns={most}", fix))
