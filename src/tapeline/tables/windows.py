"""The windows of a split: which times, rows or groups train, validate and test, and the rows of a part that follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tapeline.tables.spec import Array, Rows, format_time
from tapeline.tables.table import Table

SideName = Literal["train", "validation", "test"]
SIDES: tuple[SideName, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Period:
    """Times from first to last, both included."""

    first: np.datetime64
    last: np.datetime64


@dataclass(frozen=True)
class Window:
    """One model: what trains it, what it validates on, and what it is scored on. Test rows of windows are pooled.

    By time, each side is periods in their order; by row or group it is sorted row numbers or names.
    """

    by: Literal["time", "row", "group"]
    train: tuple[Period, ...] | tuple[int | str, ...]
    validation: tuple[Period, ...] | tuple[int | str, ...]
    """Empty where nothing is kept from training."""
    test: tuple[Period, ...] | tuple[int | str, ...]

    def rows(self, values: Array, side: SideName) -> Rows:
        """Rows of a part on one side, from its column of times (in ascending order), row numbers or groups."""
        members = getattr(self, side)
        if self.by == "time":
            return _joined([_slice(values, period) for period in members])
        return np.flatnonzero(np.isin(_comparable(values), np.array(members)))

    def led(self, rows: Array, leaders: Array) -> Window:
        """The window of all rows whose leader is in this one, by row; both as `leaders_of` gives them."""
        train, validation, test = (np.sort(rows[np.isin(leaders, getattr(self, side))]).tolist() for side in SIDES)
        return Window(self.by, tuple(train), tuple(validation), tuple(test))

    def record(self) -> dict[str, Any]:
        """The window as JSON values: a period is [first, last]."""
        return {"by": self.by} | {side: [_plain(member) for member in getattr(self, side)] for side in SIDES}


def read(record: Mapping[str, Any]) -> Window:
    """The window that `Window.record` wrote."""
    by = record["by"]
    sides = {side: tuple(_member(by, each) for each in record[side]) for side in SIDES}
    return Window(by=by, **sides)


def rows_of(window: Window, table: Table, side: SideName) -> dict[str, Rows]:
    """The rows of each part on one side of a window, as `Table.batches` takes them."""
    column = table.manifest.names(window.by)[0]
    return {part.id: window.rows(table.column(part.id, column), side) for part in table.manifest.parts}


def leaders_of(table: Table) -> tuple[Array, Array]:
    """Numbers of the rows of a table with one part, and for each that of the first row of its group."""
    (part,) = table.manifest.parts
    rows, groups = (table.column(part.id, table.manifest.names(role)[0]) for role in ("row", "group"))
    _, first, of = np.unique(_comparable(groups), return_index=True, return_inverse=True)
    return rows, rows[first[of.reshape(-1)]]


def last_label(window: Window) -> str | int | None:
    """Time of the last row that a window's model saw, in training or validation; None where rows have no time."""
    if window.by != "time":
        return None
    return format_time(max(each.last for each in (*window.train, *window.validation) if isinstance(each, Period)))


def as_periods(moments: Array, chosen: Array) -> tuple[Period, ...]:
    """The periods that hold the chosen ones, by ascending position, of distinct ascending times."""
    if not len(chosen):
        return ()
    ends = np.flatnonzero(np.diff(chosen) > 1)
    firsts, lasts = chosen[np.r_[0, ends + 1]], chosen[np.r_[ends, len(chosen) - 1]]
    return tuple(Period(moments[first], moments[last]) for first, last in zip(firsts, lasts, strict=True))


def count(rows: Rows) -> int:
    """How many rows these are."""
    return len(range(rows.start, rows.stop, rows.step or 1)) if isinstance(rows, slice) else len(rows)


def dealt(rows: Mapping[str, Rows], hand: int, of: int) -> dict[str, Rows]:
    """Every `of`-th of the rows of all parts, from the one with the number `hand` on: the hands differ by one row."""
    found, before = dict[str, Rows](), 0
    for part, each in rows.items():
        first = (hand - before) % of
        before += count(each)
        if isinstance(each, slice):
            found[part] = slice(min(each.start + first, each.stop), each.stop, of)
        else:
            found[part] = each[first::of]
    return found


def distinct(columns: Iterable[Array]) -> Array:
    """The distinct values of all parts, ascending; one part's column is held at a time."""
    found: Array | None = None
    for values in columns:
        each = _unique(_comparable(values))
        found = each if found is None else _unique(np.concatenate([found, each]))
    return np.empty(0, dtype="datetime64[s]") if found is None else found


def _unique(values: Array) -> Array:
    """As np.unique, which is many times slower on sorted runs."""
    ordered = np.sort(values, kind="stable")
    return ordered[np.r_[True, ordered[1:] != ordered[:-1]]] if len(ordered) else ordered


def _comparable(values: Array) -> Array:
    """Text as NumPy's own type, which it sorts and compares fast."""
    return values.astype(str) if values.dtype == object else values


def _slice(times: Array, period: Period) -> slice:
    first = int(np.searchsorted(times, period.first, side="left"))
    return slice(first, int(np.searchsorted(times, period.last, side="right")))


def _joined(slices: Sequence[slice]) -> Rows:
    full = [each for each in slices if each.stop > each.start]
    if len(full) < 2:
        return full[0] if full else slice(0, 0)
    return np.concatenate([np.arange(each.start, each.stop) for each in full])


def _plain(member: Period | int | str) -> Any:
    return [format_time(member.first), format_time(member.last)] if isinstance(member, Period) else member


def _member(by: str, value: Any) -> Any:
    return Period(np.datetime64(value[0]), np.datetime64(value[1])) if by == "time" else value
