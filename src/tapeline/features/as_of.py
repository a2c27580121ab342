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


@dataclass(frozen=True)
class Clock:
    """A time of day in a zone, which may have changed over the years."""

    zone: str
    times: Mapping[date, time]
    """The time of day from each date on."""

    def instants(self, dates: Array) -> Array:
        """The moment on each date (datetime64[D], ascending or not), as datetime64[s] in UTC."""
        zone = ZoneInfo(self.zone)
        since = sorted(self.times)
        moments = []
        for day in dates.astype("datetime64[D]").tolist():
            applies = max((start for start in since if start <= day), default=since[0])
            moments.append(int(datetime.combine(day, self.times[applies], zone).timestamp()))
        return np.array(moments, dtype="datetime64[s]")

    def __str__(self) -> str:
        latest = self.times[max(self.times)]
        return f"{latest:%H:%M} {self.zone}"


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
