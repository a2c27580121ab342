"""Two tables, as a market and pictures of faces have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tapeline.tables.spec import Column, Manifest
from tapeline.tables.table import Table, open_table
from tapeline.tables.writing import write

Array = np.ndarray[Any, Any]

MARKET = Manifest(
    task="regression",
    dataset="market",
    columns=(
        Column("time", "time", "datetime64[us]"),
        Column("asset", "partition", "str"),
        Column("return_1", "feature", "float32"),
        Column("hour", "feature", "uint8"),
        Column("target", "target", "float64"),
        Column("weight", "weight", "float64"),
        Column("last_close", "context", "float64"),
        Column("volume", "context", "int64"),
    ),
    outputs=("return",),
    extra={"source": "simulated"},
)
FACES = Manifest(
    task="keypoints",
    dataset="faces",
    columns=(
        Column("row", "row", "int64"),
        Column("person", "group", "str"),
        Column("image", "feature", "uint8", (96, 96)),
        Column("nose_x", "target", "float32"),
        Column("nose_y", "target", "float32"),
    ),
    outputs=("nose_x", "nose_y"),
    feature_shape=(96, 96),
)


def market(rows: int, asset: str, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "time": np.datetime64("2020-01-01", "us") + np.arange(rows) * np.timedelta64(60, "s"),
            "asset": [asset] * rows,
            "return_1": rng.standard_normal(rows),
            "hour": np.arange(rows) % 24,
            "target": pl.Series([None if each % 7 == 0 else each / 3 for each in range(rows)], dtype=pl.Float64),
            "weight": rng.random(rows),
            "last_close": rng.random(rows),
            "volume": 2**53 + np.arange(rows),
        }
    )


def faces(rows: int) -> tuple[pl.DataFrame, Array]:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (rows, 96, 96), dtype=np.uint8)
    columns = {"row": np.arange(rows), "person": [f"p{each // 3}" for each in range(rows)], "image": images}
    missing = np.where(rng.random(rows) < 0.4, np.nan, rng.random(rows))
    return pl.DataFrame({**columns, "nose_x": missing, "nose_y": rng.random(rows)}), images


def of(folder: Path, rows: dict[str, int]) -> Table:
    write(folder, MARKET, ((name, market(count, name, seed)) for seed, (name, count) in enumerate(rows.items())))
    return open_table(folder)


def assert_equal(left: Array, right: Array) -> None:
    assert left.dtype == right.dtype
    np.testing.assert_array_equal(left, right)
