"""The digest of a frame's values: the same for equal values, whatever their types' widths and the frame's chunks."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tapeline import files

if TYPE_CHECKING:
    import polars as pl

BLOCK = 1 << 20
"""Values that are converted at once."""


def digest_frame(frame: pl.DataFrame) -> str:
    """SHA-256, in hex, of a frame's column names and values, in their order.

    Numbers count by value (1 and 1.0 are equal), times by instant, text by its bytes, lists by their
    items. A missing value (null) differs from NaN, and all NaN are equal.

    Raises:
        TypeError: a column holds Python objects.
    """
    return files.digest([[name, _digest(frame[name])] for name in frame.columns])


def _digest(values: pl.Series) -> str:
    import polars as pl

    dtype = values.dtype
    if dtype == pl.Object:
        raise TypeError(f"column {values.name} holds Python objects")
    if isinstance(dtype, pl.Array):
        return _digest(values.arr.to_list())
    if isinstance(dtype, pl.List):
        filled = values.filter((values.list.len() > 0).fill_null(value=False))
        lengths = values.list.len().fill_null(0).cast(pl.Int64).to_numpy()
        return files.digest("list", _missing(values), lengths.astype("<i8").tobytes(), _digest(filled.explode()))
    if isinstance(dtype, pl.Struct):
        fields = [[field.name, _digest(values.struct.field(field.name))] for field in dtype.fields]
        return files.digest("struct", _missing(values), fields)
    if dtype == pl.Binary:
        return _bytes(values, "binary")
    if dtype.is_temporal():
        values = _nanoseconds(values)
    elif not (dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)):
        return _bytes(values.cast(pl.String).cast(pl.Binary), "text")
    return _numbers(values) if _fits_float64(values) else _bytes(values.cast(pl.String).cast(pl.Binary), "number")


def _numbers(values: pl.Series) -> str:
    """As float64, a block at a time."""
    import polars as pl

    missing = _missing(values)
    sha = hashlib.sha256(struct.pack(">q", len(missing)) + missing + struct.pack(">q", 8 * len(values)))
    for block in _blocks(values, BLOCK):
        numbers = block.fill_null(0).cast(pl.Float64).to_numpy().astype("<f8")
        numbers[np.isnan(numbers)] = np.nan
        sha.update(numbers.data)
    return sha.hexdigest()


def _bytes(values: pl.Series, kind: str) -> str:
    import polars as pl

    lengths = values.bin.size().fill_null(0).cast(pl.Int64).to_numpy()
    sha = hashlib.sha256()
    for block in _blocks(values, BLOCK >> 6):
        sha.update(b"".join(block.drop_nulls().to_list()))
    return files.digest(kind, _missing(values), lengths.astype("<i8").tobytes(), sha.hexdigest())


def _missing(values: pl.Series) -> bytes:
    return values.is_null().to_numpy().tobytes()


def _nanoseconds(values: pl.Series) -> pl.Series:
    import polars as pl

    if values.dtype in (pl.Date, pl.Datetime):
        return values.cast(pl.Datetime("ns")).to_physical()
    return (values.cast(pl.Duration("ns")) if values.dtype == pl.Duration else values).to_physical()


def _fits_float64(values: pl.Series) -> bool:
    """Whether float64 holds every number exactly; it does not hold all whole numbers beyond 2**53."""
    import polars as pl

    if values.dtype.is_decimal():
        return False
    if not values.dtype.is_integer():
        return True
    exact = (block.cast(pl.Float64).cast(pl.Int128) == block.cast(pl.Int128) for block in _blocks(values, BLOCK))
    return all(bool(block.all()) for block in exact)


def _blocks(values: pl.Series, size: int) -> Iterator[pl.Series]:
    return (values[first : first + size] for first in range(0, len(values), size))
