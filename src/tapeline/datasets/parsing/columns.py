"""A column of text to values with a type, and findings, in batches.

Candidate forms are chosen by a sample and verified on every value. If at the end two forms are left that read
the column differently, that is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tapeline.datasets.parsing.forms import Form
from tapeline.errors import Finding, Refused, refuse

if TYPE_CHECKING:
    import polars as pl

SAMPLE = 1000
"""Values by which candidate forms are chosen."""
SHOWN = 20
"""The largest number of rows that a finding lists."""
BATCH = 200_000
"""Rows whose text is in memory at the same time."""


@dataclass(frozen=True)
class RowFinding:
    """One kind of mistake in a column."""

    column: str
    rows: tuple[int, ...]
    """The first rows, counted from 1 below the header; empty if the finding is about the whole column."""
    count: int
    """The number of all rows with this mistake."""
    value: Any
    """The value in the first row, as in the file."""
    problem: str
    fix: str

    def at(self, where: str) -> Finding:
        """The finding as a sentence about the file `where`."""
        location = f"{where}, column {self.column}" + (f", row {self.rows[0]}" if self.rows else "")
        others = ", ".join(map(str, self.rows[1:5])) + (", ..." if self.count > 5 else "")
        more = f" ({self.count} rows; also {others})" if self.count > 1 else ""
        return Finding(location, self.problem + more, self.fix)


@dataclass(frozen=True)
class Parsed:
    """The values of a column, null where a value is missing or cannot be read, and its findings."""

    values: pl.Series
    findings: tuple[RowFinding, ...]


@dataclass(frozen=True)
class Check:
    """A rule that values must meet after they were read."""

    problem: str
    """A format string with {!r} for the value."""
    fix: str
    broken: Callable[[pl.Series, Form], pl.Series | None]
    """True where a value breaks the rule; None if no value does."""


@dataclass(frozen=True)
class Reader:
    """The rules by which a column of one type of value is read."""

    noun: str
    """The name of one value in messages: date, price."""
    dtype: str
    """The name of the Polars type of the values."""
    forms: Callable[[pl.Series], Sequence[Form]]
    """The candidate forms for text, given a sample."""
    native: Callable[[pl.DataType], Form | None]
    """The form of a column that is not text; None if its type is not allowed or is read as text."""
    unreadable: tuple[str, str]
    """Problem and fix for a value that no form can read."""
    checks: tuple[Check, ...]
    clean: Callable[[pl.Series], pl.Series]
    """Removes parts of the text that no form can read; null means missing."""
    finish: Callable[[pl.Series, Form], pl.Series] = lambda values, form: values
    complete: bool = False
    """No value may be missing."""
    needed: bool = False
    """At least one value must be present."""
    absent: tuple[str, str] | None = None
    """Problem and fix for a value in the right form that does not exist, as 2011-02-29."""
    one_form: bool = False
    """Findings about unreadable values quote the first value that can be read."""


@dataclass(frozen=True)
class _Rows:
    """Rows with one kind of mistake."""

    count: int = 0
    first: tuple[int, ...] = ()
    value: Any = None

    def add(self, mask: pl.Series | None, rows: pl.Series, raw: pl.Series) -> _Rows:
        """These rows and those of one more batch."""
        if mask is None or not (count := int(mask.sum() or 0)):
            return self
        new = rows.filter(mask).head(SHOWN - len(self.first)).to_list()
        value = self.value if self.count else raw.filter(mask)[0]
        return _Rows(self.count + count, (*self.first, *new), value)


@dataclass(frozen=True)
class _Reading:
    """The column read with one form, up to the current batch."""

    form: Form
    parts: tuple[pl.Series, ...]
    broken: tuple[_Rows, ...]
    unreadable: _Rows = _Rows()
    """All rows that this form cannot read."""
    absent: _Rows = _Rows()
    """Those of them whose text has this form."""
    other: _Rows = _Rows()
    """Those of them whose text has another one."""
    good: tuple[Any, int] | None = None
    """The first value that this form can read, and its row."""


@dataclass(frozen=True)
class _State:
    """The state of a column up to the current batch."""

    nulls: int = 0
    """Rows before the first value."""
    missing: _Rows = _Rows()
    readings: tuple[_Reading, ...] = ()
    wrong_type: str = ""


def read(column: pl.Series, reader: Reader) -> Parsed:
    """Read a column that is in memory."""
    import polars as pl

    rows = pl.int_range(1, len(column) + 1, eager=True)
    return _finish(reader, _feed(reader, _State(), column, rows), column.name)


def scan(frame: pl.LazyFrame, readers: Mapping[str, Reader], where: str, row: str | None = None) -> dict[str, Parsed]:
    """Read columns of a frame of any length, by name; the text of BATCH rows is in memory at the same time.

    Args:
        frame: the columns of the file.
        readers: by the name of the column.
        where: the name of the file in error messages.
        row: the column with the row numbers of the file, if the frame holds only some of its rows.

    Raises:
        Refused: the file is damaged.
    """
    import polars as pl

    states, first = dict.fromkeys(readers, _State()), 1
    try:
        for batch in _batches(frame.select([*readers, row] if row else [*readers])):
            rows = batch[row] if row else pl.int_range(first, first + len(batch), eager=True)
            states = {name: _feed(readers[name], state, batch[name], rows) for name, state in states.items()}
            first += len(batch)
    except (pl.exceptions.ComputeError, OSError) as error:
        what = " ".join(str(error).split("\n")[0].split())
        raise refuse(where, f"cannot be read completely ({what})", "write or download the file again") from None
    return {name: _finish(readers[name], state, name) for name, state in states.items()}


def _batches(frame: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    yield from frame.collect_batches(chunk_size=BATCH, maintain_order=True)


def refuse_findings(where: str, parsed: Iterable[Parsed]) -> None:
    """Refuse all findings about columns of the file `where` at once.

    Raises:
        Refused: there are findings.
    """
    if findings := [finding.at(where) for each in parsed for finding in each.findings]:
        raise Refused(*findings)


def _feed(reader: Reader, state: _State, column: pl.Series, rows: pl.Series) -> _State:
    """The state after one more batch."""
    form = reader.native(column.dtype)
    text = (column.fill_nan(None) if column.dtype.is_float() else column) if form else _as_text(column)
    if text is None:
        return replace(state, wrong_type=str(column.dtype), nulls=state.nulls + len(column))
    readings = state.readings
    if not readings:
        tried = [form] if form else _candidates(reader, text)
        nulls = _nulls(state.nulls, reader.dtype)
        readings = tuple(_Reading(each, (nulls,), (_Rows(),) * len(reader.checks)) for each in tried)
    attempt = [each.read(text) for each in (reading.form for reading in readings)]
    if not form and all(values.null_count() for values in attempt):
        text = reader.clean(text)
        attempt = [reading.form.read(text) for reading in readings]
    missing = (
        state.missing.add(text.is_null(), rows, column) if reader.complete and text.null_count() else state.missing
    )
    if not readings:
        return replace(state, missing=missing, nulls=state.nulls + len(column))
    extended = [
        _extend(reader, reading, values, text, column, rows) for reading, values in zip(readings, attempt, strict=True)
    ]
    whole = [reading for reading in extended if not reading.unreadable.count]
    return replace(state, missing=missing, readings=tuple(whole or extended))


def _extend(
    reader: Reader, reading: _Reading, values: pl.Series, text: pl.Series, raw: pl.Series, rows: pl.Series
) -> _Reading:
    """The reading after one more batch."""
    unreadable, absent, other = reading.unreadable, reading.absent, reading.other
    if values.null_count() > text.null_count():
        unread = values.is_null() & text.is_not_null()
        formed = _has_form(text, reading.form) if reader.absent else unread & False
        unreadable = unreadable.add(unread, rows, raw)
        absent, other = absent.add(unread & formed, rows, raw), other.add(unread & ~formed, rows, raw)
    broken = [
        bad.add(check.broken(values, reading.form), rows, raw)
        for check, bad in zip(reader.checks, reading.broken, strict=True)
    ]
    good = reading.good
    if good is None and values.null_count() < len(values):
        at = int(values.is_not_null().arg_max() or 0)
        good = (raw[at], int(rows[at]))
    parts = (*reading.parts, reader.finish(values, reading.form))
    return _Reading(reading.form, parts, tuple(broken), unreadable, absent, other, good)


def _has_form(text: pl.Series, form: Form) -> pl.Series:
    """Whether each text is written in a form of dates, whether or not there is such a date."""
    written = "%" in form.name
    return text.str.contains(form.shape).fill_null(False) if written else text.is_null() & False


def _as_text(column: pl.Series) -> pl.Series | None:
    """Text, or whole numbers as their digits; None for other types."""
    import polars as pl

    if column.dtype.is_float():
        whole = column.cast(pl.Int64, strict=False)
        same = (whole.cast(column.dtype) == column).all()
        return (whole if same else column).cast(pl.String)
    return column.cast(pl.String) if column.dtype in (pl.String, pl.Null) or column.dtype.is_integer() else None


def _candidates(reader: Reader, text: pl.Series) -> list[Form]:
    """The forms that read most values of a sample; empty if there is no value yet."""
    step = max(len(text) // SAMPLE, 1)
    sample = reader.clean(text.gather_every(step).unique(maintain_order=True)).drop_nulls()
    if sample.is_empty():  # all sampled values are missing
        sample = reader.clean(text.unique(maintain_order=True)).drop_nulls().head(SAMPLE)
    if sample.is_empty():
        return []
    by_shape = sample.to_frame("text").with_columns(shape=sample.str.replace_all("[0-9]", "9")).unique("shape")["text"]
    examples = by_shape.head(50).to_list()
    tried = [form for form in reader.forms(sample) if any(re.search(form.shape, each) for each in examples)]
    misread = [form.read(sample).null_count() for form in tried]
    least = min(misread, default=len(sample))
    if least == len(sample):
        written = [form for form in tried if "%" in form.name]  # as 2010-02-30, which does not exist
        return written[:1] or [Form("", partial(_nothing, dtype=reader.dtype))]
    return [form for form, nulls in zip(tried, misread, strict=True) if nulls == least]


def _nothing(text: pl.Series, dtype: str) -> pl.Series:
    return _nulls(len(text), dtype)


def _nulls(count: int, dtype: str) -> pl.Series:
    import polars as pl

    return pl.Series([None]).extend_constant(None, count).head(count).cast(getattr(pl, dtype))


def _finish(reader: Reader, state: _State, name: str) -> Parsed:
    """The values of the best reading, and all findings about the column."""
    import polars as pl

    found: list[RowFinding] = []

    def add_rows(bad: _Rows, problem: str, fix: str) -> None:
        if bad.count:
            found.append(RowFinding(name, bad.first, bad.count, bad.value, problem.format(bad.value), fix))

    def add_column(problem: str, fix: str) -> None:
        found.append(RowFinding(name, (), 0, None, problem, fix))

    add_rows(state.missing, f"the {reader.noun} is missing", "complete or remove the row")
    if state.wrong_type:
        add_column(f"has the type {state.wrong_type}, not {reader.noun}s", f"use a column of {reader.noun}s")
    if not state.readings:
        values = _nulls(state.nulls, reader.dtype)
    else:
        best = min(state.readings, key=lambda reading: reading.unreadable.count)
        if other := _other(best, state.readings):
            add_column(*_two_ways(reader, best, other))
        problem, fix = reader.unreadable
        if reader.one_form and best.good:
            problem = f"{{!r}} is not a {reader.noun} written as {best.good[0]!r} in row {best.good[1]}"
            fix = f"write all {reader.noun}s in the same form"
        add_rows(best.other, problem, fix)
        if reader.absent:
            problem, fix = reader.absent
            form = best.form.name.replace("{", "{{").replace("}", "}}")
            add_rows(best.absent, f"{problem}, read as {form}", fix)
        for check, bad in zip(reader.checks, best.broken, strict=True):
            add_rows(bad, check.problem, check.fix)
        values = pl.concat([part.cast(getattr(pl, reader.dtype)) for part in best.parts])
    if reader.needed and not found and values.null_count() == len(values):
        add_column("every value is missing", f"use a column of {reader.noun}s")
    return Parsed(values.alias(name), tuple(found))


def _other(best: _Reading, readings: Sequence[_Reading]) -> _Reading | None:
    """Another reading that is as good and gives other values."""
    same = (each for each in readings if each is not best and each.unreadable == best.unreadable)
    return next(
        (each for each in same if any(not a.equals(b) for a, b in zip(best.parts, each.parts, strict=True))), None
    )


def _two_ways(reader: Reader, best: _Reading, other: _Reading) -> tuple[str, str]:
    """Problem and fix of a column that two forms read differently."""
    one, two = next((a, b) for a, b in zip(best.parts, other.parts, strict=True) if not a.equals(b))
    differ = int((one != two).arg_max() or 0)
    names = f"{best.form.name} and as {other.form.name}"
    problem = f"the {reader.noun}s can be read as {names} ({one[differ]} or {two[differ]})"
    return problem, best.form.advice or f"set the one that is meant, as in dataset.date_format={best.form.name}"
