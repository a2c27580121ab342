"""What the calendar says of a time, in UTC."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

DAY = 86_400
"""Seconds."""


def calendar(seconds: Array) -> dict[str, Array]:
    """Of each time: `weekday` (Monday 0), `day_of_year` and `iso_week` (from 1), `season` (1: December to February).

    Args:
        seconds: since 1970, int64, ascending.

    Returns:
        int64 [times] by name.
    """
    days = seconds // DAY
    edges = np.r_[0, np.flatnonzero(np.diff(days)) + 1, len(days)] if len(days) else np.zeros(1, np.int64)
    found = _of_days(days[edges[:-1]].astype("datetime64[D]"))
    return {name: np.repeat(values, np.diff(edges)) for name, values in found.items()}


def _of_days(days: Array) -> dict[str, Array]:
    weekday = (days.astype(np.int64) + 3) % 7
    thursday = days - weekday + 3  # an ISO week belongs to the year of its Thursday
    month = days.astype("datetime64[M]").astype(np.int64) % 12 + 1
    return {
        "weekday": weekday,
        "day_of_year": _of_year(days) + 1,
        "iso_week": _of_year(thursday) // 7 + 1,
        "season": (month % 12 + 3) // 3,
    }


def _of_year(days: Array) -> Array:
    """Days since the first of January."""
    return np.asarray((days - days.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64))
