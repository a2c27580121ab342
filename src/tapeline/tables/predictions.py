"""Predictions of the test rows, row by row: window, time or row, partition, group, target, weight, context, outputs.

An array with two axes is stored as columns `name.0`, `name.1`, ...; a naive baseline's as `baseline:name`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tapeline import files
from tapeline.tables.spec import Array, format_time

BASELINE = "baseline:"
METADATA = "tapeline"
"""Of the file: `width` of each array with two axes, by name."""
ROWS = ("window", "time", "row", "partition", "group")
"""Columns that say which row it is."""


@dataclass(frozen=True)
class Predictions:
    """The first axis of every array is rows, in the order of (time, partition) or of rows."""

    rows: Mapping[str, Array]
    """Which row it is: window int64, time datetime64 or row int64, partition and group where there are some."""
    scored: Mapping[str, Array]
    """`target`, `weight` where there is one, context columns, and the model's outputs."""
    baselines: Mapping[str, Array]
    """`prediction` of each naive baseline."""

    def __len__(self) -> int:
        return len(self.rows["window"])

    @property
    def axis(self) -> Array:
        """The time of each row, or its number."""
        return self.rows["time"] if "time" in self.rows else self.rows["row"]

    @property
    def labels(self) -> list[str]:
        """The axis as text."""
        return [str(format_time(value)) for value in self.axis]

    def take(self, chosen: Array) -> Predictions:
        """Some rows: numbers, or bool [rows]."""
        parts = (self.rows, self.scored, self.baselines)
        return Predictions(*({name: values[chosen] for name, values in part.items()} for part in parts))


def write(path: Path, predictions: Predictions) -> None:
    """Write a Parquet file; the same predictions give the same bytes."""
    import polars as pl

    baselines = {f"{BASELINE}{name}": values for name, values in predictions.baselines.items()}
    arrays = {**predictions.rows, **predictions.scored, **baselines}
    width = {name: values.shape[1] for name, values in arrays.items() if values.ndim > 1}
    columns: dict[str, Array] = {}
    for name, values in arrays.items():
        columns |= dict(zip(_columns(name, width), values.T if name in width else [values], strict=True))
    frame = pl.DataFrame({name: np.ascontiguousarray(values) for name, values in columns.items()}, nan_to_null=False)
    with files.atomic_path(path) as temporary:
        frame.write_parquet(temporary, metadata={METADATA: json.dumps({"width": width})})
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())


def read(path: Path) -> Predictions:
    """Read what `write` wrote.

    Raises:
        ValueError: it is not such a file.
    """
    import polars as pl

    try:
        frame = pl.read_parquet(path)
        width: dict[str, int] = json.loads(pl.read_parquet_metadata(path)[METADATA])["width"]
    except KeyError:
        raise ValueError(f"{path}: no predictions of test rows") from None
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path}: {error}") from None
    parts = {column: name for name in width for column in _columns(name, width)}
    arrays = {
        name: frame.select(_columns(name, width)).to_numpy() if name in width else frame[name].to_numpy()
        for name in dict.fromkeys(parts.get(column, column) for column in frame.columns)
    }
    rows = {name: values for name, values in arrays.items() if name in ROWS}
    baselines = {name.removeprefix(BASELINE): each for name, each in arrays.items() if name.startswith(BASELINE)}
    others = {name: each for name, each in arrays.items() if name not in ROWS and not name.startswith(BASELINE)}
    return Predictions(rows, others, baselines)


def _columns(name: str, width: Mapping[str, int]) -> list[str]:
    """The columns that hold an array."""
    return [f"{name}.{at}" for at in range(width[name])] if name in width else [name]
