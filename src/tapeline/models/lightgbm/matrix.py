"""LightGBM's binned data of an array in memory, or of a file that is read a block at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapeline.models import Array, Rows

BLOCK = 1 << 16
"""Rows that are read at once."""
SCORED = 100_000
"""Rows of a train score, at most, spread evenly."""


def of(rows: Rows, categorical: tuple[int, ...], reference: Any = None) -> Any:
    """A lightgbm.Dataset; the features of a numpy.memmap are never in memory as a whole.

    Args:
        rows: all of them with a label, targets [rows].
        categorical: positions of the features that are categories.
        reference: the Dataset of the train rows, where these are validation rows.
    """
    import lightgbm

    features = _sequence(rows.features) if isinstance(rows.features, np.memmap) else rows.features
    return lightgbm.Dataset(
        features,
        rows.target,
        reference=reference,
        weight=rows.weight,
        categorical_feature=list(categorical) or "auto",
    )


def spread(rows: int) -> slice:
    """Row numbers of a train score."""
    return slice(None, None, max(1, -(-rows // SCORED)))


def _sequence(features: np.memmap[Any, Any]) -> Any:
    """A lightgbm.Sequence that reads the file itself: pages of a memory map would count as memory of the process."""
    import lightgbm

    rows, width = features.shape
    size, offset, dtype = features.dtype.itemsize * width, features.offset, features.dtype
    file = open(str(features.filename), "rb")  # noqa: SIM115  # closed with the sequence

    class Blocks(lightgbm.Sequence):  # type: ignore[misc]
        batch_size = BLOCK

        def __len__(self) -> int:
            return int(rows)

        def __getitem__(self, index: Any) -> Array:
            if isinstance(index, slice):
                first, last, _ = index.indices(rows)
                return _read(first, last - first)
            if isinstance(index, list):
                return np.concatenate([_read(each, 1) for each in index])
            return np.asarray(_read(int(index), 1)[0])

        def __del__(self) -> None:
            file.close()

    def _read(first: int, count: int) -> Array:
        file.seek(offset + first * size)
        values = np.frombuffer(file.read(count * size), dtype).reshape(count, width)
        return values.astype(np.float64)  # LightGBM takes no other samples

    return Blocks()
