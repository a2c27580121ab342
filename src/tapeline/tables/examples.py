"""Some test rows with their features, for the report: the number of each among the predictions, and its features."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tapeline import files
from tapeline.tables.spec import Array

METADATA = "tapeline"
"""Of the file: type and shape of one row's features."""
MOST = 32
"""Rows."""


@dataclass(frozen=True)
class Examples:
    """Rows in ascending order."""

    rows: Array
    """int64 [rows]: numbers of rows of predictions.parquet."""
    features: Array
    """[rows, features] or [rows, *feature_shape]."""


def write(path: Path, examples: Examples) -> None:
    """Write a Parquet file; the same examples give the same bytes."""
    import polars as pl

    kind = {"dtype": examples.features.dtype.name, "shape": examples.features.shape[1:]}
    features = pl.Series("features", [each.tobytes() for each in examples.features], pl.Binary)
    frame = pl.DataFrame([pl.Series("row", examples.rows, pl.Int64), features])
    with files.atomic_path(path) as temporary:
        frame.write_parquet(temporary, metadata={METADATA: json.dumps(kind)})
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())


def read(path: Path) -> Examples:
    """Read what `write` wrote."""
    import polars as pl

    kind = json.loads(pl.read_parquet_metadata(path)[METADATA])
    frame = pl.read_parquet(path)
    features = np.frombuffer(b"".join(frame["features"].to_list()), kind["dtype"])
    return Examples(frame["row"].to_numpy(), features.reshape(len(frame), *kind["shape"]))
