"""Confidence intervals: of shares, of scores over rows that depend on each other, and of their differences.

    units = by_time(time, horizon)                  which rows belong together, and how far they depend
    bootstrap(sums, value, units)                   a score that follows from sums over rows
    jackknife(whole, without, units)                any score, from its values without each block

Rows of one time (several assets) err alike, and so do neighbouring times, so whole blocks of distinct times
with all their rows are drawn or left out. A label that reaches h ahead makes rows depend on each other over h:
a block covers at least twice the horizon. Everything is seeded, and sums do not depend on threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

LEVEL = 0.95
SEED = 0
REPETITIONS = 2000
"""Of the bootstrap."""
GROUPS = 50
"""Blocks that the jackknife leaves out, one at a time, at most."""
LEAST_BLOCKS = 5
"""Fewer blocks say too little about how blocks differ."""


@dataclass(frozen=True)
class Interval:
    """The two ends, and how they were found."""

    low: float
    high: float
    level: float
    method: str
    block: int | None = None
    """Distinct times, groups or rows of a block."""
    blocks: int | None = None
    """How many of them the rows hold."""
    seed: int | None = None
    repetitions: int | None = None

    def record(self) -> dict[str, Any]:
        """As JSON values, without what the method does not have."""
        return {name: each for name, each in asdict(self).items() if each is not None}


@dataclass(frozen=True)
class Units:
    """Which rows belong together: those of one time or group, or each alone."""

    of: Array
    """int64 [rows]: the number of each row's unit, from 0, in the order of time."""
    count: int
    length: int
    """Units of a block, at least."""
    name: str
    """What a unit is: times, groups or rows."""

    def block(self, least: int = 1) -> int:
        """Units of a block: at least `least`, where units have an order."""
        return max(self.length, least) if self.name == "times" else self.length


def by_time(time: Array, horizon: timedelta | None) -> Units:
    """Rows of one distinct time belong together.

    Args:
        time: datetime64 [rows], in any order.
        horizon: how far a row's label reaches behind its time. So many times as lie within twice the
            horizon, where they lie most densely, make a block.
    """
    distinct, of = np.unique(time, return_inverse=True)
    reach = np.timedelta64(2 * round((horizon or timedelta()).total_seconds()), "s")
    within = np.searchsorted(distinct, distinct + reach) - np.arange(len(distinct))
    return Units(of.reshape(-1), len(distinct), max(1, int(within.max(initial=1))), "times")


def by_group(groups: Array) -> Units:
    """Rows of one group belong together; groups have no order."""
    distinct, of = np.unique(groups, return_inverse=True)
    return Units(of.reshape(-1), len(distinct), 1, "groups")


def by_row(rows: int) -> Units:
    """Each row is a unit."""
    return Units(np.arange(rows), rows, 1, "rows")


def wilson(hits: int, rows: int, level: float = LEVEL) -> Interval:
    """Wilson's interval of a share."""
    from scipy.stats import binomtest

    found = binomtest(hits, rows).proportion_ci(level, method="wilson")
    return Interval(float(found.low), float(found.high), level, "wilson")


def bootstrap(
    sums: Array, value: Callable[[Array], Array], units: Units, level: float = LEVEL, seed: int = SEED
) -> Interval | None:
    """The percentile interval of the moving-block bootstrap; None where there are too few blocks.

    H. R. Kuensch, The jackknife and the bootstrap for general stationary observations, Annals of Statistics
    17 (1989). Blocks have at least as many times as the cube root of all.

    Args:
        sums: float64 [rows, ...]: what is summed over rows.
        value: makes the score of such a sum, [...]. For a paired difference, put the sums of both models side
            by side and subtract.
        units: see there.
        level: of the interval.
        seed: of the drawn blocks.
    """
    block = _block(units)
    found = replicates(sums, value, units, seed)
    if found is None or not np.isfinite(found).all():
        return None
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(
        float(low), float(high), level, "moving-block bootstrap", block, units.count // block, seed, REPETITIONS
    )


