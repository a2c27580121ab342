"""Direction of the S&P 500's close from the closes of eight world indices, as in Google's published use case.

Closes are joined on the S&P's calendar and filled forward. Features are log returns: for US indices of the
three days before; for the others of the day itself and the two before, because those markets close earlier.

    tapeline run dataset.source=csv dataset.path=closes.csv
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field

from tapeline import tensorflow as tf
from tapeline.datasets.indices.simulation import simulate
from tapeline.datasets.sources import series as market_series
from tapeline.errors import refuse
from tapeline.features.as_of import daily, parse
from tapeline.features.returns import lagged, log_returns
from tapeline.tables.profile import Series
from tapeline.tables.spec import Column, InputSpec, Manifest, SignatureSpec, Spec, header_of
from tapeline.tables.table import Batch
from tapeline.tables.writing import Parts

if TYPE_CHECKING:
    import polars as pl

__all__ = ["SPEC", "Section", "baselines", "ingest", "series", "signatures", "simulate", "table"]

Array = np.ndarray[Any, Any]
log = logging.getLogger(__name__)

SPEC = Spec(task="direction", outputs=("down",), horizon=timedelta(0))
"""The label of a day is known at that day's close: horizon 0."""
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
"""Markets in the order of the feature columns, and the time at which continuous trading ends on a regular day.
Official closes are published a little later: closing auctions take up to 15 minutes, and since 2024 the DAX
includes prices until 18:00 in Frankfurt, which is 17:00 in London, the default of dataset.as_of."""
LAGS = {market: (1, 2, 3) if market in ("snp", "nyse", "djia") else (0, 1, 2) for market in CLOSES}
HISTORY = 5
"""Rows of closes that the features of one row need: two for a return, and three lags."""
FIRST_ROW = 7
"""The first row of the published table; four rows of history would be enough."""
MEANING = {
    False: "Every column is known at that time. European markets close after two hours of New York's trading, so "
    "part of the forecast move has already happened. Nearly all of the accuracy comes from these columns.",
    True: "Nearly all of the published accuracy comes from the same day's European closes. A model that decides "
    "before these closes loses it: on the original table, Deep's accuracy falls from .722 to about .576.",
}
"""How dataset.as_of changes the accuracy. True: a column is known too late to be a feature."""
LEAST_DAYS = 60
LONGEST_HOLIDAY = 10
"""Days without a close in the longest holiday: Tokyo, 2019."""


def _check_as_of(text: str) -> str:
    parse(text)
    return text


class Section(market_series.Section):
    """The keys of `dataset=indices`."""

    MARKETS = tuple(CLOSES)
    cutoff_year: Annotated[int, Field(ge=1800, le=2200)] | None
    """The first year that is kept; null keeps all."""
    as_of: Annotated[str, AfterValidator(_check_as_of)]
    """The time of the decision on each day, `HH:MM Zone`; a column that is not known then is no feature."""


def ingest(section: Section, frame: pl.LazyFrame, where: str) -> pl.DataFrame:
    """Dates and eight closes, with types, sorted by date, one row for each date.

    Raises:
        Refused: everything that is wrong with the file, by column and row.
    """
    import polars as pl

    names = market_series.columns(section, frame, where)
    raw = market_series.read_closes(frame, where, names, section.date_format)
    if section.cutoff_year:
        raw = raw.filter(pl.col("date").dt.year() >= section.cutoff_year)
    days = len(raw) - raw["snp"].null_count()
    if days < LEAST_DAYS:
        since = f" since {section.cutoff_year}" if section.cutoff_year else ""
        raise refuse(where, f"it has {days} days of snp{since}, too few", f"use {LEAST_DAYS} or more")
    return raw


