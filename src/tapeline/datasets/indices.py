"""Direction of the S&P 500's close from eight world indices, as Google's use case defined it.

Closes join on the S&P's calendar and are filled forward; features are log returns: the US indices'
of the three days before, the others' of the day itself and the two before, since they close earlier.

    tapeline run dataset.source=csv dataset.path=closes.csv
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field

from tapeline import config
from tapeline.datasets import typed
from tapeline.datasets.simulation import simulate
from tapeline.datasets.table import Table, digest_frame
from tapeline.errors import refuse
from tapeline.features.as_of import daily, parse
from tapeline.features.returns import lagged, log_returns

if TYPE_CHECKING:
    import polars as pl

__all__ = ["TASK", "Section", "baselines", "ingest", "simulate", "table"]

Array = np.ndarray[Any, Any]
log = logging.getLogger(__name__)

TASK = "direction"
CLOSES = {
    "snp": daily("America/New_York", "16:00"),
    "nyse": daily("America/New_York", "16:00"),
    "djia": daily("America/New_York", "16:00"),
    "nikkei": daily("Asia/Tokyo", "15:00", "15:30", changed=("2024-11-05",)),
    "hangseng": daily("Asia/Hong_Kong", "16:00"),
    "ftse": daily("Europe/London", "16:30"),
    "dax": daily("Europe/Berlin", "17:30"),
    "aord": daily("Australia/Sydney", "16:00"),
}
"""Markets in the order of the feature columns, and when continuous trading regularly ends there.
Official closes come a little later: closing auctions take up to 15 minutes, and since 2024 the
DAX takes in late prices until 18:00, which is the default moment of decision in London."""
LAGS = {market: (1, 2, 3) if market in ("snp", "nyse", "djia") else (0, 1, 2) for market in CLOSES}
FIRST_ROW = 7
"""The original starts here, though four rows would do."""
LEAST_DAYS = 60


def _check_as_of(text: str) -> str:
    parse(text)
    return text


class Section(config.Dataset):
    """The keys of `dataset=indices`."""

    columns: dict[str, str]
    """Names in the file, by market, where they are not `<market>` or `<market>_close`."""
    date_column: str | None
    date_format: str | None
    """strptime; null where it can be told from the values."""
    cutoff_year: Annotated[int, Field(ge=1800, le=2200)] | None
    """Earlier years are dropped."""
    as_of: Annotated[str, AfterValidator(_check_as_of)]
    """The moment of decision, `HH:MM Zone`; what is not known by then is no feature."""


def ingest(section: Section, frame: pl.DataFrame, where: str) -> pl.DataFrame:
    """Dates and eight closes: typed, sorted, unique.

    Raises:
        Refused: what is wrong with the file, by column and row.
    """
    import polars as pl

    names = _columns(section, frame, where)
    if frame.is_empty():
        raise refuse(where, "has a header and no rows", "give the closes")
    date = typed.dates(frame[names.pop("date")], where, section.date_format).alias("date")
    closes = [typed.prices(frame[name], where).alias(market) for market, name in names.items()]
    raw = pl.DataFrame([date, *closes]).with_row_index("row", offset=1).sort("date", maintain_order=True)
    twice = raw.filter(pl.col("date").is_duplicated())
    if len(twice):
        day, rows = twice["date"][0], twice.filter(pl.col("date") == twice["date"][0])["row"].to_list()
        raise refuse(where, f"{day} stands in rows {rows[0]} and {rows[1]}", "leave one row a day")
    raw = raw.drop("row")
    if section.cutoff_year:
        raw = raw.filter(pl.col("date").dt.year() >= section.cutoff_year)
    days = len(raw) - raw["snp"].null_count()
    if days < LEAST_DAYS:
        since = f" since {section.cutoff_year}" if section.cutoff_year else ""
        raise refuse(where, f"it has {days} days of snp{since}, too few", f"give {LEAST_DAYS} or more")
    return raw


def _columns(section: Section, frame: pl.DataFrame, where: str) -> dict[str, str]:
    """The file's column for the date and for each market."""
    lower: dict[str, str] = {}
    for name in frame.columns:
        lower.setdefault(name.strip().lower(), name)
    unknown = [market for market in section.columns if market not in CLOSES]
    if unknown:
        raise refuse(f"dataset.columns.{unknown[0]}", "is no market", f"use {', '.join(CLOSES)}")
    wanted = {"date": [section.date_column] if section.date_column else ["date", "time", "timestamp", "datetime"]}
    for market in CLOSES:
        mapped = section.columns.get(market)
        wanted[market] = [mapped] if mapped else [market, f"{market}_close"]
    found: dict[str, str] = {}
    for what, candidates in wanted.items():
        matches = [lower[name.lower()] for name in candidates if name.lower() in lower]
        if not matches:
            key = "dataset.date_column" if what == "date" else f"dataset.columns.{what}"
            has = ", ".join(frame.columns[:12])
            raise refuse(where, f"has no column {' or '.join(candidates)} (it has {has})", f"name it with {key}=...")
        found[what] = matches[0]
    return found


def table(section: Section, raw: pl.DataFrame) -> Table:
    """Features and label of every S&P day from the eighth on; 24 columns where all are known in time."""
    import polars as pl

    closes = raw.filter(pl.col("snp").is_not_null()).with_columns(pl.col(CLOSES).fill_null(strategy="forward"))
    complete = closes.filter(pl.all_horizontal(pl.col(CLOSES).is_not_null()))
    if len(complete) < len(closes):
        log.info("the first %d days go: not every market has a close yet", len(closes) - len(complete))
    if len(complete) < LEAST_DAYS:
        raise refuse("dataset", "the markets have too few days in common", "give longer series")
    dates = complete["date"].to_numpy()
    returns = {market: log_returns(complete[market].to_numpy()) for market in CLOSES}
    columns = {f"{market}_log_return_{lag}": lagged(returns[market], lag) for market in CLOSES for lag in LAGS[market]}
    late = _late(section.as_of, dates)
    kept = {name: column[FIRST_ROW:] for name, column in columns.items() if name not in late}
    if late:
        log.info("not known by %s, so no feature: %s", section.as_of, ", ".join(late))
    return Table(
        time=dates[FIRST_ROW:],
        names=tuple(kept),
        features=np.stack(list(kept.values()), axis=1).astype(np.float32),
        target=(returns["snp"][FIRST_ROW:] < 0).astype(np.int64),
        about={"task": TASK, "digest": digest_frame(raw), "late": late},
    )


def _late(as_of: str, dates: Array) -> dict[str, str]:
    """Columns that are not known by the moment of decision on every row, and when they would be."""
    decisions = parse(as_of).instants(dates)
    instants = {market: clock.instants(dates) for market, clock in CLOSES.items()}
    late = {}
    for market, clock in CLOSES.items():
        for lag in LAGS[market]:
            known = instants[market][FIRST_ROW - lag : len(dates) - lag]
            if (known > decisions[FIRST_ROW:]).any():
                day = "the same day" if lag == 0 else f"{lag} days before"
                late[f"{market}_log_return_{lag}"] = f"closes at {clock} {day}"
    return late


def baselines(table: Table) -> dict[str, Array]:
    """Each market's latest known sign taken for the S&P's: 0 up or flat, 1 down."""
    latest: dict[str, str] = {}
    for name in table.names:
        latest.setdefault(name.rpartition("_log_return_")[0], name)
    columns = {name: table.features[:, table.names.index(name)] for name in latest.values()}
    return {f"sign of {name}": (column < 0).astype(np.int64) for name, column in columns.items()}
