"""One delimited text file with a header. Every value stays text; `parsing` gives it a type.

The file is read once to check that each row has as many values as the header, and then scanned. It is never in
memory as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapeline.config.schema import Dataset
from tapeline.datasets.sources.fetch import check, scanned, seen, size
from tapeline.errors import Finding, Refused, refuse

if TYPE_CHECKING:
    import polars as pl

__all__ = ["check", "read", "scan", "seen", "size"]

Array = np.ndarray[Any, Any]

READS = ("path",)
HEAD = 1 << 20
"""Bytes in which the header must end."""
CHUNK = 1 << 24
"""Bytes in memory at the same time."""
LONGEST = 1 << 26
"""The largest size of a row in bytes; a longer one has a quote that is not closed."""
SEPARATORS = ",;\t|"
BLANK = b' \t\r\n"'


@dataclass(frozen=True)
class _Head:
    """The layout of the file, by its first lines."""

    skipped: int
    """Lines before the header: `sep=;`, which spreadsheets write."""
    start: int
    """The byte where the header begins."""
    separator: str
    names: int


@dataclass(frozen=True)
class _Rows:
    """Rows of a chunk with more or fewer values than the header."""

    count: int
    wrong: Array
    """Their numbers in the chunk, counted from 0."""
    values: Array
    """The number of values in each; 0 for a blank line."""
    last: int
    """The last row that is not blank, counted from 0; -1 if all are."""


def read(dataset: Dataset, simulate: object, folder: Path) -> tuple[pl.LazyFrame, str]:
    """The file at `dataset.path`."""
    return scanned(dataset, folder, scan)


def scan(path: Path, name: str) -> pl.LazyFrame:
    """A table of text, delimited by comma, semicolon, tab or bar: the one that the header has most often.

    Blank lines at the end are left out.

    Raises:
        Refused: it is not UTF-8 text, or rows have more or fewer values than the header.
    """
    import polars as pl

    head = _head(path, name)
    rows, blank = _checked(path, name, head)
    frame = pl.scan_csv(path, separator=head.separator, infer_schema=False, skip_lines=head.skipped)
    return frame.head(rows) if blank else frame


def _head(path: Path, name: str) -> _Head:
    with open(path, "rb") as file:
        content = file.read(HEAD)
    start = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    if content[start:].lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        raise refuse(name, "is an HTML page, not a table", "download the file itself, not the page that shows it")
    line, separator = content[start:].split(b"\n", 1)[0], None
    skipped = 0
    if line.strip().lower().startswith(b"sep=") and len(line.strip()) == 5:
        separator, skipped = line.strip()[4:].decode("latin-1"), 1
        start += len(line) + 1
    header = _records(content[start:], b"\n")[1]
    line = content[start : start + (int(header[0]) if len(header) else len(content))]
    counts = {each: len(_records(line, each.encode())[0]) for each in SEPARATORS}
    separator = separator or max(counts, key=lambda each: counts[each])
    return _Head(skipped, start, separator, counts.get(separator, line.count(separator.encode())) + 1)


def _records(chunk: bytes, separator: bytes) -> tuple[Array, Array]:
    """Positions of separators outside quotes, and of the ends of rows."""
    data = np.frombuffer(chunk, np.uint8)
    separators, ends = data == separator[0], data == ord("\n")
    if b'"' in chunk:
        outside = np.cumsum(data == ord('"'), dtype=np.uint8) % 2 == 0
        separators &= outside
        ends &= outside
    return np.flatnonzero(separators), np.flatnonzero(ends)


def _checked(path: Path, name: str, head: _Head) -> tuple[int, bool]:
    """The number of rows below the header without blank rows at the end, and whether there are such.

    Raises:
        Refused: as `scan`.
    """
    total, last, wrong, values = 0, 0, [], []
    for chunk in _chunks(path, name, head.start):
        rows = _rows(chunk, head)
        wrong.append(rows.wrong + total)
        values.append(rows.values)
        last = total + rows.last if rows.last >= 0 else last
        total += rows.count
    numbers, counts = np.concatenate(wrong), np.concatenate(values)
    before = numbers <= last  # row 0 is the header
    findings = list(_uneven(name, numbers[before], counts[before], head.names))
    if findings:
        raise Refused(*findings)
    return last, last + 1 < total


def _uneven(name: str, numbers: Array, counts: Array, names: int) -> Iterator[Finding]:
    """One finding for each wrong number of values."""
    for count in np.unique(counts):
        rows = numbers[counts == count]
        also = f" ({len(rows)} rows; also {', '.join(map(str, rows[1:5]))})" if len(rows) > 1 else ""
        if count:
            problem, fix = (
                f"has {count} value{'s' if count > 1 else ''}, and the header has {names}",
                "give each row as many values as the header",
            )
        else:
            problem, fix = "is blank", "remove the line"
        yield Finding(f"{name}, row {rows[0]}", problem + also, fix)


def _chunks(path: Path, name: str, start: int) -> Iterator[bytes]:
    """Complete rows from the byte `start` on, in UTF-8."""
    rest, at = b"", start
    with open(path, "rb") as file:
        file.seek(start)
        while new := file.read(CHUNK):
            rest += new
            if not (cut := _end(rest)):
                if len(rest) > LONGEST:
                    raise refuse(
                        name, f"the row that begins at byte {at + 1} is longer than {LONGEST} bytes", "close its quotes"
                    )
                continue
            yield _text(rest[:cut], name, at)
            rest, at = rest[cut:], at + cut
    if rest:
        if rest.count(b'"') % 2:
            raise refuse(
                name, f"the row that begins at byte {at + 1} has a quote that is not closed", "close the quote"
            )
        yield _text(rest + b"\n", name, at)


def _end(chunk: bytes) -> int:
    """The position after the last complete row; 0 if there is none."""
    if b'"' not in chunk:
        return chunk.rfind(b"\n") + 1
    ends = _records(chunk, b"\n")[1]
    return int(ends[-1]) + 1 if len(ends) else 0


def _text(chunk: bytes, name: str, at: int) -> bytes:
    try:
        if not chunk.isascii():
            chunk.decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 text (byte {at + error.start + 1})"
        raise refuse(name, problem, "save it as CSV in UTF-8") from None
    return chunk


def _rows(chunk: bytes, head: _Head) -> _Rows:
    """Check the rows of a chunk of complete rows."""
    separators, ends = _records(chunk, head.separator.encode())
    values = np.diff(np.searchsorted(separators, ends), prepend=0) + 1
    wrong = np.flatnonzero(values != head.names)
    starts = np.concatenate([[0], ends[:-1] + 1])
    blank = [not chunk[starts[row] : ends[row]].strip() for row in wrong]
    content = len(chunk.rstrip(BLANK + head.separator.encode()))
    last = int(np.searchsorted(ends, content - 1)) if content else -1
    return _Rows(len(ends), wrong, np.where(blank, 0, values[wrong]), last)
