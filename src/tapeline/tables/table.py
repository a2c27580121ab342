"""The table that models learn from, and its Parquet file.

Columns `time`, `target` (or `target.<number>` where it has two axes), `weight` where there is one,
`context.<name>`, and the features.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapeline import files

if TYPE_CHECKING:
    import polars as pl

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Table:
    """Rows in the order of time, without missing features."""

    time: Array
    """datetime64, shape [rows]."""
    names: tuple[str, ...]
    """Of the features."""
    features: Array
    """float32, shape [rows, features]."""
    target: Array
    """direction: int64, shape [rows], 0 up or flat, 1 down; regression: float64, shape [rows, outputs]."""
    about: Mapping[str, Any]
    """task, digest of the raw data, the dataset's name in a file, and what the dataset has to tell the report."""
    context: Mapping[str, Array] = field(default_factory=dict)
    """What metrics, baselines and figures may read, and models never: [rows] each, by name."""
    weight: Array | None = None
    """float64 [rows]: of each row in weighted metrics."""


def write(table: Table, path: Path) -> None:
    """Write the table; the same table gives the same bytes."""
    import polars as pl

    columns = {"time": table.time}
    if table.target.ndim == 1:
        columns["target"] = table.target
    else:
        columns |= {f"target.{i}": column for i, column in enumerate(table.target.T)}
    columns |= {} if table.weight is None else {"weight": table.weight}
    columns |= {f"context.{name}": values for name, values in table.context.items()}
    columns |= dict(zip(table.names, table.features.T, strict=True))
    write_frame(pl.DataFrame(columns), path, table.about)


def read(path: Path) -> Table:
    """Read what `write` wrote."""
    import polars as pl

    frame = pl.read_parquet(path)
    targets = [name for name in frame.columns if name.split(".")[0] == "target"]
    context = [name for name in frame.columns if name.startswith("context.")]
    others = {"time", "weight", *targets, *context}
    names = tuple(name for name in frame.columns if name not in others)
    return Table(
        time=frame["time"].to_numpy(),
        names=names,
        features=np.ascontiguousarray(frame.select(names).to_numpy(), dtype=np.float32),
        target=(frame[targets[0]] if targets == ["target"] else frame.select(targets)).to_numpy(),
        about=about(path),
        context={name.partition(".")[2]: frame[name].to_numpy() for name in context},
        weight=frame["weight"].to_numpy() if "weight" in frame.columns else None,
    )


def about(path: Path) -> dict[str, Any]:
    """What a Parquet file of ours says of itself."""
    import polars as pl

    told: dict[str, Any] = json.loads(pl.read_parquet_metadata(path)["tapeline"])
    return told


def write_frame(frame: pl.DataFrame, path: Path, about: Mapping[str, Any]) -> None:
    """Write a frame, with a word about it."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, metadata={"tapeline": json.dumps(about)})
    files.write_bytes(path, buffer.getvalue())


def digest_frame(frame: pl.DataFrame) -> str:
    """Digest of canonical values: names, and every column as float64 (time in nanoseconds)."""
    import polars as pl

    columns = []
    for name in frame.columns:
        values = frame[name]
        if values.dtype.is_temporal():
            values = values.cast(pl.Datetime("ns")).to_physical()
        missing = values.is_null().to_numpy()
        numbers = values.fill_null(0).cast(pl.Float64).to_numpy()
        columns.append([name, files.digest(missing.tobytes(), numbers.astype("<f8").tobytes())])
    return files.digest(columns)
