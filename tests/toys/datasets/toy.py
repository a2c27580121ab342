"""A regression in small: tomorrow's move in percent from two numbers of today, with labels missing.

The column `close` is context: baselines and metrics may read it, models never.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from tapeline.config import schema
from tapeline.tables.spec import Spec
from tapeline.tables.table import Table, digest_frame

Array = np.ndarray[Any, Any]
SPEC = Spec(task="regression", outputs=("move",), missing_labels=True, horizon=timedelta(days=1))
HORIZON = 1
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


def ingest(section: Section, frame: pl.DataFrame, where: str) -> pl.DataFrame:
    return frame.sort("day")


def table(section: Section, raw: pl.DataFrame) -> Table:
    close = raw["close"].to_numpy()
    move = np.r_[100 * np.diff(np.log(close)), np.nan]
    move[::11] = np.nan
    names = ("first", "second")
    return Table(
        time=raw["day"].to_numpy(),
        names=names,
        features=raw.select(names).to_numpy().astype(np.float32),
        target=move,
        about={"digest": digest_frame(raw)},
        context={"close": close},
    )


def baselines(table: Table) -> dict[str, Array]:
    close = table.context["close"]
    return {"today's move": np.r_[0, 100 * np.diff(np.log(close))]}
