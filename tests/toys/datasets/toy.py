"""A regression in small: tomorrow's move in percent from two numbers of today, with labels missing.

The column `close` is context: baselines and metrics may read it, models never.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from tapeline.config import schema
from tapeline.tables.spec import Column, Manifest, Spec, header_of
from tapeline.tables.table import Batch
from tapeline.tables.writing import Parts

Array = np.ndarray[Any, Any]
SPEC = Spec(task="regression", outputs=("move",), missing_labels=True, horizon=timedelta(days=1))
DAYS = 400


class Section(schema.Dataset):
    pass


def simulate(seed: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    signals = random.normal(size=(DAYS, 2))
    move = np.r_[0, signals[:-1] @ [0.8, -0.4] + random.normal(scale=0.5, size=DAYS - 1)]
    day = np.datetime64("2020-01-01") + np.arange(DAYS)
    close = 100 * np.exp(np.cumsum(move) / 100)
    return pl.DataFrame({"day": day, "first": signals[:, 0], "second": signals[:, 1], "close": close})


def ingest(section: Section, frame: pl.LazyFrame, where: str) -> pl.DataFrame:
    return frame.sort("day").collect()


def table(section: Section, raw: pl.DataFrame) -> tuple[Manifest, Parts]:
    close = raw["close"].to_numpy()
    moved = np.r_[0, 100 * np.diff(np.log(close))]
    move = np.r_[moved[1:], np.nan]
    move[::11] = np.nan
    columns = {
        Column("time", "time", "datetime64[D]"): raw["day"].to_numpy(),
        Column("target", "target", "float64"): move,
        Column("close", "context", "float64"): close,
        Column("moved", "context", "float64"): moved,
        Column("first", "feature", "float32"): raw["first"].to_numpy().astype(np.float32),
        Column("second", "feature", "float32"): raw["second"].to_numpy().astype(np.float32),
    }
    frame = pl.DataFrame({column.name: values for column, values in columns.items()})
    return header_of(SPEC, section.name, columns, {}), [("all", frame)]


def baselines(batch: Batch, names: Sequence[str]) -> dict[str, Array]:
    return {"today's move": batch["moved"][:, None]}
