"""Images of a batch mirrored, turned, zoomed and shifted at random, inside the graph; their labels follow.

Coordinates are shares of half a side from the middle of the image: -1 is the left or upper edge, 1 the right or lower.
A point c moves to M c + t with M = zoom * turn * mirror; draws depend on seed and step alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapeline import tensorflow as tf

Follow = Callable[[Any, Any, Any, Any], Any]
"""Encoded target, M [rows, 2, 2], t [rows, 2] and mirrored bool [rows] -> the target of the moved images."""


@dataclass(frozen=True)
class Changes:
    """How far images are moved, at most."""

    flips: bool
    """Half of the images are mirrored, left to right."""
    shifts: float
    """Pixels to each side."""
    turns: float
    """Degrees to each side."""
    zooms: float
    """0.1: from 1 / 1.1 to 1.1 times."""

    @property
    def none(self) -> bool:
        """Whether images stay as they are."""
        return not (self.flips or self.shifts or self.turns or self.zooms)


def drawn(changes: Changes, rows: Any, side: int, seed: int, step: Any) -> tuple[Any, Any, Any]:
    """M float32 [rows, 2, 2], t [rows, 2] and mirrored bool [rows] of a batch of square images."""
    tensorflow = tf.load()

    def uniform(number: int, width: int, reach: float) -> Any:
        key = tensorflow.stack([seed % 2**31 + number * 7919, step])
        return tensorflow.random.stateless_uniform([rows, width], key, -reach, reach)

    mirrored = uniform(0, 1, 1.0)[:, 0] < (0.0 if changes.flips else -1.0)
    sign = tensorflow.where(mirrored, -1.0, 1.0)
    angle = uniform(1, 1, changes.turns * np.pi / 180)[:, 0]
    zoom = tensorflow.exp(uniform(2, 1, float(np.log1p(changes.zooms)))[:, 0])
    shift = uniform(3, 2, 2 * changes.shifts / side)
    cos, sin = zoom * tensorflow.cos(angle), zoom * tensorflow.sin(angle)
    matrix = tensorflow.stack([tensorflow.stack([cos * sign, -sin], 1), tensorflow.stack([sin * sign, cos], 1)], 1)
    return matrix, shift, mirrored


def moved(images: Any, matrix: Any, shift: Any) -> Any:
    """The images float32 [rows, side, side, 1] after their points moved; edges are continued outwards."""
    tensorflow = tf.load()
    half = images.shape[1] / 2
    inverse = tensorflow.linalg.inv(matrix)
    # a pixel's middle lies half a pixel behind its number
    middle = tensorflow.constant([half - 0.5, half - 0.5])
    offset = middle - tensorflow.linalg.matvec(inverse, half * shift + middle)
    rows = tensorflow.concat([inverse, offset[:, :, None]], axis=2)
    last = tensorflow.zeros_like(rows[:, 0, :2])
    return tensorflow.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tensorflow.concat([tensorflow.reshape(rows, [-1, 6]), last], axis=1),
        output_shape=tensorflow.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
