"""When the exchanges of the eight indices close, on each day of their history, and on which days they are closed.

hours.json: a line for each change of the time at which an index has its close of the day, with its source. Days before
the first line of an exchange have unknown hours. holidays.json: weekdays without trading, from `tests/holidays.py`.
"""

from __future__ import annotations

from datetime import date, time
from functools import cache
from pathlib import Path

import numpy as np

from tapeline import files
from tapeline.features.as_of import Array, Clock

EXCHANGES = {
    "snp": ("XNYS", "America/New_York"),
    "nyse": ("XNYS", "America/New_York"),
    "djia": ("XNYS", "America/New_York"),
    "nikkei": ("XTKS", "Asia/Tokyo"),
    "hangseng": ("XHKG", "Asia/Hong_Kong"),
    "ftse": ("XLON", "Europe/London"),
    "dax": ("XETR", "Europe/Berlin"),
    "aord": ("XASX", "Australia/Sydney"),
}
"""By market, in the order of the feature columns: the code of its exchange (ISO 10383), and its time zone."""
HOURS = Path(__file__).with_name("hours.json")
HOLIDAYS = Path(__file__).with_name("holidays.json")


@cache
def closes() -> dict[str, Clock]:
    """The time of each market's close, by market; see `Clock.known` for days of unknown hours."""
    lines = files.read_json(HOURS)
    return {
        market: Clock(
            zone,
            {date.fromisoformat(each["since"]): time.fromisoformat(each["closes"])
             for each in lines if each["exchange"] == exchange},
        )
        for market, (exchange, zone) in EXCHANGES.items()
    }  # fmt: skip


@cache
def open_days(exchange: str) -> Array:
    """The trading days of an exchange, datetime64[D], in whole years: all that holidays.json has."""
    closed = files.read_json(HOLIDAYS)["closed"][exchange]
    years = sorted(closed)
    days = np.arange(f"{years[0]}-01-01", f"{int(years[-1]) + 1}-01-01", dtype="datetime64[D]")
    holidays = np.array([f"{year}-{day}" for year in years for day in closed[year].split()], "datetime64[D]")
    found: Array = days[np.is_busday(days, holidays=holidays)]
    return found
