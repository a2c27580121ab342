"""Predictions of the test rows, row by row: window, time or row, partition, group, target, weight, context, outputs.

An array with two axes is stored as columns `name.0`, `name.1`, ...; a naive baseline's as `baseline:name`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tapeline import files
from tapeline.tables.spec import Array, format_time

BASELINE = "baseline:"
NUMBERED = re.compile(r"(.*)\.(\d+)")


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

    columns: dict[str, Array] = {}
    baselines = {f"{BASELINE}{name}": values for name, values in predictions.baselines.items()}
    for name, values in {**predictions.rows, **predictions.scored, **baselines}.items():
        flat = values.reshape(len(values), -1) if values.ndim > 1 else None
        columns |= {name: values} if flat is None else {f"{name}.{at}": each for at, each in enumerate(flat.T)}
    frame = pl.DataFrame({name: np.ascontiguousarray(values) for name, values in columns.items()}, nan_to_null=False)
    with files.whole(path) as temporary:
        frame.write_parquet(temporary)
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())


def read(path: Path) -> Predictions:
    """Read what `write` wrote.

    Raises:
        ValueError: it is no such file.
    """
    import polars as pl

    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path}: {error}") from None
    groups: dict[str, list[str]] = {}
    for name in frame.columns:
        numbered = NUMBERED.fullmatch(name)
        groups.setdefault(numbered[1] if numbered else name, []).append(name)
    arrays = {
        name: frame[columns[0]].to_numpy() if columns == [name] else frame.select(columns).to_numpy()
        for name, columns in groups.items()
    }
    known = ("window", "time", "row", "partition", "group")
    rows = {name: values for name, values in arrays.items() if name in known}
    baselines = {name.removeprefix(BASELINE): each for name, each in arrays.items() if name.startswith(BASELINE)}
    others = {name: each for name, each in arrays.items() if name not in known and not name.startswith(BASELINE)}
    return Predictions(rows, others, baselines)
