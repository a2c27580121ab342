"""What data is like, in numbers a few KB whatever the size of the table.

Reports draw from these and never read the data again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapeline.features.returns import log_returns
from tapeline.tables import decimation
from tapeline.tables.observed import moment, runs
from tapeline.tables.table import Table

Array = np.ndarray[Any, Any]
Values = dict[str, Any]

POINTS = 240
"""Of a cloud of points; the least and the greatest move of each series come on top."""
BREAK = 20
"""Missing values in a row from which on a curve is broken, and not drawn as if the last value had stayed."""
GRID = 48
"""Points of a density."""
SAMPLE = 2000
"""Values that a density is estimated from, at most."""
LAGS = 40
"""Of autocorrelations."""
PAIR_LAGS = 6
"""Of correlations between series, from 0."""
ROWS = 1_000_000
"""Of a table, from which its columns are described."""
COLUMNS = 60
"""Columns that are described one by one, the first ones."""


@dataclass(frozen=True)
class Series:
    """What people look at before any feature: values in the order of time."""

    time: Array
    """datetime64, shape [times]."""
    values: Mapping[str, Array]
    """float64, shape [times], by name; NaN where there is none."""
    target: str
    """The one that is to be forecast."""
    unit: str
    each: str
    """What one series is: "market"."""
    every: str
    """What one time is: "day"."""


def of_series(series: Series) -> Values:
    """Summary, curves, autocorrelations, scatter and densities, correlations by lag, missing values."""
    names = list(series.values)
    raw = np.stack([series.values[name] for name in names], axis=1)
    levels = filled(raw)
    logs = bool((levels[np.isfinite(levels)] > 0).all())
    moves = log_returns(levels) if logs else np.diff(levels, axis=0, prepend=np.nan)
    complete = np.flatnonzero(np.isfinite(moves).all(axis=1))
    cloud = _cloud(moves, complete)
    time, curves = decimation.curve(series.time, np.where(_long_gaps(raw), np.nan, levels))
    lags = list(range(1, min(LAGS, len(levels) // 4) + 1))
    return {
        "names": names,
        "target": series.target,
        "unit": series.unit,
        "each": series.each,
        "every": series.every,
        "moves": "log return" if logs else "difference",
        "rows": len(raw),
        "first": moment(series.time[0]),
        "last": moment(series.time[-1]),
        "levels": {name: described(levels[:, at]) for at, name in enumerate(names)},
        "returns": {name: described(moves[:, at]) for at, name in enumerate(names)},
        "curve": {"time": [moment(each) for each in time], "values": _columns(names, curves)},
        "scatter": _columns(names, moves[cloud]),
        "density": {name: density(moves[:, at]) for at, name in enumerate(names)},
        "lags": lags,
        "autocorrelation": {
            "levels": {name: autocorrelation(levels[:, at], lags) for at, name in enumerate(names)},
            "returns": {name: autocorrelation(moves[:, at], lags) for at, name in enumerate(names)},
        },
        "correlation": [correlation(moves, lag) for lag in range(PAIR_LAGS)],
        "missing": _missing(series.time, names, ~np.isfinite(raw)),
        "unchanged": {name: int((raw[1:, at] == raw[:-1, at]).sum()) for at, name in enumerate(names)},
    }


def of_table(table: Table, describe: Callable[[Array, Array, tuple[str, ...]], Values]) -> Values:
    """The columns that models see, and what the task says of the target, from ROWS rows at most, spread evenly.

    Args:
        table: with features that are numbers, or an array a row: then the features are not described.
        describe: the task's description of times, targets and their names.
    """
    manifest = table.manifest
    every = max(1, -(-manifest.rows // ROWS))
    rows = {part.id: slice(0, part.rows, every) for part in manifest.parts}
    names = manifest.names("feature") if manifest.feature_shape is None else ()
    arrays = table.read([*(["feature"] if names else []), "target", *([manifest.axis] if manifest.axis else [])], rows)
    time = arrays[manifest.axis] if manifest.axis else np.arange(len(arrays["target"]))
    ends = [part for part in manifest.parts if part.rows]
    return {
        "rows": manifest.rows,
        "described": len(arrays["target"]),
        "first": min(part.first for part in ends) if manifest.axis else None,  # type: ignore[type-var]
        "last": max(part.last for part in ends) if manifest.axis else None,  # type: ignore[type-var]
        "columns": len(manifest.names("feature")),
        "features": {name: described(arrays["feature"][:, at]) for at, name in enumerate(names[:COLUMNS])},
        **describe(time, arrays["target"], manifest.outputs),
    }


def filled(values: Array) -> Array:
    """Each missing value replaced by the one before it down the first axis; NaN where there is none."""
    known = np.where(np.isfinite(values), np.arange(len(values))[:, None], -1)
    last = np.maximum.accumulate(known, axis=0)
    return np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=0), np.nan)


def described(values: Array) -> Values:
    """Count, mean, sd, extremes and quartiles of what is there."""
    known = values[np.isfinite(values)].astype(float)
    if not len(known):
        return {"count": 0, **dict.fromkeys(("mean", "sd", "min", "q1", "median", "q3", "max"))}
    low, q1, median, q3, high = np.quantile(known, [0, 0.25, 0.5, 0.75, 1])
    numbers = {"mean": known.mean(), "sd": known.std(), "min": low, "q1": q1, "median": median, "q3": q3, "max": high}
    return {"count": len(known), **{name: significant(value) for name, value in numbers.items()}}


def autocorrelation(values: Array, lags: list[int]) -> list[float | None]:
    """Of what is there, in its order; None where it does not vary."""
    known = values[np.isfinite(values)]
    deviation = known - known.mean() if len(known) else known
    whole = float(deviation @ deviation)
    return [significant(float(deviation[lag:] @ deviation[:-lag]) / whole) if whole else None for lag in lags]


def correlation(moves: Array, lag: int) -> list[list[float | None]]:
    """Row i, column j: of series i with series j so many times before."""
    today, before = moves[lag:], moves[: len(moves) - lag]
    return [[_pearson(x, y) for y in before.T] for x in today.T]


def _pearson(x: Array, y: Array) -> float | None:
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < 3 or not x.std() or not y.std():
        return None
    return significant(float(np.mean((x - x.mean()) * (y - y.mean())) / (x.std() * y.std())), 4)


def density(values: Array) -> Values:
    """A Gaussian kernel's estimate between the outer half percents, with Silverman's bandwidth."""
    known = values[np.isfinite(values)]
    known = known[_spread(len(known), SAMPLE)]
    width = 1.06 * known.std() * len(known) ** -0.2 if len(known) else 0.0
    if not width:
        return {"at": [], "density": []}
    low, high = np.quantile(known, [0.005, 0.995])
    at = np.linspace(low, high, GRID)
    kernels = np.exp(-0.5 * ((at[:, None] - known) / width) ** 2)
    return {
        "at": [significant(each, 4) for each in at],
        "density": [significant(each, 4) for each in kernels.mean(axis=1) / (width * np.sqrt(2 * np.pi))],
    }


def periods(time: Array) -> tuple[list[str], Array]:
    """Names of years, or of shorter spans where there are few, and the number of each time's: int [times]."""
    for unit in ("Y", "M", "D"):
        distinct, which = np.unique(time.astype(f"datetime64[{unit}]"), return_inverse=True)
        if len(distinct) > 2:
            break
    return [str(each) for each in distinct], which


