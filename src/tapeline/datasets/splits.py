"""Which rows train and which test: pure functions of the time column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tapeline.config import Split
from tapeline.errors import refuse

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Window:
    """Row numbers, in the order of time. Each window is trained and scored; test rows are pooled."""

    train: Array
    test: Array


def windows(split: Split, time: Array) -> tuple[Window, ...]:
    """The windows of a split over rows in the order of time.

    Raises:
        Refused: a window would have no rows to train or to test.
    """
    if split.name != "chronological":
        raise ValueError(split.name)
    rows = np.arange(len(time))
    cut = int(len(rows) * split.train)
    if not 0 < cut < len(rows):
        raise refuse(
            f"split.train={split.train:g}", f"of {len(rows)} rows it leaves none to one side", "set another share"
        )
    return (Window(rows[:cut], rows[cut:]),)
