"""LightGBM's binned data of an array in memory, or of a file that is read a block at a time."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from tapeline.models import Array, Rows

BLOCK = 1 << 16
"""Rows that are read at once."""
SCORED = 100_000
"""Rows of a train score, at most, spread evenly."""


def of(
    rows: Rows, categorical: tuple[int, ...], reference: Any = None, parameters: dict[str, Any] | None = None
) -> Any:
    """A lightgbm.Dataset; the features of a numpy.memmap are never in memory as a whole.

    Args:
        rows: all of them with a label, targets [rows].
        categorical: positions of the features that are categories.
        reference: the Dataset of the train rows, where these are validation rows.
        parameters: of the training; None: its call makes the bins, which several workers do together.
    """
    import lightgbm

    features = _sequence(rows.features) if isinstance(rows.features, np.memmap) else rows.features
    data = lightgbm.Dataset(
        features,
        rows.target,
        reference=reference,
        weight=rows.weight,
        categorical_feature=list(categorical) or "auto",
        params=parameters,
    )
    if parameters is not None:
        data.construct().label = None  # a copy of what LightGBM has; get_label copies it again
    return data


def sample(rows: Rows) -> tuple[Array, Array]:
    """Features and targets of the rows of a train score; those of a memory map are read from its file."""
    every = max(1, -(-len(rows.target) // SCORED))
    features = rows.features
    if isinstance(features, np.memmap):
        read = _reader(features)
        blocks = (range(first, min(first + BLOCK, len(features))) for first in range(0, len(features), BLOCK))
        # a copy, which does not keep the whole block
        features = np.concatenate([read(each[0], len(each))[-each[0] % every :: every].copy() for each in blocks])
    else:
        features = features[::every]
    return features, rows.target[::every]


def _reader(features: np.memmap[Any, Any]) -> Callable[[int, int], Array]:
    """Reads some rows from a first one on; pages of a memory map would count as memory of the process."""
    size, width = features.dtype.itemsize * features.shape[1], features.shape[1]
    file = open(str(features.filename), "rb")  # noqa: SIM115  # closed with the function

    def read(first: int, count: int) -> Array:
        file.seek(features.offset + first * size)
        return np.frombuffer(file.read(count * size), features.dtype).reshape(count, width)

    weakref.finalize(read, file.close)
    return read


def _sequence(features: np.memmap[Any, Any]) -> Any:
    """A lightgbm.Sequence that reads the file itself."""
    import lightgbm

    rows, read = len(features), _reader(features)

    class Blocks(lightgbm.Sequence):  # type: ignore[misc]
        batch_size = BLOCK

        def __len__(self) -> int:
            return int(rows)

        def __getitem__(self, index: Any) -> Array:
            if isinstance(index, slice):
                first, last, _ = index.indices(rows)
                return read(first, last - first).astype(np.float64)  # LightGBM takes no other samples
            if isinstance(index, list):
                return np.concatenate([read(each, 1) for each in index]).astype(np.float64)
            return np.asarray(read(int(index), 1)[0], np.float64)

    return Blocks()
