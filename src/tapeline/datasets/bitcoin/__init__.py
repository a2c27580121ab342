"""The next daily close of bitcoin, or of another coin, from its daily candles.

next_day: the log return from the close of day t to that of day t+1, from what is known at the close of day t: log
returns of 1, 2, 3, 5 and 7 days, ln(high / low) of two days, the change of the log volume, and the weekday.
same_day: the close from the open, high and low of the same day, as in the original system. That is not a forecast: high
and low are known only when the day is over.

    tapeline run dataset=bitcoin dataset.source=csv dataset.path=crypto-markets.csv
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from tapeline.datasets.bitcoin import features
from tapeline.datasets.bitcoin.candles import COLUMNS, read
from tapeline.datasets.bitcoin.serving import signatures
from tapeline.datasets.bitcoin.simulation import simulate
from tapeline.datasets.sources import query
from tapeline.errors import choose
from tapeline.tables.observed import Observed
from tapeline.tables.profile import Series
from tapeline.tables.spec import Column, Manifest, Spec, header_of
from tapeline.tables.table import Batch
from tapeline.tables.writing import Parts

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "SPEC",
    "Section",
    "baselines",
    "ingest",
    "model_name",
    "newest",
    "observed",
    "series",
    "signatures",
    "simulate",
    "table",
]

Array = np.ndarray[Any, Any]

SPEC = Spec(task="price", outputs=("log_return",), missing_features=True, horizon=timedelta(days=1))
"""The volume is unknown on some days, so its change may be missing. The next close is known one day after its row; for
same_day the horizon only leaves out one train row more."""
LEAK = (
    "Leak: with dataset.target=same_day the model sees the high and the low of the very day whose close it predicts. "
    "They are known only when the day is over, so this is not a forecast."
)


class Section(query.Section):
    """The keys of `dataset=bitcoin`."""

    coin: Annotated[str, Field(min_length=1)]
    """The slug, symbol or name of the coin, in upper or lower case."""
    target: Literal["next_day", "same_day"]
    currency: Annotated[str, Field(min_length=1)]
    """Of the prices; a label for people."""
    columns: dict[str, str]
    """Names of the file's columns, by date, open, high, low, close, volume or coin, where they differ."""
    date_format: str | None
    """strptime directives or epoch_s, epoch_ms, ...; null detects it from the values."""

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if name not in COLUMNS:
                raise ValueError(f"{name} is not a column; {choose(name, COLUMNS)}")
        return columns


def ingest(section: Section, frame: pl.LazyFrame, where: str) -> pl.DataFrame:
    """date, open, high, low, close, and volume (null where it is unknown) of the coin, by day.

    Raises:
        Refused: the coin is not there, or its rows are wrong: everything by column and row.
    """
    return read(frame, where, section.coin, section.columns, section.date_format)


def table(section: Section, raw: pl.DataFrame) -> tuple[Manifest, Parts]:
    """Features, target and context of each day that has a label.

    next_day: days with a candle on each of the 7 days before and on the next day. same_day: all days.
    """
    header, frame = _rows(section, raw)
    return header, [("all", frame.filter(frame["target"].is_not_null()))]


def newest(section: Section, raw: pl.DataFrame) -> tuple[Manifest, Parts]:
    """As `table`, with the last day, whose next close is not known yet."""
    header, frame = _rows(section, raw)
    return header, [("all", frame)]


def _rows(section: Section, raw: pl.DataFrame) -> tuple[Manifest, pl.DataFrame]:
    """The header, and each day whose features can be computed; the target is null where it is not known."""
    import polars as pl

    days = raw["date"].to_numpy()
    candles = {name: raw[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in features.CANDLE}
    made = features.same_day(days, candles) if section.target == "same_day" else features.next_day(days, candles)
    columns = {"time": days, "target": made.target, **made.features, **made.context}
    schema = [Column("time", "time", "datetime64[D]"), Column("target", "target", "float64")]
    schema += [Column(name, "feature", "float32") for name in made.features]
    schema += [Column(name, "context", str(values.dtype)) for name, values in made.context.items()]
    frame = pl.DataFrame(columns).filter(pl.Series(made.complete))
    frame = frame.with_columns(pl.col(name).fill_nan(None) for name, dtype in frame.schema.items() if dtype.is_float())
    same = section.target == "same_day"
    question = f"What will the {'' if same else 'next '}close of {section.coin} be{' on the same day' if same else ''}?"
    notes = {"note": LEAK if same else None, "question": question, "unit": section.currency, "target": section.target}
    return header_of(SPEC, section.name, schema, notes), frame


def model_name(section: Mapping[str, Any]) -> str:
    """bitcoin, bitcoin-same_day, ethereum, ...: models of another coin or target are served under another name."""
    coin = re.sub("[^a-z0-9.]+", "-", str(section.get("coin")).lower()).strip("-.") or "coin"
    return coin if section.get("target") == "next_day" else f"{coin}-{section.get('target')}"


def series(section: Section, raw: pl.DataFrame) -> Series:
    """The closes of all days from the first to the last, NaN where a day has no candle."""
    import polars as pl

    dates = raw["date"].to_numpy()
    days = np.arange(dates[0], dates[-1] + 1)
    closes = np.full(len(days), np.nan)
    closes[(dates - dates[0]).astype(np.int64)] = raw["close"].cast(pl.Float64).to_numpy()
    return Series(days, {section.coin: closes}, target=section.coin, unit=section.currency, each="coin", every="day")


def observed(section: Section, raw: pl.DataFrame) -> Iterator[Observed]:
    """The closes of the coin, which has one each day."""
    import polars as pl

    days = raw["date"].to_numpy()
    yield Observed(section.coin, days, raw["close"].cast(pl.Float64).to_numpy(), np.arange(days[0], days[-1] + 1))


def baselines(batch: Batch, names: Sequence[str]) -> dict[str, Array]:
    """next_day: persistence and the moving average; same_day: open, previous close and (high+low)/2.

    Each is a price, and its prediction the log return from the last price.
    """
    target = "same_day" if "middle" in batch.arrays else "next_day"
    prices = {name: batch[column] for name, column in features.BASELINES[target].items()}
    return {name: np.log(price / batch["last_price"])[:, None] for name, price in prices.items()}
