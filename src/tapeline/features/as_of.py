"""What is known at the moment of decision: exchange closes and decisions as instants."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

Array = np.ndarray[Any, Any]

CALENDAR = 146_097
"""Days of 400 years, after which dates fall on the same days of the week."""
LISTED = int(np.datetime64("2100-01-01").astype(np.int64))
"""The day, since 1970, from which every zone follows a rule."""


@dataclass(frozen=True)
class Clock:
    """A time of day in a zone, which may have changed over the years."""

    zone: str
    times: Mapping[date, time]
    """The time of day from each date on."""

    def instants(self, dates: Array) -> Array:
        """The moment on each date (datetime64[D], in any order), as datetime64[s] in UTC.

        A time that clocks repeat is the first of the two, and one that they skip has the offset of before,
        as `datetime.combine(day, time, zone)` has it with fold 0. Seconds are the finest unit.
        """
        days = dates.astype("datetime64[D]").astype(np.int64)
        starts = sorted(self.times)
        since = np.array(starts, "datetime64[D]").astype(np.int64)
        applies = np.maximum(np.searchsorted(since, days, side="right") - 1, 0)
        moments = np.empty(len(days), np.int64)
        for at, start in enumerate(starts):
            rows = applies == at
            clock = self.times[start]
            local = days[rows] * 86_400 + (clock.hour * 60 + clock.minute) * 60 + clock.second
            moments[rows] = local - _offsets(days[rows], clock, ZoneInfo(self.zone))
        return moments.astype("datetime64[s]")

    def __str__(self) -> str:
        latest = self.times[max(self.times)]
        return f"{latest:%H:%M} {self.zone}"


def _offsets(days: Array, clock: time, zone: ZoneInfo) -> Array:
    """Seconds that the zone's clocks are ahead of UTC at that time of each day (days since 1970).

    Each distinct day is looked up once. No zone's list of changes goes beyond 2037; after it follows a rule for
    every year, so a later day is looked up 400 years earlier, where the calendar is the same.
    """
    days = np.where(days < LISTED, days, LISTED + (days - LISTED) % CALENDAR)
    if not len(days):
        return days
    first = int(days.min())
    distinct = np.flatnonzero(np.bincount(days - first))
    offsets = np.zeros(int(distinct[-1]) + 1, np.int64)
    dates = (distinct + first).astype("datetime64[D]").tolist()
    ahead = [datetime.combine(day, clock, zone).utcoffset() for day in dates]
    offsets[distinct] = [each.days * 86_400 + each.seconds for each in ahead if each is not None]
    found: Array = offsets[days - first]
    return found


def daily(zone: str, *times: str, changed: tuple[str, ...] = ()) -> Clock:
    """A clock by text: `daily("Asia/Tokyo", "15:00", "15:30", changed=("2024-11-05",))`."""
    since = ("1900-01-01", *changed)
    moments = {date.fromisoformat(day): time.fromisoformat(at) for day, at in zip(since, times, strict=True)}
    return Clock(zone, moments)


def parse(text: str) -> Clock:
    """The clock that `HH:MM Zone` means.

    Raises:
        ValueError: it is not of that form, or there is no such zone.
    """
    match = re.fullmatch(r"([0-2]\d:[0-5]\d) (\S+)", text)
    if not match:
        raise ValueError("must be a time and a zone, as in 17:00 Europe/London")
    try:
        clock = daily(match[2], match[1])
        ZoneInfo(clock.zone)
    except (ValueError, OSError) as error:
        raise ValueError(f"{match[1]} or {match[2]} is unknown; write as in 17:00 Europe/London") from error
    except KeyError as error:  # ZoneInfoNotFoundError
        raise ValueError(f"there is no zone {match[2]}; write as in 17:00 Europe/London") from error
    return clock
