"""A table on disk: a folder with manifest.json and Parquet parts, each sorted by time; or one part in one file.

    data = open_table(path)
    for batch in data.batches(("feature", "target"), rows={"prices": slice(0, 1152)}):
        batch["feature"]    # float32 [rows, features]

Nobody reads a table whole unless it is small.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapeline import files
from tapeline.tables.spec import MANIFEST, ROLES, Array, Column, Manifest, Part, Rows, from_json

if TYPE_CHECKING:
    import polars as pl

ROW_GROUP_BYTES = 16 << 20
ROW_GROUP_ROWS = 1 << 16
"""A row group has at most so many rows, and fewer where a row is large."""


@dataclass(frozen=True)
class Batch:
    """Rows of one part."""

    part: str
    rows: Array
    """Their numbers in the part, int64, ascending."""
    arrays: Mapping[str, Array]
    """Of each role or column asked for."""

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Table:
    """A table that can be read.

    What is asked for is a role or a column. A role's array has shape [rows] where it has one column, and
    [rows, columns] where it has several (but those with the role context: ask for each by name);
    features have [rows, features], or [rows, *feature_shape]. Features are float32, or as they are where
    they have a shape; targets int64 where all are whole numbers, else float64, NaN where missing; weight
    float64; time datetime64; text is an array of objects.
    """

    path: Path
    """A folder, or the file of a single part."""
    manifest: Manifest

    def batches(
        self, names: Sequence[str], rows: Mapping[str, Rows] | None = None, size: int | None = None
    ) -> Iterator[Batch]:
        """The rows of all parts, or those chosen by part, in order, at most `size` of them at a time.

        Args:
            names: roles or columns.
            rows: of each part by its id; parts that are not in it are left out. None: all rows.
            size: None: as many as a row group has.
        """
        for part in self.manifest.parts:
            if rows is None or part.id in rows:
                yield from _batches(self, part, names, slice(None) if rows is None else rows[part.id], size)

    def read(
        self,
        names: Sequence[str],
        rows: Mapping[str, Rows] | None = None,
        out: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        """All rows, or those chosen by part, in one array for each name.

        Args:
            names: roles or columns.
            rows: as for `batches`.
            out: arrays to fill, such as memory maps, with the shapes of the result; None: they are made.
        """
        total = sum(
            len(_numbers(part, slice(None) if rows is None else rows.get(part.id, slice(0))))
            for part in self.manifest.parts
        )
        filled = dict(out or {name: empty(self.manifest, name, total) for name in names})
        first = 0
        for batch in self.batches(names, rows):
            for name in names:
                filled[name][first : first + len(batch)] = batch[name]
            first += len(batch)
        return filled

    def take(self, names: Sequence[str], parts: Array, rows: Array) -> dict[str, Array]:
        """Single rows, in any order: some thousand at most, since each costs up to a row group.

        Args:
            names: roles or columns.
            parts: for each row the position of its part in the manifest.
            rows: its number in the part.
        """
        order = np.lexsort((rows, parts))
        chosen = {
            part.id: np.unique(rows[parts == position])
            for position, part in enumerate(self.manifest.parts)
            if (parts == position).any()
        }
        found = self.read(names, chosen)
        pairs = np.stack([parts[order], rows[order]], axis=1)
        fresh = np.r_[True, (pairs[1:] != pairs[:-1]).any(axis=1)] if len(pairs) else np.empty(0, dtype=bool)
        positions = np.empty(len(order), dtype=np.int64)
        positions[order] = np.cumsum(fresh) - 1
        return {name: values[positions] for name, values in found.items()}

    def column(self, part: str, name: str) -> Array:
        """One column of one part."""
        return self.read((name,), {part: slice(None)})[name]

    def times(self, part: str) -> Array:
        """The times of a part, ascending; its row numbers where there is no time.

        Raises:
            ValueError: the table has neither.
        """
        if self.manifest.axis is None:
            raise ValueError("the table has neither times nor row numbers")
        return self.column(part, self.manifest.axis)

    def part(self, name: str) -> Part:
        """The part with this id."""
        return next(part for part in self.manifest.parts if part.id == name)

    def scan(self, part: str) -> pl.LazyFrame:
        """A part as it is stored."""
        import polars as pl

        each = self.part(part)
        return pl.scan_parquet(self.path / each.file if self.path.is_dir() else self.path)


def open_table(path: Path) -> Table:
    """Open a table's folder, or the Parquet file of a single part; no rows are read."""
    if path.is_dir():
        return Table(path, from_json(files.read_json(path / MANIFEST)))
    import polars as pl

    return Table(path, from_json(json.loads(pl.read_parquet_metadata(path)["tapeline"])))


