"""The daily candles of one coin, from a table of any length that may hold other coins, too.

The table is read in batches. Dates are read in the whole table, because the rows of one coin may not show whether
the day or the month comes first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import time
from typing import TYPE_CHECKING

import numpy as np

from tapeline.datasets import parsing
from tapeline.datasets.parsing import RowFinding
from tapeline.errors import Finding, Refused, nearest, refuse

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger(__name__)

PRICES = ("open", "high", "low", "close")
COLUMNS = ("date", *PRICES, "volume", "coin")
"""What dataset.columns can name."""
COIN = ("slug", "symbol", "name")
"""Columns that name a coin, in the order in which dataset.coin is searched in them."""
ROW, NUMBER = "row of the file", "number of the row"
LEAST_DAYS = 60
ROUNDING = 1e-3
"""Open and close may lie outside low and high by this share of the price: vendors round each by itself."""
END_OF_DAY = r"[T ]23:59:59(\.9+)?(Z|[+-]00:?00)?\s*$"
SHOWN = 12
"""Coins, or gaps, that a message lists."""


def read(
    frame: pl.LazyFrame, where: str, coin: str, columns: Mapping[str, str], date_format: str | None
) -> pl.DataFrame:
    """date, open, high, low, close, and volume (null where it is unknown), sorted by date.

    Args:
        frame: the table; text, or columns with types.
        where: its name in error messages.
        coin: slug, symbol or name.
        columns: names of the table's columns, by COLUMNS, where they differ.
        date_format: as `dataset.date_format`.

    Raises:
        Refused: a column or the coin is not there, or rows are wrong: everything by column and row.
    """
    import polars as pl

    names = _names(frame, where, columns)
    chosen = _of_coin(frame, where, coin, columns)
    if not date_format or "%H" not in date_format:
        frame = _without_end_of_day(frame, names["date"])
    dates = parsing.scan(frame, {names["date"]: parsing.date_reader(date_format)}, where)[names["date"]]
    readers = {names[price]: replace(parsing.price_reader(), complete=True) for price in PRICES}
    readers |= {names["volume"]: parsing.number_reader(), NUMBER: parsing.integer_reader()}
    numbered = frame.with_row_index(ROW, 1).with_columns(pl.col(ROW).alias(NUMBER))
    parsed = parsing.scan(numbered.filter(chosen) if chosen is not None else numbered, readers, where, row=ROW)
    rows = parsed[NUMBER].values
    if rows.is_empty():
        raise refuse(where, "has a header and no rows", "add rows of dates and prices")
    parsing.refuse_findings(where, [dates, *parsed.values()])
    days = dates.values.gather(rows - 1)
    values = {name: parsed[names[name]].values for name in (*PRICES, "volume")}
    candles = pl.DataFrame({ROW: rows, "date": days, **values}).sort("date", ROW)
    if findings := [each.at(where) for each in _wrong(candles, names)]:
        raise Refused(*findings)
    candles = candles.with_columns(pl.when(pl.col("volume") > 0).then(pl.col("volume")))
    if len(candles) < LEAST_DAYS:
        raise refuse(where, f"has {len(candles)} days of {coin}, too few", f"use {LEAST_DAYS} or more")
    _log_missing(candles, coin)
    return candles.drop(ROW)


def _names(frame: pl.LazyFrame, where: str, columns: Mapping[str, str]) -> dict[str, str]:
    """The table's name of each column.

    Raises:
        Refused: columns are missing, all of them named.
    """
    found, findings = dict[str, str](), list[Finding]()
    for name in ("date", *PRICES, "volume"):
        default = parsing.DATE_NAMES if name == "date" else (name,)
        fix = f"set its name, as in dataset.columns.{name}=My_{name.capitalize()}"
        try:
            found[name] = parsing.column(frame, [columns[name]] if name in columns else default, where, fix)
        except Refused as error:
            findings += error.findings
    if findings:
        raise Refused(*findings)
    return found


def _without_end_of_day(frame: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """Dates without the time 23:59:59, by which some vendors mark the candle of a day."""
    import polars as pl

    column, dtype = pl.col(name), frame.collect_schema()[name]
    if dtype == pl.String:
        return frame.with_columns(column.str.replace(END_OF_DAY, ""))
    if isinstance(dtype, pl.Datetime):
        return frame.with_columns(
            pl.when(column.dt.time() >= time(23, 59, 59)).then(column.dt.truncate("1d")).otherwise(column)
        )
    return frame


def _of_coin(frame: pl.LazyFrame, where: str, coin: str, columns: Mapping[str, str]) -> pl.Expr | None:
    """Which rows are those of the coin; None: all, because the table names no coins.

    Raises:
        Refused: no row is, or the symbol is that of several coins.
    """
    import polars as pl

    wanted = coin.strip().lower()
    held = {name.strip().lower(): name for name in frame.collect_schema().names()}
    if "coin" in columns:
        own = [parsing.column(frame, [columns["coin"]], where, "set its name, as in dataset.columns.coin=Ticker")]
    else:
        own = [held[name] for name in COIN if name in held]
    if not own:
        log.info("%s names no coins: all rows are taken as those of %s", where, coin)
        return None
    plain = [pl.col(name).cast(pl.String).str.strip_chars().str.to_lowercase() for name in own]
    coins = frame.select(plain).unique().collect(engine="streaming").sort(own)
    for name, column in zip(own, plain, strict=True):
        found = coins.filter(coins[name] == wanted)
        if several := found[own[0]].unique().drop_nulls().sort().to_list()[1:]:
            first = str(found[own[0]].drop_nulls().sort().to_list()[0])
            problem = f"is the {name.strip().lower()} of {', '.join([first, *several])}"
            raise refuse(f"dataset.coin={coin}", problem, f"name the one that is meant, as in dataset.coin={first}")
        if len(found):
            return column == wanted
    known = list(dict.fromkeys(value for name in own for value in coins[name].drop_nulls()))
    of_first = coins[own[0]].unique().drop_nulls().sort().to_list()
    some = ", ".join(of_first[:SHOWN]) + (f" and {len(of_first) - SHOWN} more" if len(of_first) > SHOWN else "")
    raise refuse(
        f"dataset.coin={coin}", f"{where} has no such coin", nearest(wanted, known, otherwise=f"it has {some}")
    )


def _wrong(candles: pl.DataFrame, names: Mapping[str, str]) -> Iterator[RowFinding]:
    """Candles that cannot be, by row."""
    import polars as pl

    low, high = pl.col("low") * (1 - ROUNDING), pl.col("high") * (1 + ROUNDING)
    fix = "correct the row, or remove it"
    rules = [
        ("high", pl.col("high") < pl.col("low"), "the high {!r} is below the low", fix),
        *((name, (pl.col(name) < low) | (pl.col(name) > high), f"the {name} {{!r}} is not between low and high", fix)
          for name in ("open", "close")),
        ("volume", pl.col("volume") < 0, "the volume {!r} is below zero", "correct it, or leave it empty"),
        ("date", pl.col("date").is_duplicated(), "there are two rows of {!s}", "keep one row for each day"),
    ]  # fmt: skip
    crossed = pl.col("high") < pl.col("low")
    for name, broken, problem, fix in rules:
        if name in ("open", "close"):
            broken &= ~crossed
        bad = candles.filter(broken)
        if len(bad):
            value = bad[name][0]
            yield RowFinding(names[name], tuple(bad[ROW].head(5)), len(bad), value, problem.format(value), fix)


def _log_missing(candles: pl.DataFrame, coin: str) -> None:
    """Log what is missing: gaps by row, and days whose volume is unknown."""
    days = candles["date"].to_numpy()
    missing = (np.diff(days) / np.timedelta64(1, "D")).astype(np.int64) - 1
    gaps = np.flatnonzero(missing)
    for at in gaps[:SHOWN]:
        row, span = candles[ROW][int(at)], _days(int(missing[at]))
        log.info(
            "%s has no candle on %s after %s (row %d); rows that need them are left out", coin, span, days[at], row
        )
    if len(gaps) > SHOWN:
        rest = _days(int(missing[gaps[SHOWN:]].sum()))
        log.info("%s has %d more gaps, %s in all", coin, len(gaps) - SHOWN, rest)
    unknown = candles.filter(candles["volume"].is_null())["date"]
    if len(unknown):
        span = _days(len(unknown))
        log.info("%s: the volume is unknown on %s, from %s to %s", coin, span, unknown.min(), unknown.max())


def _days(count: int) -> str:
    return f"{count} day" if count == 1 else f"{count} days"
