"""Kaggle's training.csv, read in portions: the text of some images is in memory at the same time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tapeline.datasets import parsing
from tapeline.datasets.faces.shape import IMAGE, LABELS, POINTS, SIDE
from tapeline.datasets.parsing import RowFinding
from tapeline.errors import Finding, Refused, refuse
from tapeline.tables.spec import Array

if TYPE_CHECKING:
    import polars as pl

PIXELS = SIDE * SIDE
PORTION = 128
"""Images whose text is in memory at the same time, at least."""
SHOWN = 5
"""Rows that a finding lists, at most."""
WHITE = 255
TEST = "ImageId"
"""A column of test.csv."""


@dataclass
class _Problems:
    """What is wrong with the images, by kind: the fix, and the rows with what each has."""

    found: dict[str, tuple[str, list[tuple[int, str]]]] = field(default_factory=dict)

    def add(self, kind: str, fix: str, row: int, detail: str) -> None:
        self.found.setdefault(kind, (fix, []))[1].append((row, detail))

    def findings(self, where: str) -> Iterator[Finding]:
        """One for each kind."""
        for fix, rows in self.found.values():
            numbers = tuple(row for row, _ in rows[:SHOWN])
            yield RowFinding(IMAGE, numbers, len(rows), None, rows[0][1], fix).at(where)


def read_faces(frame: pl.LazyFrame, where: str, group_column: str | None) -> pl.DataFrame:
    """Columns `row`, `person`, the labels float64, null where missing, and `image`, 9,216 bytes.

    Raises:
        Refused: everything that is wrong with the file, by column and row.
    """
    import polars as pl

    columns = frame.collect_schema().names()
    _check_columns(columns, where, group_column)
    readers = dict.fromkeys(LABELS, parsing.number_reader())
    parsed = parsing.scan(frame.select(LABELS), readers, where)
    images, problems = read_images(frame, where)
    labels = pl.DataFrame([each.values for each in parsed.values()])
    if not len(labels):
        raise refuse(where, "has no rows", "use a file with rows")
    findings = [finding.at(where) for each in parsed.values() for finding in each.findings]
    findings += problems
    if not any(each.findings for each in parsed.values()):
        findings += _of_labels(labels.to_numpy(), where)
    if findings:
        raise Refused(*findings)
    person = pl.lit(None, pl.String).alias("person")
    if group_column:
        named = frame.select(pl.col(group_column).cast(pl.String).alias("person")).collect()
        labels, person = labels.with_columns(named["person"]), pl.col("person")
    return labels.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), person, *LABELS, pl.Series("image", images, pl.Binary)
    )


def _check_columns(columns: list[str], where: str, group_column: str | None) -> None:
    wanted = [*LABELS, IMAGE, *([group_column] if group_column else [])]
    missing = [name for name in wanted if name not in columns]
    if not missing:
        return
    if TEST in columns and IMAGE in columns:
        fix = "train on training.csv; forecast these with: tapeline predict rows=test.csv"
        raise refuse(where, "has images without labels, as test.csv", fix)
    shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    have = ", ".join(map(repr, columns[:4])) + (", ..." if len(columns) > 4 else "")
    raise refuse(where, f"has no column {shown} (it has {have})", "name the columns as Kaggle's training.csv does")


def read_images(frame: pl.LazyFrame, where: str) -> tuple[list[bytes], list[Finding]]:
    """The grey values of each row's image as 9,216 bytes, and findings about rows that have none.

    The column may be text, as in Kaggle's files, lists or arrays of numbers, or bytes.

    Raises:
        Refused: the file is damaged.
    """
    import polars as pl

    images: list[bytes] = []
    problems = _Problems()
    try:
        for batch in frame.select(IMAGE).collect_batches(chunk_size=PORTION, maintain_order=True):
            for value in _values(batch[IMAGE]):
                images.append(_image(value, len(images) + 1, problems))
    except (pl.exceptions.ComputeError, OSError) as error:
        what = " ".join(str(error).split("\n")[0].split())
        raise refuse(where, f"cannot be read completely ({what})", "write or download the file again") from None
    return images, list(problems.findings(where))


def _values(column: pl.Series) -> Iterable[Any]:
    """One by one, since all at once as Python objects would take much memory."""
    return (column[at] for at in range(len(column)))


def _image(value: Any, row: int, problems: _Problems) -> bytes:
    """The bytes of one image; empty, with an entry in `problems`, where there is none."""
    numbers = _numbers(value)
    if numbers is None:
        text = str(value).strip()
        wrong = next((word for word in text.split() if not _is_whole(word)), "")
        if not text or value is None:
            problems.add("missing", "complete or remove the row", row, "the image is missing")
        else:
            fix = "write grey values as whole numbers from 0 to 255"
            problems.add("text", fix, row, f"{wrong[:20]!r} is not a grey value")
        return b""
    if len(numbers) != PIXELS:
        problems.add(*_wrong_size(len(numbers)), row, f"the image has {len(numbers):,} values, not {PIXELS:,}")
        return b""
    outside = numbers[(numbers < 0) | (numbers > WHITE)]
    if len(outside):
        fix = "scale grey values to whole numbers from 0 to 255"
        problems.add("outside", fix, row, f"the grey value {outside[0]:g} is not from 0 to {WHITE}")
        return b""
    if numbers.dtype.kind == "f" and (numbers != np.round(numbers)).any():
        fraction = numbers[numbers != np.round(numbers)][0]
        fix = "write grey values as whole numbers from 0 to 255"
        problems.add("fraction", fix, row, f"the grey value {fraction:g} is not a whole number")
        return b""
    return numbers.astype(np.uint8).tobytes()


def _wrong_size(count: int) -> tuple[str, str]:
    side = math.isqrt(count)
    if side * side == count and side > 1:
        return f"square {side}", f"resize images of {side} x {side} pixels to {SIDE} x {SIDE}, and scale their labels"
    return "cut", f"write all {PIXELS:,} grey values of {SIDE} x {SIDE} pixels; the text may have been cut off"


def _numbers(value: Any) -> Array | None:
    """The numbers of one image; None where they are none."""
    import polars as pl

    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, bytes):
        return np.frombuffer(value, np.uint8)
    if isinstance(value, pl.Series) and value.dtype.is_numeric() and not value.null_count():
        numbers: Array = value.to_numpy()
        return numbers if np.isfinite(numbers).all() else None
    return None


def _from_text(text: str) -> Array | None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a word that is not a number ends the reading with a warning
        try:
            return np.fromstring(text, np.int64, sep=" ") if text.strip() else None
        except (DeprecationWarning, ValueError, OverflowError):
            return None


def _is_whole(word: str) -> bool:
    return word.lstrip("+-").isdecimal()


def _of_labels(labels: Array, where: str) -> Iterator[Finding]:
    """Labels outside the image, points of which one coordinate is known, and rows without any label."""
    known = np.isfinite(labels)
    for at, name in enumerate(LABELS):
        column = labels[:, at]
        rows = np.flatnonzero(known[:, at] & ((column < 0) | (column > SIDE)))
        if len(rows):
            problem = f"{column[rows[0]]:g} lies outside the image, whose sides are {SIDE} pixels"
            yield _rows(name, rows, problem, "correct the label, or leave both coordinates of the point empty").at(
                where
            )
    for at, point in enumerate(POINTS):
        rows = np.flatnonzero(known[:, 2 * at] != known[:, 2 * at + 1])
        if len(rows):
            present, absent = ("x", "y") if known[rows[0], 2 * at] else ("y", "x")
            problem = f"is missing, and {point}_{present} is there"
            fix = "give both coordinates of a point, or none"
            yield _rows(f"{point}_{absent}", rows, problem, fix).at(where)
    rows = np.flatnonzero(~known.any(axis=1))
    if len(rows):
        also = f" ({len(rows)} rows; also {', '.join(str(row + 1) for row in rows[1:SHOWN])})" if len(rows) > 1 else ""
        yield Finding(
            f"{where}, row {rows[0] + 1}", f"every label is missing{also}", "remove the row, or label a point"
        )


def _rows(column: str, rows: Array, problem: str, fix: str) -> RowFinding:
    shown = tuple(int(row) + 1 for row in rows[:SHOWN])
    return RowFinding(column, shown, len(rows), None, problem, fix)
