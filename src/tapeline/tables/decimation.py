"""A curve with at most as many points as a picture can show: of each pixel column the lowest and the highest value.

Points at equal distances would leave out what lasts a day, as a value that is 100 times too large.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

COLUMNS = 240
"""Pixel columns of a picture as wide as a phone."""
APART = 20
"""Usual distances between two points, beyond which a line between them would hide a hole."""


def curve(time: Array, values: Array, columns: int = COLUMNS) -> tuple[Array, Array]:
    """Points of curves that share their times.

    Args:
        time: datetime64 or numbers, shape [rows], ascending.
        values: float64, shape [rows, curves]; NaN breaks a line.
        columns: of pixels; a column with several rows gets two points, the first row's and the last row's time.

    Returns:
        Times [points], and values [points, curves]: the extremes of each column in their order. A row of NaN stands
        between two rows that are far apart. The first and the last row stay as they are.
    """
    rows = len(time)
    numbers = (time - time[0]).astype(float) if rows else np.zeros(0)
    if rows < 3 or not numbers[-1]:
        return time, values
    distances = np.diff(numbers)
    far = APART * float(np.median(distances))
    column = np.minimum((numbers / numbers[-1] * columns).astype(np.int64), columns - 1)
    starts = np.unique(np.concatenate([[0, 1, rows - 1], np.flatnonzero(np.diff(column)) + 1]))
    points: list[tuple[Any, Array]] = []
    for first, end in zip(starts, [*starts[1:], rows], strict=True):
        if first and distances[first - 1] > max(far, 2 * numbers[-1] / columns):
            middle = time[first - 1] + (time[first] - time[first - 1]) / 2
            points.append((middle, np.full(values.shape[1], np.nan)))
        block = values[first:end]
        points += (
            [(time[first], block[0])] if end - first == 1 else zip(time[[first, end - 1]], _ends(block), strict=True)
        )
    return np.array([at for at, _ in points], time.dtype), np.array([each for _, each in points])


def _ends(block: Array) -> Array:
    """The lowest and the highest value of each curve in the order in which they occur: float64 [2, curves]."""
    known = np.isfinite(block)
    low = np.where(known, block, np.inf).argmin(axis=0)
    high = np.where(known, block, -np.inf).argmax(axis=0)
    pair = np.sort(np.stack([low, high]), axis=0)
    found: Array = np.take_along_axis(block, pair, axis=0)
    return found