def replicates(sums: Array, value: Callable[[Array], Array], units: Units, seed: int = SEED) -> Array | None:
    """Values of the score on resampled rows, float64 [REPETITIONS]; None where there are too few blocks."""
    block, count = _block(units), units.count
    if count // block < LEAST_BLOCKS:
        return None
    shape = sums.shape[1:]
    totals = np.stack([np.bincount(units.of, each, count) for each in sums.reshape(len(sums), -1).T], axis=1)
    edges = np.concatenate([np.zeros((1, totals.shape[1])), np.cumsum(totals, axis=0)])
    whole, rest = divmod(count, block)
    of_blocks, of_rests = edges[block:] - edges[:-block], edges[rest:] - edges[: len(edges) - rest]
    random = np.random.default_rng(seed)
    drawn = np.empty((REPETITIONS, totals.shape[1]))
    for repetition in drawn:
        starts = random.integers(0, count - block + 1, whole + 1)
        repetition[:] = of_blocks[starts[:-1]].sum(axis=0) + of_rests[starts[-1]]
    found: Array = value(drawn.reshape(REPETITIONS, *shape))
    return found


def _block(units: Units) -> int:
    return units.block(math.ceil(units.count ** (1 / 3)))


def jackknife(
    whole: float | None, without: Sequence[float | None], units: Units, level: float = LEVEL
) -> Interval | None:
    """The interval of the delete-a-block jackknife with Student's t; None where it is not defined.

    J. Shao and D. Tu, The Jackknife and Bootstrap (1995), 2.3.

    Args:
        whole: the score of all rows; None where it is not defined on them.
        without: the score of each of `remaining(units)`.
        units: see there.
        level: of the interval.
    """
    values = defined(without)
    if whole is None or values is None:
        return None
    half = student(level, len(values)) * error(values)
    block = math.ceil(units.count / len(values))
    return Interval(whole - half, whole + half, level, "delete-a-block jackknife", block, len(values))


def remaining(units: Units) -> list[Array]:
    """The rows that are left without each block of units in turn, bool [rows]; none where there are too few blocks."""
    blocks = min(GROUPS, units.count // units.block())
    if blocks < LEAST_BLOCKS:
        return []
    ends = [(block[0], block[-1]) for block in np.array_split(np.arange(units.count), blocks)]
    return [(units.of < first) | (units.of > last) for first, last in ends]


def defined(without: Sequence[float | None]) -> Array | None:
    """Scores without each block as an array; None where one is not defined, or there are no blocks."""
    known = [each for each in without if each is not None and math.isfinite(each)]
    return np.array(known) if known and len(known) == len(without) else None


def error(values: Array) -> float:
    """Standard error of a score, from its values without each block."""
    blocks = len(values)
    return math.sqrt((blocks - 1) / blocks * float(((values - values.mean()) ** 2).sum()))


def student(level: float, blocks: int) -> float:
    """How many standard errors an interval reaches to each side."""
    from scipy.stats import t

    return float(t.ppf((1 + level) / 2, blocks - 1))


def paired_shares(before: Array, after: Array, level: float = LEVEL) -> tuple[float, float]:
    """Interval of the difference of two shares of the same rows, bool [rows] each.

    R. G. Newcombe, Improved confidence intervals for the difference between binomial proportions based
    on paired data, Statistics in Medicine 17 (1998), method 10: Wilson's intervals, squared and added,
    less what the correlation phi, corrected for continuity, accounts for.
    """
    rows = len(before)
    both, neither = int((before & after).sum()), int((~before & ~after).sum())
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    margins = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    excess: float = both * neither - gained * lost
    if excess > 0:
        excess = max(excess - rows / 2, 0)
    phi = excess / math.sqrt(margins) if margins else 0.0
    return _square_and_add((both + lost, rows), (both + gained, rows), phi, level)


def unpaired_shares(before: tuple[int, int], after: tuple[int, int], level: float = LEVEL) -> tuple[float, float]:
    """Interval of the difference of two shares of different rows, each as hits and rows.

    R. G. Newcombe, Interval estimation for the difference between independent proportions: comparison of
    eleven methods, Statistics in Medicine 17 (1998), method 10. Where some rows are the same it is too wide.
    """
    return _square_and_add(before, after, 0.0, level)


def _square_and_add(before: tuple[int, int], after: tuple[int, int], phi: float, level: float) -> tuple[float, float]:
    (p, r), (q, s) = before, after
    old, new = wilson(p, r, level), wilson(q, s, level)
    change = q / s - p / r
    down, up = q / s - new.low, new.high - q / s
    old_down, old_up = p / r - old.low, old.high - p / r
    low = change - math.sqrt(max(down**2 - 2 * phi * down * old_up + old_up**2, 0))
    high = change + math.sqrt(max(up**2 - 2 * phi * up * old_down + old_down**2, 0))
    return max(low, -1.0), min(high, 1.0)
