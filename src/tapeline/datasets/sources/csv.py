"""One delimited text file with a header. Every value stays text; `parsing` gives it a type.

The file is read once to check that each row has as many values as the header, and then scanned. It is never in
memory as a whole.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapeline.config.schema import Dataset
from tapeline.datasets.parsing import DATE_NAMES
from tapeline.datasets.sources import header
from tapeline.datasets.sources.fetch import check, scanned, seen, size
from tapeline.datasets.sources.header import Header, records
from tapeline.errors import Finding, Refused, refuse

if TYPE_CHECKING:
    import polars as pl

__all__ = ["check", "read", "scan", "seen", "size"]

Array = np.ndarray[Any, Any]
log = logging.getLogger(__name__)

READS = ("path",)
HEAD = 1 << 20
"""Bytes in which the header must end."""
CHUNK = 1 << 24
"""Bytes in memory at the same time."""
LONGEST = 1 << 26
"""The largest size of a row in bytes; a longer one has a quote that is not closed, or the file is not text."""
BLANK = b' \t\r\n"'
FEW = 20
"""Values of a column with which the last one of a file without a line end is compared."""


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
    repeated: Array
    """The numbers of rows that are the header again."""


def read(dataset: Dataset, simulate: object, folder: Path) -> tuple[pl.LazyFrame, str]:
    """The file at `dataset.path`."""
    dates = getattr(dataset, "date_column", None)
    return scanned(dataset, folder, partial(scan, dates=[dates] if dates else DATE_NAMES, most=dataset.max_columns))


def scan(path: Path, name: str, dates: Sequence[str] = DATE_NAMES, most: int = 2000) -> pl.LazyFrame:
    """A table of text, delimited by comma, semicolon, tab or bar: the one that the header has most often.

    Lines above the header and blank lines at the end are left out.

    Args:
        path: a local file.
        name: its name in error messages.
        dates: names that the column of dates may have, by which a header below other lines is found.
        most: the largest number of columns.

    Raises:
        Refused: it is not UTF-8 text, has too many columns, rows have more or fewer values than the header, or the
            last value is cut off.
    """
    import polars as pl

    with open(path, "rb") as file:
        head = header.find(file.read(HEAD), name, dates)
    header.check_columns(head.columns, name, most)
    rows, blank = _checked(path, name, head)
    if head.skipped:
        log.info("%s: the header is in line %d; the lines above it are left out", name, head.skipped + 1)
    frame = (
        pl.scan_csv(
            path,
            separator=head.separator,
            infer_schema=False,
            skip_lines=head.skipped + 1,
            has_header=False,
            new_columns=list(head.names),
        )
        if head.names
        else pl.scan_csv(path, separator=head.separator, infer_schema=False, skip_lines=head.skipped)
    )
    frame = frame.head(rows) if blank else frame
    if rows and not blank:
        _check_end(path, frame, name, rows)
    return frame


def _check_end(path: Path, frame: pl.LazyFrame, name: str, rows: int) -> None:
    """Refuse a file without a line end whose last value is shorter than all others of its column: it was cut off."""
    import polars as pl

    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() in (b"\n", b"\r"):
            return
    text = pl.nth(-1).fill_null("").str.strip_chars()
    found = frame.select(
        text=text,
        point=text.str.contains(".", literal=True),
        decimals=text.str.extract(r"\.(\d*)$").str.len_bytes().fill_null(0),
        length=text.str.len_bytes(),
    )
    others = found.head(rows - 1).filter(pl.col("text") != "")
    ((value, point, decimals, length),) = found.tail(1).collect().rows()
    columns = [pl.col("point").all(), pl.col("decimals").min(), pl.col("length").min().alias("least"), pl.len()]
    ((points, fewest, least, count),) = others.select(columns).collect().rows()
    if value in ("", "0"):
        cut = value == "" and count == rows - 1
    else:  # one decimal may be what is left of two that end with a zero
        cut = (points and not point) or decimals < (fewest or 0) > 1 or (not point and length < (least or 0))
    if count >= FEW and cut:
        problem = f"the file ends here without a line end, and its last value {value!r} is shorter than all others"
        raise refuse(f"{name}, row {rows}", problem, "download it again, or end the last line if the value is right")


def _checked(path: Path, name: str, head: Header) -> tuple[int, bool]:
    """The number of rows below the header without blank rows at the end, and whether there are such.

    Raises:
        Refused: as `scan`.
    """
    total, last, wrong, values, again = 0, 0, [], [], list[int]()
    for chunk in _chunks(path, name, head.start):
        rows = _rows(chunk, head)
        wrong.append(rows.wrong + total)
        values.append(rows.values)
        again += (rows.repeated + total).tolist()
        last = total + rows.last if rows.last >= 0 else last
        total += rows.count
    numbers, counts = np.concatenate(wrong), np.concatenate(values)
    before = numbers <= last  # row 0 is the header
    findings = [*_uneven(name, numbers[before], counts[before], head.columns, last), *_repeated(name, again)]
    if findings:
        raise Refused(*findings)
    return last, last + 1 < total


def _repeated(name: str, rows: Sequence[int]) -> Iterator[Finding]:
    """A finding for rows below the header that are the header again, as in files that were joined."""
    if below := [row for row in rows if row]:
        also = f" ({len(below)} rows; also {', '.join(map(str, below[1:5]))})" if len(below) > 1 else ""
        yield Finding(f"{name}, row {below[0]}", f"is the header again{also}", "remove the line")


def _uneven(name: str, numbers: Array, counts: Array, names: int, last: int) -> Iterator[Finding]:
    """One finding for each wrong number of values."""
    if last > 1 and len(numbers) == last and len(set(counts.tolist())) == 1 and counts[0]:
        problem = f"each row has {counts[0]} value{'s' if counts[0] > 1 else ''}, and the header has {names}"
        fix = "name each column, or, if numbers have decimal commas, separate values by semicolons"
        yield Finding(name, problem, fix)
        return
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
                        name,
                        f"the row that begins at byte {at + 1} is longer than {LONGEST} bytes",
                        "use a table of text with line ends, and close its quotes",
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
    ends = records(chunk, b"\n")[1]
    return int(ends[-1]) + 1 if len(ends) else 0


def _text(chunk: bytes, name: str, at: int) -> bytes:
    try:
        if not chunk.isascii():
            chunk.decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 text (byte {at + error.start + 1})"
        raise refuse(name, problem, "save it as CSV in UTF-8") from None
    return chunk


def _rows(chunk: bytes, head: Header) -> _Rows:
    """Check the rows of a chunk of complete rows."""
    separators, ends = records(chunk, head.separator.encode())
    values = np.diff(np.searchsorted(separators, ends), prepend=0) + 1
    wrong = np.flatnonzero(values != head.columns)
    starts = np.concatenate([[0], ends[:-1] + 1])
    blank = [not chunk[starts[row] : ends[row]].strip() for row in wrong]
    content = len(chunk.rstrip(BLANK + head.separator.encode()))
    last = int(np.searchsorted(ends, content - 1)) if content else -1
    again = np.array([], np.int64)
    if head.line and chunk.count(head.line) > (chunk.startswith(head.line)):
        same = ends - starts - len(head.line) <= 1
        rows = [row for row in np.flatnonzero(same) if chunk[starts[row] : ends[row]].rstrip(b"\r") == head.line]
        again = np.array(rows, np.int64)
    return _Rows(len(ends), wrong, np.where(blank, 0, values[wrong]), last, again)