def _missing(time: Array, names: list[str], gone: Array) -> Values:
    labels, which = periods(time)
    counts = {name: np.bincount(which, gone[:, at], len(labels)) for at, name in enumerate(names)}
    return {
        "periods": labels,
        "rows": np.bincount(which, minlength=len(labels)).tolist(),
        "counts": {name: [int(each) for each in column] for name, column in counts.items()},
        "total": {name: int(gone[:, at].sum()) for at, name in enumerate(names)},
        "longest": {name: longest(gone[:, at]) for at, name in enumerate(names)},
    }


def longest(flags: Array) -> int:
    """Length of the longest run of True."""
    return int(runs(flags)[1].max(initial=0))


def _long_gaps(raw: Array) -> Array:
    """Where a value is one of BREAK or more missing ones in a row: bool, the shape of raw."""
    gaps = np.zeros(raw.shape, bool)
    for at in range(raw.shape[1]):
        for first, length in zip(*runs(~np.isfinite(raw[:, at])), strict=True):
            gaps[first : first + length, at] = length >= BREAK
    return gaps


def _cloud(moves: Array, complete: Array) -> Array:
    """Rows of a scatter plot: POINTS at equal distances, and those with a series' least or greatest move."""
    if not len(complete):
        return complete
    ends = [complete[end] for end in (moves[complete].argmin(axis=0), moves[complete].argmax(axis=0))]
    found: Array = np.unique(np.concatenate([complete[_spread(len(complete), POINTS)], *ends]))
    return found


def significant(value: float, digits: int = 6) -> float | None:
    """Rounded to so many digits; None for what is not a number."""
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None


def _columns(names: list[str], values: Array) -> dict[str, list[float | None]]:
    return {name: [significant(each) for each in values[:, at]] for at, name in enumerate(names)}


def _spread(rows: int, points: int) -> Array:
    """Row numbers at equal distances, the first and the last among them."""
    return np.unique(np.linspace(0, rows - 1, min(rows, points)).astype(np.int64))
