"""Direction of the S&P 500's close from the closes of eight world indices, as in Google's published use case.

Closes are joined on the S&P's calendar and filled forward. Features are log returns: for US indices of the
three days before; for the others of the day itself and the two before, because those markets close earlier.

    tapeline run dataset.source=csv dataset.path=closes.csv
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field

from tapeline import tensorflow as tf
from tapeline.datasets.indices import calendars
from tapeline.datasets.indices.simulation import simulate
from tapeline.datasets.sources import series as market_series
from tapeline.errors import refuse
from tapeline.features.as_of import parse
from tapeline.features.returns import lagged, log_returns
from tapeline.tables.observed import Observed
from tapeline.tables.profile import Series
from tapeline.tables.spec import Column, InputSpec, Manifest, SignatureSpec, Spec, header_of
from tapeline.tables.table import Batch
from tapeline.tables.writing import Parts

if TYPE_CHECKING:
    import polars as pl

__all__ = ["SPEC", "Section", "baselines", "ingest", "observed", "series", "signatures", "simulate", "table"]

Array = np.ndarray[Any, Any]
log = logging.getLogger(__name__)

SPEC = Spec(task="direction", outputs=("down",), horizon=timedelta(0))
"""The label of a day is known at that day's close: horizon 0."""
CLOSES = calendars.closes()
"""Markets in the order of the feature columns, and the time on each day at which continuous trading ends, or from 2024
on the time until which prices enter the DAX: hours.json has the history and its sources. Official closes are published
a little later, since closing auctions take up to 15 minutes. 18:00 in Frankfurt is 17:00 in London, the default of
dataset.as_of."""
LAGS = {market: (1, 2, 3) if market in ("snp", "nyse", "djia") else (0, 1, 2) for market in CLOSES}
HISTORY = 5
"""Rows of closes that the features of one row need: two for a return, and three lags."""
FIRST_ROW = 7
"""The first row of the published table; four rows of history would be enough."""
QUESTION = "Will the S&P 500 close lower than on the day before?"
MEANING = {
    False: "Every column is known at that time. The same day's European closes are among them: they come about two "
    "hours after New York opens, so part of the forecast move has happened by then.",
    True: "Columns that are not known at that time on every day are left out.",
}
"""What dataset.as_of means for the forecast. True: a column is known too late to be a feature."""
VOLATILITY_DAYS = 20
"""Returns of the S&P before the forecast day whose standard deviation is the context column `volatility`."""
LEAST_DAYS = 60
LONGEST_HOLIDAY = 10
"""Days without a close in the longest holiday: Tokyo, 2019."""


def _check_as_of(text: str) -> str:
    parse(text)
    return text


class Section(market_series.Section):
    """The keys of `dataset=indices`."""

    MARKETS = tuple(CLOSES)
    cutoff_year: Annotated[int, Field(ge=1500, le=2200)] | None
    """The first year that is kept; null keeps all."""
    as_of: Annotated[str, AfterValidator(_check_as_of)]
    """The time of the decision on each day, `HH:MM Zone`; a column that is not known then is not a feature."""


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
    late = {name: each["when"] for name, each in known.items() if each["hours"] is None or each["hours"] < 0}
    kept = {name: column[FIRST_ROW:] for name, column in columns.items() if name not in late}
    _log_late(section.as_of, known)
    frame = pl.DataFrame(
        {
            "time": dates[FIRST_ROW:],
            "target": (returns["snp"][FIRST_ROW:] < 0).astype(np.int64),
            "move": returns["snp"][FIRST_ROW:],
            "volatility": _volatility(returns["snp"])[FIRST_ROW:],
            **{name: column.astype(np.float32) for name, column in kept.items()},
        }
    )
    schema = [Column("time", "time", "datetime64[D]"), Column("target", "target", "int64")]
    schema += [Column(name, "context", "float64") for name in ("move", "volatility")]
    schema += [Column(name, "feature", "float32") for name in kept]
    notes = {"late": late, "known": known, "meaning": MEANING[bool(late)], "question": QUESTION}
    return header_of(SPEC, section.name, schema, notes), [("all", frame)]


def _log_late(as_of: str, known: Mapping[str, Mapping[str, Any]]) -> None:
    """Log which columns are not features, once for each reason."""
    late = [name for name, each in known.items() if each["hours"] is not None and each["hours"] < 0]
    if late:
        log.info(
            "left out, because not known at %s: %s",
            as_of,
            ", ".join(f"{name} ({known[name]['when']})" for name in late),
        )
    unknown = [name for name, each in known.items() if each["hours"] is None]
    if unknown:
        since = max(CLOSES[name.partition("_")[0]].since for name in unknown)
        year = since.year + (since > date(since.year, 1, 1))
        reasons = ", ".join(f"{name} ({known[name]['when']})" for name in unknown)
        log.info(
            "left out, because trading hours are unknown: %s; from dataset.cutoff_year=%d on they are known",
            reasons,
            year,
        )


def _volatility(returns: Array) -> Array:
    """Standard deviation of the returns before each day, at most VOLATILITY_DAYS of them; NaN for fewer than two."""
    spans = [returns[max(0, day - VOLATILITY_DAYS) : day] for day in range(len(returns))]
    known = [span[np.isfinite(span)] for span in spans]
    return np.array([span.std() if len(span) > 1 else np.nan for span in known])


def _known(as_of: str, dates: Array) -> dict[str, dict[str, Any]]:
    """For each column, when it is known, and the least number of hours from then to the decision over all rows.

    The hours are None for a column of the day itself whose exchange had unknown hours on some day.
    """
    decisions = parse(as_of).instants(dates)
    known: dict[str, dict[str, Any]] = {}
    for market, clock in CLOSES.items():
        instants = clock.latest(dates)
        for lag in LAGS[market]:
            name, days = f"{market}_log_return_{lag}", dates[FIRST_ROW - lag : len(dates) - lag]
            ahead = (decisions[FIRST_ROW:] - instants[FIRST_ROW - lag : len(dates) - lag]) / np.timedelta64(1, "h")
            if not lag and not clock.known(days).all():
                known[name] = {"hours": None, "when": f"closing time unknown before {clock.since}"}
                continue
            worst, day = int(ahead.argmin()), {0: "the same day", 1: "the day before"}.get(lag, f"{lag} days before")
            known[name] = {"hours": float(ahead[worst]), "when": f"closes at {clock.at(days[worst].item())} {day}"}
    return known


def observed(section: Section, raw: pl.DataFrame) -> Iterator[Observed]:
    """The closes of each market as they were delivered, with the calendar of its exchange.

    A close is expected on the days on which both the exchange and New York trade, since other days are not used.
    Simulated markets have holidays of their own.
    """
    import polars as pl

    for market, (exchange, _) in calendars.EXCHANGES.items():
        closes = raw.select("date", pl.col(market).cast(pl.Float64)).drop_nulls()
        trading, expected = None, None
        if section.source != "simulated":
            trading = calendars.open_days(exchange)
            expected = np.intersect1d(trading, calendars.open_days("XNYS"))
        time, values = closes["date"].to_numpy(), closes[market].to_numpy()
        yield Observed(market, time, values, expected, trading, pause=LONGEST_HOLIDAY + 1)


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
