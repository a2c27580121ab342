"""Direction of the S&P 500's close from eight world indices, as Google's use case defined it.

Closes join on the S&P's calendar and are filled forward; features are log returns: the US indices'
of the three days before, the others' of the day itself and the two before, since they close earlier.

    tapeline run dataset.source=csv dataset.path=closes.csv
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field

from tapeline import tensorflow as tf
from tapeline.datasets.indices.simulation import simulate
from tapeline.datasets.sources import series as singles
from tapeline.errors import refuse
from tapeline.features.as_of import daily, parse
from tapeline.features.returns import lagged, log_returns
from tapeline.tables.profile import Series
from tapeline.tables.spec import Column, Input, Manifest, Spec, header_of
from tapeline.tables.table import Batch
from tapeline.tables.writing import Parts

if TYPE_CHECKING:
    import polars as pl

__all__ = ["SPEC", "Section", "baselines", "ingest", "series", "served", "simulate", "table"]

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
"""Markets in the order of the feature columns, and when continuous trading regularly ends there.
Official closes come a little later: closing auctions take up to 15 minutes, and since 2024 the
DAX takes in late prices until 18:00, which is the default moment of decision in London."""
LAGS = {market: (1, 2, 3) if market in ("snp", "nyse", "djia") else (0, 1, 2) for market in CLOSES}
HISTORY = 5
"""Rows of closes from which a row's features follow: two for a return, and three lags."""
FIRST_ROW = 7
"""The original starts here, though four rows would do."""
MEANING = {
    False: "Every column is known by then. The European markets of the same day close two hours into New York's "
    "trading, so a part of what is forecast has already happened: nearly all of the accuracy comes from there.",
    True: "Nearly all of the published accuracy comes from the same day's European closes. A model that decides "
    "before them loses it: on the original table Deep falls from .722 to about .576.",
}
"""What as-of does to the accuracy: where no column comes too late, and where one does."""
LEAST_DAYS = 60
LONGEST_HOLIDAY = 10
"""Days: Tokyo's, in 2019."""


def _check_as_of(text: str) -> str:
    parse(text)
    return text


class Section(singles.Section):
    """The keys of `dataset=indices`."""

    MARKETS = tuple(CLOSES)
    cutoff_year: Annotated[int, Field(ge=1800, le=2200)] | None
    """Earlier years are dropped."""
    as_of: Annotated[str, AfterValidator(_check_as_of)]
    """The moment of decision, `HH:MM Zone`; what is not known by then is no feature."""


def ingest(section: Section, frame: pl.LazyFrame, where: str) -> pl.DataFrame:
    """Dates and eight closes: typed, sorted, unique.

    Raises:
        Refused: what is wrong with the file, by column and row.
    """
    import polars as pl

    raw = singles.tidy(frame, where, singles.columns(section, frame, where), section.date_format)
    if section.cutoff_year:
        raw = raw.filter(pl.col("date").dt.year() >= section.cutoff_year)
    days = len(raw) - raw["snp"].null_count()
    if days < LEAST_DAYS:
        since = f" since {section.cutoff_year}" if section.cutoff_year else ""
        raise refuse(where, f"it has {days} days of snp{since}, too few", f"give {LEAST_DAYS} or more")
    return raw


def table(section: Section, raw: pl.DataFrame) -> tuple[Manifest, Parts]:
    """Features and label of every S&P day from the eighth on; 24 columns where all are known in time."""
    import polars as pl

    days = raw.filter(pl.col("snp").is_not_null())
    _say_what_ended(days)
    closes = days.with_columns(pl.col(CLOSES).fill_null(strategy="forward"))
    complete = closes.filter(pl.all_horizontal(pl.col(CLOSES).is_not_null()))
    if len(complete) < len(closes):
        log.info("the first %d days go: not every market has a close yet", len(closes) - len(complete))
    if len(complete) < LEAST_DAYS:
        raise refuse("dataset", "the markets have too few days in common", "give longer series")
    dates = complete["date"].to_numpy()
    returns = {market: log_returns(complete[market].to_numpy()) for market in CLOSES}
    columns = {f"{market}_log_return_{lag}": lagged(returns[market], lag) for market in CLOSES for lag in LAGS[market]}
    known = _known(section.as_of, dates)
    late = {name: told["when"] for name, told in known.items() if told["hours"] < 0}
    kept = {name: column[FIRST_ROW:] for name, column in columns.items() if name not in late}
    if late:
        log.info("not known by %s, so no feature: %s", section.as_of, ", ".join(late))
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


def _say_what_ended(days: pl.DataFrame) -> None:
    """A series that ends early is filled to the end: no error, but nothing to keep silent about."""
    for market in CLOSES:
        known = days["date"].filter(days[market].is_not_null())
        ended = len(days) if known.is_empty() else int((days["date"] > known[-1]).sum())
        if ended > LONGEST_HOLIDAY:
            log.info("%s has no close on the last %d days; the one before is filled in", market, ended)


def _known(as_of: str, dates: Array) -> dict[str, dict[str, Any]]:
    """For each column when it is known, and at least how many hours before the moment of decision on any row."""
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
    """The closes on the S&P's calendar, as they are."""
    import polars as pl

    days = raw.filter(pl.col("snp").is_not_null())
    closes = {market: days[market].cast(pl.Float64).fill_null(np.nan).to_numpy() for market in CLOSES}
    return Series(days["date"].to_numpy(), closes, target="snp", unit="index points", each="market", every="day")


def baselines(batch: Batch, names: Sequence[str]) -> dict[str, Array]:
    """Each market's latest known sign taken for the S&P's: 0 up or flat, 1 down."""
    latest: dict[str, str] = {}
    for name in names:
        latest.setdefault(name.rpartition("_log_return_")[0], name)
    columns = {name: batch["feature"][:, names.index(name)] for name in latest.values()}
    return {f"sign of {name}": (column < 0).astype(np.int64) for name, column in columns.items()}


def served(names: Sequence[str]) -> Input:
    """The signature `closes`: float64 [rows, 5, 8], rows t-4 to t of the filled table, columns as CLOSES has them.

    What these features do not need is ignored, as the last US closes are, which nobody knows yet. A
    close that they need and that is no price, zero, negative, NaN or infinite, leaves its row without answer.
    """
    markets = list(CLOSES)
    places = []
    for name in names:
        market, _, lag = name.rpartition("_log_return_")
        places.append((HISTORY - 2 - int(lag)) * len(markets) + markets.index(market))

    def features(closes: Any) -> Any:
        tensorflow = tf.load()
        prices = tensorflow.where((closes > 0) & tensorflow.math.is_finite(closes), closes, np.nan)
        returns = tensorflow.math.log(prices[:, 1:] / prices[:, :-1])
        flat = tensorflow.reshape(returns, [-1, (HISTORY - 1) * len(markets)])
        return tensorflow.cast(tensorflow.gather(flat, places, axis=1), tensorflow.float32)

    about = {"rows": "t-4 to t, one for each day of the S&P", "columns": markets}
    return Input("closes", (HISTORY, len(markets)), "float64", features, about)
