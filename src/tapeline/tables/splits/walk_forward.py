"""split=walk_forward: test folds one behind the other, each with its own model."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import Field

from tapeline.errors import refuse
from tapeline.tables.spec import Array, parse_duration
from tapeline.tables.splits.base import Duration, Share, Timed, windows
from tapeline.tables.windows import Window

ROLE = "time"


class Section(Timed):
    """Test folds one behind the other, each with a model trained on what came before it.

    Purge and embargo are Lopez de Prado's. A window trains on nothing after its own fold, so the embargo
    acts behind the folds of the windows before: no later window trains on the rows whose features still
    look into such a fold, though one of them tests these rows.
    """

    windows: Annotated[int, Field(ge=1)]
    train: Share
    """Share of the times before the first test fold."""
    train_rows: Annotated[int, Field(ge=1)] | None
    """Rolling: train on the last so many times before the fold; null: expanding, on all."""
    test_rows: Annotated[int, Field(ge=1)] | None
    """Times of each fold; null: all that are left, shared out evenly."""
    embargo: Duration
    """After a fold; no later window trains on its rows."""


def divide(split: Section, times: Array, purge: timedelta, share: float) -> tuple[Window, ...]:
    """One window for each test fold."""
    edges = _edges(split, len(times))
    folds = []
    for first, end in pairwise(edges):
        last = int(np.searchsorted(times, times[first] - np.timedelta64(purge), side="left"))
        begin = 0 if split.train_rows is None else max(0, last - split.train_rows)
        folds.append((np.arange(begin, last), np.arange(first, end)))
    return windows(split, times, folds, purge, share, parse_duration(split.embargo))


def _edges(split: Section, times: int) -> list[int]:
    """Where each test fold begins, counted in times, and where the last one ends."""
    first = int(times * split.train)
    left = times - first
    if not first:
        raise refuse(f"split.train={split.train:g}", f"of {times} rows it leaves none to train", "raise it")
    if split.test_rows is None:
        edges = [first + left * number // split.windows for number in range(split.windows + 1)]
    else:
        edges = [first + split.test_rows * number for number in range(split.windows + 1)]
    if edges[-1] > times or left < split.windows:
        each = f" of {split.test_rows}" if split.test_rows else ""
        problem = f"{left} rows are too few for {split.windows} folds{each}"
        raise refuse(f"split.windows={split.windows}", problem, "lower it, or split.train")
    return edges
