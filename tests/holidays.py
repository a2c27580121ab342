"""Write src/tapeline/datasets/indices/holidays.json from the package exchange_calendars, which tapeline does not need.

pip install exchange_calendars, in an environment of its own, and: python tests/holidays.py
"""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "src" / "tapeline" / "datasets" / "indices" / "holidays.json"
EXCHANGES = ("XNYS", "XTKS", "XHKG", "XLON", "XETR", "XASX")
FIRST, LAST = 1990, 2026
"""Years; an exchange of which the package knows less begins later."""


def closed(exchange: str) -> dict[str, str]:
    """Weekdays without trading by year, as month-day."""
    package: Any = import_module("exchange_calendars")
    kind = type(package.get_calendar(exchange))
    bound = kind.bound_min()
    first = FIRST if bound is None or bound.year < FIRST else bound.year + (bound.dayofyear > 1)
    known = package.get_calendar(exchange, start=f"{first}-01-01", end=f"{LAST}-12-31")
    sessions = {str(day)[:10] for day in known.sessions}
    pandas: Any = import_module("pandas")
    weekdays = [str(day)[:10] for day in pandas.bdate_range(f"{first}-01-01", f"{LAST}-12-31")]
    years = map(str, range(first, LAST + 1))
    return {year: " ".join(day[5:] for day in weekdays if day[:4] == year and day not in sessions) for year in years}


def main() -> None:
    """Write the file."""
    package = f"exchange_calendars {version('exchange_calendars')}"
    record = {"source": package, "closed": {exchange: closed(exchange) for exchange in EXCHANGES}}
    TARGET.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