def table(section: Section, raw: pl.DataFrame) -> tuple[Manifest, Parts]:
    """Features and label of each S&P day from the eighth on; 24 columns if all are known at dataset.as_of."""
    import polars as pl

    days = raw.filter(pl.col("snp").is_not_null())
    _log_early_ends(days)
    closes = days.with_columns(pl.col(CLOSES).fill_null(strategy="forward"))
    complete = closes.filter(pl.all_horizontal(pl.col(CLOSES).is_not_null()))
    if len(complete) < len(closes):
        log.info("the first %d days are left out: not every market has a close yet", len(closes) - len(complete))
    if len(complete) < LEAST_DAYS:
        raise refuse("dataset", "the markets have too few days in common", f"use series with {LEAST_DAYS} or more")
    dates = complete["date"].to_numpy()
    returns = {market: log_returns(complete[market].to_numpy()) for market in CLOSES}
    columns = {f"{market}_log_return_{lag}": lagged(returns[market], lag) for market in CLOSES for lag in LAGS[market]}
    known = _known(section.as_of, dates)
    late = {name: each["when"] for name, each in known.items() if each["hours"] < 0}
    kept = {name: column[FIRST_ROW:] for name, column in columns.items() if name not in late}
    if late:
        log.info("left out, because not known at %s: %s", section.as_of, ", ".join(late))
    frame = pl.DataFrame(
        {
            "time": dates[FIRST_ROW:],
            "target": (returns["snp"][FIRST_ROW:] < 0).astype(np.int64),
            **{name: column.astype(np.float32) for name, column in kept.items()},
        }
    )
    schema = [Column("time", "time", "datetime64[D]"), Column("target", "target", "int64")]
    schema += [Column(name, "feature", "float32") for name in kept]
    notes = {"late": late, "known": known, "meaning": MEANING[bool(late)]}
    return header_of(SPEC, section.name, schema, notes), [("all", frame)]


def _log_early_ends(days: pl.DataFrame) -> None:
    """Log each series that ends early; its last close is filled forward to the end."""
    for market in CLOSES:
        known = days["date"].filter(days[market].is_not_null())
        ended = len(days) if known.is_empty() else int((days["date"] > known[-1]).sum())
        if ended > LONGEST_HOLIDAY:
            log.info("%s has no close on the last %d days; its last close is filled forward", market, ended)


def _known(as_of: str, dates: Array) -> dict[str, dict[str, Any]]:
    """For each column, when it is known, and the least number of hours from then to the decision over all rows."""
    decisions = parse(as_of).instants(dates)
    instants = {market: clock.instants(dates) for market, clock in CLOSES.items()}
    known = {}
    for market, clock in CLOSES.items():
        for lag in LAGS[market]:
            ahead = decisions[FIRST_ROW:] - instants[market][FIRST_ROW - lag : len(dates) - lag]
            day = {0: "the same day", 1: "the day before"}.get(lag, f"{lag} days before")
            hours = float(ahead.min() / np.timedelta64(1, "h"))
            known[f"{market}_log_return_{lag}"] = {"hours": hours, "when": f"closes at {clock} {day}"}
    return known


def series(section: Section, raw: pl.DataFrame) -> Series:
    """The closes on the S&P's calendar, not filled."""
    import polars as pl

    days = raw.filter(pl.col("snp").is_not_null())
    closes = {market: days[market].cast(pl.Float64).fill_null(np.nan).to_numpy() for market in CLOSES}
    return Series(days["date"].to_numpy(), closes, target="snp", unit="index points", each="market", every="day")


def baselines(batch: Batch, names: Sequence[str]) -> dict[str, Array]:
    """The sign of each market's latest known return as the forecast: 0 up or flat, 1 down."""
    latest: dict[str, str] = {}
    for name in names:
        latest.setdefault(name.rpartition("_log_return_")[0], name)
    columns = {name: batch["feature"][:, names.index(name)] for name in latest.values()}
    return {f"sign of {name}": (column < 0).astype(np.int64) for name, column in columns.items()}


def signatures(manifest: Manifest) -> tuple[SignatureSpec, ...]:
    """The signature `closes`: float64 [rows, 5, 8], days t-4 to t of the filled table, columns in the order of CLOSES.

    Closes that the features do not need are ignored, such as the US closes of day t, which are not known yet.
    If a close that they need is zero, negative, NaN or infinite, the row gets no answer.
    """
    markets = list(CLOSES)
    positions = []
    for name in manifest.names("feature"):
        market, _, lag = name.rpartition("_log_return_")
        positions.append((HISTORY - 2 - int(lag)) * len(markets) + markets.index(market))

    def features(inputs: Mapping[str, Any]) -> Any:
        tensorflow, closes = tf.load(), inputs["closes"]
        prices = tensorflow.where((closes > 0) & tensorflow.math.is_finite(closes), closes, np.nan)
        returns = tensorflow.math.log(prices[:, 1:] / prices[:, :-1])
        flat = tensorflow.reshape(returns, [-1, (HISTORY - 1) * len(markets)])
        return tensorflow.cast(tensorflow.gather(flat, positions, axis=1), tensorflow.float32)

    about = {"rows": "t-4 to t, one for each day of the S&P", "columns": markets}
    closes = InputSpec("closes", (HISTORY, len(markets)), "float64")
    return (SignatureSpec("closes", (closes,), features, about=about),)
