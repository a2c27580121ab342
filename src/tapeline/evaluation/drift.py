"""How the features of the test rows differ from those of the train rows, column by column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tapeline.tables.profile import significant

Array = np.ndarray[Any, Any]
COLUMNS = 100
"""Of a table with more, the first ones."""
CRITICAL = 1.358
"""Times the root of (n + m) / nm: the 95 % point of the Kolmogorov-Smirnov distance of independent rows."""


def drift(names: Sequence[str], train: Array, test: Array) -> dict[str, Any]:
    """Kolmogorov-Smirnov distance and shift of the mean of each feature, and the distance that chance explains.

    Args:
        names: of the features.
        train: float [rows, features], NaN for a missing value.
        test: the same of the test rows.

    Returns:
        `critical`: the 95 % point of the distance for independent rows of one distribution; `columns`: by name the
        `distance` from 0 to 1, and the `shift`, in standard deviations of the train rows (None where they have none).
    """
    columns = {}
    for at, name in enumerate(names[:COLUMNS]):
        before, after = (np.sort(each[np.isfinite(each)]) for each in (train[:, at], test[:, at]))
        if len(before) and len(after):
            spread = float(before.std(dtype=np.float64))
            gap = float(after.mean(dtype=np.float64) - before.mean(dtype=np.float64))
            shift = significant(gap / spread, 4) if spread else None
            columns[name] = {"distance": significant(_distance(before, after), 4), "shift": shift}
    rows = len(train), len(test)
    return {"critical": significant(CRITICAL * math.sqrt(sum(rows) / math.prod(rows)), 4), "columns": columns}


def _distance(before: Array, after: Array) -> float:
    """The largest gap between two distribution functions, of sorted values."""
    every = np.concatenate([before, after])
    shares = (np.searchsorted(each, every, side="right") / len(each) for each in (before, after))
    first, second = shares
    return float(np.abs(first - second).max())
