"""split=chronological: the first rows train, the rest test."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from tapeline.errors import refuse
from tapeline.tables.spec import Array
from tapeline.tables.splits.base import Share, Timed, windows
from tapeline.tables.windows import Window

ROLE = "time"


class Section(Timed):
    """The first rows train, the rest test."""

    train: Share
    """Share of the times, the first ones."""


def divide(split: Section, times: Array, purge: timedelta, share: float) -> tuple[Window, ...]:
    """One window."""
    cut = int(len(times) * split.train)
    if not 0 < cut < len(times):
        problem = f"of {len(times)} rows it leaves none to one side"
        raise refuse(f"split.train={split.train:g}", problem, "set another share")
    return windows(split, times, [(np.arange(cut), np.arange(cut, len(times)))], purge, share)
