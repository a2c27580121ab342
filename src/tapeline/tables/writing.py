"""Writing a table: the same frames give the same bytes, and no more than one part is held."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapeline import files
from tapeline.errors import refuse
from tapeline.tables.digests import digest_frame
from tapeline.tables.spec import MANIFEST, Column, Manifest, Part, complete, format_time, to_json, wrong_ids
from tapeline.tables.table import Table, row_group

if TYPE_CHECKING:
    import polars as pl

SAMPLE_ROWS = 64
Parts = Iterable[tuple[str, "pl.DataFrame | Iterable[pl.DataFrame]"]]
"""The id of each part, and its rows in the order of time."""


def write(path: Path, header: Manifest, parts: Parts) -> Manifest:
    """Write a table whole or not at all: a folder, or one file where the path ends in .parquet.

    Args:
        path: what is there is replaced.
        header: a manifest without parts.
        parts: the id of each part, and its rows in the order of time. A column with a shape may be an
            array, a list or bytes.

    Raises:
        Refused: several parts for one file.
        ValueError: a frame does not fit the header, or its rows are not in the order of time.
    """
    with files.atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            return _write_file(path, temporary, header, parts)
        temporary.mkdir()
        manifest = complete(header, [write_part(temporary, header, name, frames) for name, frames in parts])
        files.write_json(temporary / MANIFEST, to_json(manifest))
    return manifest


def write_part(folder: Path, header: Manifest, name: str, frames: pl.DataFrame | Iterable[pl.DataFrame]) -> Part:
    """Write one part, `<name>.parquet`, into a folder; `spec.complete` makes the manifest of all parts.

    Raises:
        ValueError: as `write`.
    """
    if problems := list(wrong_ids([name])):
        raise ValueError(str(problems[0]))
    frame = _fitted(header, frames)
    part = part_of(header, name, frame)
    _write(folder / part.file, header.columns, frame, {})
    return part


def write_sample(table: Table, path: Path, rows: int = SAMPLE_ROWS) -> None:
    """Write rows spread evenly over the table, in the order of (time, part), as a table of one file.

    Its manifest has the digest of the whole table.
    """
    import polars as pl

    ends = np.cumsum([0, *(part.rows for part in table.manifest.parts)])
    chosen = np.unique(np.linspace(0, max(ends[-1] - 1, 0), min(rows, int(ends[-1]))).round().astype(np.int64))
    frames = []
    for first, end, part in zip(ends[:-1], ends[1:], table.manifest.parts, strict=True):
        inside = chosen[(chosen >= first) & (chosen < end)] - first
        frames += [table.scan(part.id).slice(int(row), 1).collect() for row in inside]
    frame = pl.concat(frames) if frames else table.scan(table.manifest.parts[0].id).head(0).collect()
    if table.manifest.axis:
        frame = frame.sort(table.manifest.axis, maintain_order=True)
    manifest = replace(table.manifest, parts=(part_of(table.manifest, "sample", frame),))
    with files.atomic_path(path) as temporary:
        _write(temporary, manifest.columns, frame, _metadata(manifest))


def _write_file(path: Path, temporary: Path, header: Manifest, parts: Parts) -> Manifest:
    manifest = None
    for name, frames in parts:
        if manifest is not None:
            raise refuse(path, "one file holds one part, and the table has several", "name a folder without .parquet")
        frame = _fitted(header, frames)
        manifest = complete(header, [part_of(header, name, frame)])
        _write(temporary, header.columns, frame, _metadata(manifest))
    if manifest is None:
        raise ValueError("a table in one file needs its part")
    return manifest


def _metadata(manifest: Manifest) -> dict[str, str]:
    return {"tapeline": json.dumps(to_json(manifest), allow_nan=False, ensure_ascii=False)}


def _write(path: Path, columns: tuple[Column, ...], frame: pl.DataFrame, metadata: dict[str, str]) -> None:
    frame.write_parquet(path, row_group_size=row_group(columns), metadata=metadata)
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())


def part_of(header: Manifest, name: str, frame: pl.DataFrame) -> Part:
    """What the manifest says of a part with these rows, as they are stored."""
    axis = None if header.axis is None else frame[header.axis].to_numpy()
    first, last = (None, None) if axis is None or not len(axis) else (format_time(axis[0]), format_time(axis[-1]))
    return Part(name, f"{name}.parquet", len(frame), first, last, digest_frame(frame))


def _fitted(header: Manifest, frames: pl.DataFrame | Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The rows of a part as they are stored."""
    import polars as pl

    each = [frames] if isinstance(frames, pl.DataFrame) else frames
    names = [column.name for column in header.columns]
    stored = []
    for frame in each:
        if set(frame.columns) != set(names):
            raise ValueError(f"columns {frame.columns} are not those of the header: {names}")
        stored.append(frame.select([_stored(frame[column.name], column) for column in header.columns]))
    whole = pl.concat(stored) if stored else pl.DataFrame(schema={each.name: _polars(each) for each in header.columns})
    _check(header, whole)
    return whole


def _check(header: Manifest, frame: pl.DataFrame) -> None:
    for column in header.columns:
        may_miss = column.role in ("feature", "target", "context") and not column.shape
        may_miss &= column.dtype == "str" or np.dtype(column.dtype).kind == "f"
        if frame[column.name].null_count() and not may_miss:
            raise ValueError(f"column {column.name} has no place for missing values; declare it as float64")
    if header.axis is not None and not frame[header.axis].is_sorted():
        raise ValueError(f"rows are not in the order of {header.axis}")
    if header.axis is not None and header.axis in header.names("row") and frame[header.axis].n_unique() < len(frame):
        raise ValueError(f"a number occurs twice in {header.axis}")


def _stored(values: pl.Series, column: Column) -> pl.Series:
    """The column as it is stored: values with a shape as bytes."""
    import polars as pl

    if not column.shape:
        return values.cast(_polars(column))
    dtype = np.dtype(column.dtype).newbyteorder("<")
    size = int(np.prod(column.shape))
    if isinstance(values.dtype, pl.Array):
        values = values.reshape((len(values), -1)).arr.to_list()
    sizes = values.bin.size() if values.dtype == pl.Binary else values.list.len() * dtype.itemsize
    if not (sizes == size * dtype.itemsize).all(ignore_nulls=False):
        raise ValueError(f"a row of column {column.name} does not have the shape {column.shape}")
    if values.dtype == pl.Binary:
        return values
    numbers = values.explode().to_numpy().astype(dtype).reshape(len(values), size)
    return pl.Series(column.name, [row.tobytes() for row in numbers], dtype=pl.Binary)


def _polars(column: Column) -> Any:
    """The type of a stored column."""
    import polars as pl

    if column.shape:
        return pl.Binary
    if column.dtype == "str":
        return pl.String
    if column.dtype == "bool":
        return pl.Boolean
    dtype = np.dtype(column.dtype)
    if dtype.kind == "M":
        unit = np.datetime_data(dtype)[0]
        return pl.Date if unit == "D" else pl.Datetime(unit)  # type: ignore[arg-type]
    return getattr(pl, dtype.name.replace("uint", "UInt").replace("int", "Int").replace("float", "Float"))
