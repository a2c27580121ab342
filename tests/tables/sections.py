"""Splits with their defaults, and the rows of their windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapeline.tables import windows
from tapeline.tables.splits.by_group import Section as ByGroup
from tapeline.tables.splits.by_row import Section as ByRow
from tapeline.tables.splits.chronological import Section as Chronological
from tapeline.tables.splits.dates import Section as Dates
from tapeline.tables.splits.rolling import Section as Rolling
from tapeline.tables.splits.walk_forward import Section as WalkForward
from tapeline.tables.windows import Window

Array = np.ndarray[Any, Any]


def chronological(**keys: Any) -> Chronological:
    return Chronological(**{"name": "chronological", "train": 0.8, "validation": None, "purge": None, **keys})


def dates(**keys: Any) -> Dates:
    given = {"train_until": "2020-01-10", "test_from": None, "test_until": None, "validation": None, "purge": None}
    return Dates(**{"name": "dates", **given, **keys})


def walk(**keys: Any) -> WalkForward:
    given = {"windows": 4, "train": 0.6, "train_rows": None, "test_rows": None}
    return WalkForward(**{"name": "walk_forward", **given, "validation": None, "purge": None, "embargo": "0d", **keys})


def rolling(**keys: Any) -> Rolling:
    given = {"train": "10d", "test": "5d", "gap": "0d", "step": None, "validation": None, "purge": None}
    return Rolling(**{"name": "rolling", **given, "embargo": "0d", **keys})


def drawn(section: type[ByRow], **keys: Any) -> ByRow:
    name = "by_group" if section is ByGroup else "by_row"
    return section(**{"name": name, "train": 0.8, "validation": None, "seed": 0, **keys})


def days(count: int) -> Array:
    return np.datetime64("2020-01-01") + np.arange(count)


def numbers(window: Window, times: Array, side: windows.SideName) -> Array:
    rows = window.rows(times, side)
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


def sides(window: Window, times: Array) -> tuple[Array, Array, Array]:
    train, validation, test = (numbers(window, times, side) for side in windows.SIDES)
    return train, validation, test