def row_group(columns: Sequence[Column]) -> int:
    """Rows of a row group: a power of two, the same for every part of a table."""
    width = sum(_itemsize(column) * int(np.prod(column.shape, dtype=np.int64)) for column in columns)
    rows = ROW_GROUP_ROWS
    while rows > 1 and rows * width > ROW_GROUP_BYTES:
        rows //= 2
    return rows


def merge_order(times: Sequence[Array]) -> Array:
    """The order of rows by (time, part), as positions in the parts' rows joined one behind the other.

    Args:
        times: of each part's rows, in the order of the manifest.
    """
    return np.argsort(np.concatenate(times), kind="stable") if times else np.empty(0, dtype=np.int64)


def empty(manifest: Manifest, name: str, rows: int) -> Array:
    """An array for so many rows of a role or column, as `Table.batches` gives them, not filled.

    Raises:
        ValueError: the table has no such role or column.
    """
    columns = columns_of(manifest, name)
    stacked = (name == "feature" and manifest.feature_shape is None) or len(columns) > 1
    shape = (len(columns),) if stacked else columns[0].shape
    return np.empty((rows, *shape), dtype=_dtype(columns))


def columns_of(manifest: Manifest, name: str) -> tuple[Column, ...]:
    """The columns that a role or a column's name stands for.

    Raises:
        ValueError: there is none, or the role is context.
    """
    found = tuple(column for column in manifest.columns if name == (column.role if name in ROLES else column.name))
    if not found or (len(found) > 1 and found[0].role == "context"):
        raise ValueError(f"{name} is neither a column of the table nor a role that makes an array")
    return found


def _dtype(columns: Sequence[Column]) -> np.dtype[Any]:
    column = columns[0]
    kinds = {np.dtype(each.dtype).kind for each in columns}
    if column.dtype == "str":
        return np.dtype(object)
    if column.role == "feature" and not column.shape:
        return np.dtype(np.float32)
    if column.role == "target":
        return np.dtype(np.int64 if kinds <= set("iub") else np.float64)
    return np.dtype(np.float64 if column.role == "weight" else column.dtype)


def _itemsize(column: Column) -> int:
    return 16 if column.dtype == "str" else np.dtype(column.dtype).itemsize


def _numbers(part: Part, rows: Rows) -> Array:
    return np.arange(*rows.indices(part.rows)) if isinstance(rows, slice) else rows


def _batches(table: Table, part: Part, names: Sequence[str], rows: Rows, size: int | None) -> Iterator[Batch]:
    """Read a block of a row group or more at a time, and give it in pieces of at most `size` rows."""
    group = row_group(table.manifest.columns)
    length, size = max(group, size or 0), size or group
    stored = dict.fromkeys(column.name for name in names for column in columns_of(table.manifest, name))
    scan = table.scan(part.id).select(list(stored))
    numbers = _numbers(part, rows)
    for block in np.split(numbers, np.searchsorted(numbers, np.arange(length, part.rows, length))):
        if not len(block):
            continue
        frame = scan.slice(int(block[0]), int(block[-1] - block[0]) + 1).collect()
        if len(block) < len(frame):
            frame = frame[block - block[0]]
        for first in range(0, len(block), size):
            piece = slice(first, first + size)
            yield Batch(part.id, block[piece], {name: _array(table.manifest, name, frame[piece]) for name in names})


def _array(manifest: Manifest, name: str, frame: pl.DataFrame) -> Array:
    """The columns of a role, or one column, in one array."""
    filled = empty(manifest, name, len(frame))
    columns = columns_of(manifest, name)
    for number, column in enumerate(columns):
        values = frame[column.name]
        target = filled[:, number] if filled.ndim > 1 and not column.shape else filled
        if column.shape:
            stored = np.dtype(column.dtype).newbyteorder("<")
            target[...] = np.frombuffer(b"".join(values.to_list()), stored).reshape(filled.shape)
        elif values.null_count() and filled.dtype.kind == "f":
            target[...] = values.cast(_float(filled.dtype)).fill_null(np.nan).to_numpy()
        else:
            target[...] = values.to_numpy()
    return filled


def _float(dtype: np.dtype[Any]) -> Any:
    import polars as pl

    return pl.Float32 if dtype == np.float32 else pl.Float64
