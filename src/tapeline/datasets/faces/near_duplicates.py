"""Images that are nearly the same, and rows of one person, as groups that stay on one side of a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tapeline.tables.spec import Array

ALIKE = {12: 0.95, 24: 0.9}
"""Images are compared pixel by pixel if, shrunken to so many cells a side, they have at least this correlation."""
SHIFT = 2
"""Pixels by which a copy may be shifted, to each side."""
NEAR = 0.1
"""Copies differ by at most this share of the variance of the grey values, where they overlap."""
BLOCK = 512
"""Images that are compared with all others at once."""


def groups_of(images: Array, persons: Sequence[str | None]) -> list[str]:
    """The group of each image, named after its first row.

    Args:
        images: uint8 [rows, side, side].
        persons: who it is; None where that is not known.
    """
    first = np.arange(len(images))

    def root(row: int) -> int:
        while first[row] != row:
            row = int(first[row])
        return row

    for one, other in (*_same_person(persons), *_near(images)):
        low, high = sorted((root(one), root(other)))
        first[high] = low
    return [str(root(row)) for row in range(len(images))]


def _same_person(persons: Sequence[str | None]) -> Iterator[tuple[int, int]]:
    seen: dict[str, int] = {}
    for row, person in enumerate(persons):
        if person is not None:
            yield seen.setdefault(person, row), row


def _near(images: Array) -> Iterator[tuple[int, int]]:
    """Pairs of rows whose images are copies of each other, up to a shift, light and contrast."""
    small = {cells: _shrunken(images, cells) for cells in ALIKE}
    for start in range(0, len(images), BLOCK):
        alike = np.logical_and.reduce(
            [small[cells][start : start + BLOCK] @ small[cells].T >= least for cells, least in ALIKE.items()]
        )
        for one, other in zip(*np.nonzero(alike), strict=True):
            if start + one < other and _copies(images[start + one], images[other]):
                yield int(start + one), int(other)


def _shrunken(images: Array, cells: int) -> Array:
    """float32 [rows, cells * cells]: means of cells, with mean 0 and length 1; a plain image has length 0."""
    cell = images.shape[1] // cells
    means = images.reshape(-1, cells, cell, cells, cell).mean(axis=(2, 4), dtype=np.float32).reshape(len(images), -1)
    means -= means.mean(axis=1, keepdims=True)
    return np.asarray(means / np.maximum(np.sqrt((means**2).sum(axis=1, keepdims=True)), 1e-6))


def _copies(one: Array, other: Array) -> bool:
    """Whether one of the shifts makes the images differ by little."""
    side = len(one)
    inner = _standardised(one[SHIFT : side - SHIFT, SHIFT : side - SHIFT])
    for down in range(2 * SHIFT + 1):
        for right in range(2 * SHIFT + 1):
            moved = other[down : down + side - 2 * SHIFT, right : right + side - 2 * SHIFT]
            if float(np.mean((inner - _standardised(moved)) ** 2)) <= NEAR:
                return True
    return False


def _standardised(image: Array) -> Array:
    values = image.astype(np.float32)
    return np.asarray((values - values.mean()) / max(float(values.std()), 1e-6))
