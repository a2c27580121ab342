"""Time series as they were delivered, and the times at which they should have a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

HOLE = 5
UNITS = {"day": np.timedelta64(1, "D"), "hour": np.timedelta64(1, "h"), "minute": np.timedelta64(1, "m")}


@dataclass(frozen=True)
class Observed:
    """One series, with only those times that have a value."""

    name: str
    time: Array
    """datetime64, shape [values], ascending."""
    values: Array
    """float64, shape [values], finite."""
    expected: Array | None = None
    """All times that should have a value, ascending; None where only the distances between values show them."""
    trading: Array | None = None
    """All days on which there can be a value, ascending; a value on another day is a defect. None: every day."""
    pause: int = 1
    """Days, or steps of `every`, from one value to the next in regular data, where `expected` says nothing."""
    every: str = "day"
    """What one time is, of UNITS."""
    hole: int = HOLE
    """Missing values in a row that have a line of their own; shorter holes are counted, if values are expected."""


def holes(each: Observed) -> list[tuple[Any, Any, int]]:
    """First and last time, and the number, of times in a row that should have a value and have none."""
    found = []
    if each.expected is not None and len(each.expected):
        inside = each.expected[(each.expected >= each.time[0]) & (each.expected <= each.time[-1])]
        firsts, lengths = runs(~np.isin(inside, each.time))
        found = [(inside[at], inside[at + many - 1], int(many)) for at, many in zip(firsts, lengths, strict=True)]
    return found + _long_distances(each)


def _long_distances(each: Observed) -> list[tuple[Any, Any, int]]:
    """The same by the distance of two values, where `expected` says nothing."""
    if len(each.time) < 2:
        return []
    unit = UNITS[each.every]
    steps = np.diff(each.time) // unit
    rows = np.flatnonzero(steps > each.pause)
    if each.expected is not None and len(each.expected):
        covered = (each.time[rows + 1] > each.expected[0]) & (each.time[rows] < each.expected[-1])
        rows = rows[~covered]
    return [(each.time[at] + unit, each.time[at + 1] - unit, _inside(each, at, int(steps[at]))) for at in rows.tolist()]


def _inside(each: Observed, at: int, steps: int) -> int:
    """The times between two values; weekdays only where the series pauses at weekends."""
    if each.every != "day" or each.pause < 3:
        return steps - 1
    first, last = (each.time[at + more].astype("datetime64[D]") for more in (0, 1))
    return int(np.busday_count(first + 1, last))


def is_trading(each: Observed) -> Array:
    """Whether each value's day is one of trading, as far as these are known."""
    if each.trading is None or not len(each.trading):
        return np.ones(len(each.time), bool)
    days = each.time.astype("datetime64[D]")
    unknown = (days < each.trading[0]) | (days > each.trading[-1])
    flags: Array = unknown | np.isin(days, each.trading)
    return flags


def missed(each: Observed, first: Any, last: Any) -> int:
    """Times after `first` and until `last` that should have a value."""
    if each.expected is not None and len(each.expected) and first >= each.expected[0]:
        return int(((each.expected > first) & (each.expected <= last)).sum())
    return int((last - first) // UNITS[each.every])


def runs(flags: Array) -> tuple[Array, Array]:
    """First row and length of each run of True: two int arrays."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return edges[::2], edges[1::2] - edges[::2]


def moment(time: Any) -> str:
    """A time as text, as short as it can be."""
    return str(np.datetime_as_string(time, unit="auto"))
