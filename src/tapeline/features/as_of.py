"""As-of: the closes of exchanges and the times of decisions as moments in UTC, to see which data is known when."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

Array = np.ndarray[Any, Any]

LISTED = int(np.datetime64("2100-01-01").astype(np.int64))
"""Days from 1970 to the day after which every zone follows a yearly rule; the last list of changes, Morocco's, ends in
2087."""
YEARS = np.arange("2104", "2132", dtype="datetime64[Y]")
"""These years include each type of calendar: first day of the week, with leap day or without."""


@dataclass(frozen=True)
class Clock:
    """A time of day in a time zone; the time may change at given dates."""

    zone: str
    times: Mapping[date, time]
    """The time of day that holds from each date; before the first one it is not known."""

    @property
    def since(self) -> date:
        """The first date on which the time of day is known."""
        return min(self.times)

    def known(self, dates: Array) -> Array:
        """Whether the time of day is known: datetime64[D], in any order, to bool."""
        flags: Array = dates.astype("datetime64[D]") >= np.datetime64(self.since)
        return flags

    def latest(self, dates: Array) -> Array:
        """As `instants`; the end of the day in the zone, where the time of day is not known."""
        moments = self.instants(dates)
        unknown = ~self.known(dates)
        if unknown.any():
            moments[unknown] = Clock(self.zone, {self.since: time(23, 59, 59)}).instants(dates[unknown])
        return moments

    def at(self, day: date) -> str:
        """The time of day that applies on a date, with its zone: 16:30 Europe/London."""
        if day < self.since:
            return f"an unknown time before {self.since}, {self.zone}"
        applies = max(each for each in self.times if each <= day)
        return f"{self.times[applies]:%H:%M} {self.zone}"

    def instants(self, dates: Array) -> Array:
        """The moment on each date: datetime64[D], in any order, to datetime64[s] in UTC.

        Of a time that clocks repeat, the first is taken; a time that they skip has the offset before the change.
        This is `datetime.combine(day, time, zone)` with fold 0. Fractions of a second are ignored. Before the first
        date, the first time is taken.
        """
        days = dates.astype("datetime64[D]").astype(np.int64)
        starts = sorted(self.times)
        if len(starts) == 1:
            return self._moments(days, self.times[starts[0]]).astype("datetime64[s]")
        since = np.array(starts, "datetime64[D]").astype(np.int64)
        applies = np.maximum(np.searchsorted(since, days, side="right") - 1, 0)
        moments = np.empty(len(days), np.int64)
        for at, start in enumerate(starts):
            rows = applies == at
            moments[rows] = self._moments(days[rows], self.times[start])
        return moments.astype("datetime64[s]")

    def _moments(self, days: Array, clock: time) -> Array:
        """Seconds since 1970 in UTC, of a time on days since 1970."""
        moments = days * 86_400
        moments += (clock.hour * 60 + clock.minute) * 60 + clock.second
        moments -= _offsets(days, clock, ZoneInfo(self.zone))
        return moments


def _offsets(days: Array, clock: time, zone: ZoneInfo) -> Array:
    """The zone's offset from UTC in seconds at that time on each day (days since 1970).

    Each distinct day is looked up once; a day after LISTED is looked up in an equivalent year of YEARS.
    """
    if not len(days):
        return days
    late = days >= LISTED
    if late.any():
        days = days.copy()
        days[late] = _in_equivalent_year(days[late])
    first = int(days.min())
    distinct = np.flatnonzero(np.bincount(days - first))
    offsets = np.zeros(int(distinct[-1]) + 1, np.int64)
    dates = (distinct + first).astype("datetime64[D]").tolist()
    ahead = [datetime.combine(day, clock, zone).utcoffset() for day in dates]
    offsets[distinct] = [each.days * 86_400 + each.seconds for each in ahead if each is not None]
    found: Array = offsets[days - first]
    return found


def _in_equivalent_year(days: Array) -> Array:
    """The same day in the year of YEARS with the same calendar. Yearly rules of zones depend on nothing else."""
    ends = np.array([days.min(), days.max()]).astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64)
    first, length, kind = _calendars(np.arange(ends[0], ends[1] + 1).astype("datetime64[Y]"))
    starts, _, kinds = _calendars(YEARS)
    equivalent = np.zeros(14, np.int64)
    equivalent[kinds] = starts
    moved: Array = days + np.repeat(equivalent[kind] - first, length)[days - first[0]]
    return moved


def _calendars(years: Array) -> tuple[Array, Array, Array]:
    """First day (since 1970), length in days and type of calendar (0 to 13) of each year."""
    first = years.astype("datetime64[D]").astype(np.int64)
    length = (years + 1).astype("datetime64[D]").astype(np.int64) - first
    return first, length, first % 7 * 2 + (length == 366)


def daily(zone: str, *times: str, changed: tuple[str, ...] = ()) -> Clock:
    """A clock from text: `daily("Asia/Tokyo", "15:00", "15:30", changed=("2024-11-05",))`."""
    since = ("1900-01-01", *changed)
    moments = {date.fromisoformat(day): time.fromisoformat(at) for day, at in zip(since, times, strict=True)}
    return Clock(zone, moments)


def parse(text: str) -> Clock:
    """The clock of a text `HH:MM Zone`.

    Raises:
        ValueError: the text has another form, or there is no such zone.
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
