"""The layers of the network, as functions of weights that are listed in the order of their use.

Blocks of 3 x 3 convolutions, each followed by a normalisation and ReLU; the last one of a block also by a maximum over
2 x 2 places, which halves both sides. Then a head:

    global    the mean of each channel, a linear layer
    flat      all channels and places, a linear layer
    heatmap   a map of each point; its coordinates are the mean place under the softmax of the map
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tapeline import tensorflow as tf
from tapeline.models.network.together import ALONE, Part
from tapeline.tables.spec import Array

MOMENTUM = 0.95
"""Of the running means of batch normalisation."""
EPSILON = 1e-5
GROUPS = 8
"""Of a group normalisation, at most."""


@dataclass(frozen=True)
class Shape:
    """What a network looks like; its weights have these sizes."""

    side: int
    """Of the square images, pixels."""
    outputs: int
    widths: tuple[int, ...]
    """Channels of each block."""
    convolutions: int
    """Of each block."""
    normalisation: Literal["batch", "group", "none"]
    head: Literal["global", "flat", "heatmap"]
    hidden: int
    """Width of a ReLU layer before the last one; 0: none. The head heatmap has none."""
    dropout: float
    """Share of the values before the last layer, or the channels before the maps, that a step leaves out."""

    @property
    def last_side(self) -> int:
        """Of the maps behind the last block."""
        return self.side >> len(self.widths)


@dataclass(frozen=True)
class Draw:
    """What a training step draws dropout from."""

    seed: int
    step: Any
    batch: int = 0
    """Rows of the step, where this process has a part of them."""
    part: Part = ALONE


def initial(shape: Shape, seed: int, mean: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """He's normal weights, the same on every TensorFlow, and running means; the answers begin at the mean target."""
    random = np.random.default_rng(seed)
    weights: list[Array] = []
    statistics: list[Array] = []

    def normal(*size: int, gain: float = 2.0) -> Array:
        return (random.standard_normal(size) * math.sqrt(gain / math.prod(size[:-1]))).astype(np.float32)

    channels = 1
    for width in shape.widths:
        for _ in range(shape.convolutions):
            weights += [normal(3, 3, channels, width), np.zeros(width, np.float32)]
            channels = width
            if shape.normalisation != "none":
                weights.append(np.ones(width, np.float32))
            if shape.normalisation == "batch":
                statistics += [np.zeros(width, np.float32), np.ones(width, np.float32)]
    if shape.head == "heatmap":
        weights += [normal(1, 1, channels, shape.outputs // 2), np.eye(shape.outputs, dtype=np.float32)]
        weights.append(mean.astype(np.float32))
        return tuple(weights), tuple(statistics)
    inputs = channels * (1 if shape.head == "global" else shape.last_side**2)
    if shape.hidden:
        weights += [normal(inputs, shape.hidden), np.zeros(shape.hidden, np.float32)]
        inputs = shape.hidden
    weights += [normal(inputs, shape.outputs, gain=1e-4), mean.astype(np.float32)]
    return tuple(weights), tuple(statistics)


def forward(
    shape: Shape, weights: Sequence[Any], statistics: Sequence[Any], images: Any, draw: Draw | None, half: str | None
) -> tuple[Any, list[Any]]:
    """The encoded answers float32 [rows, outputs] to float32 images [rows, side, side, 1], and new running means.

    Args:
        shape: of the network.
        weights: in the order of `initial`.
        statistics: the running means.
        images: grey values on any scale: each is standardised.
        draw: of a training step; None: running means are used and nothing is left out.
        half: the type in which convolutions multiply, if not float32.
    """
    tensorflow = tf.load()
    given, means = iter(weights), iter(statistics)
    renewed: list[Any] = []
    values = tensorflow.cast(_standardised(images), half or "float32")
    for _ in shape.widths:
        for number in range(shape.convolutions):
            kernel = tensorflow.cast(next(given), values.dtype)
            values = tensorflow.nn.conv2d(values, kernel, 1, "SAME")
            if number == shape.convolutions - 1:
                # before what follows, which then has a quarter of the work
                values = tensorflow.nn.max_pool2d(values, 2, 2, "VALID")
            values = tensorflow.nn.relu(_normalised(shape, values, given, means, renewed, draw))
    values = tensorflow.cast(values, "float32")
    if shape.head == "heatmap":
        values = _left_out(shape, values, draw, [-1, 1, 1, values.shape[-1]])
        return _places(shape, values, given), renewed
    if shape.head == "global":
        values = tensorflow.reduce_mean(values, [1, 2])
    else:
        values = tensorflow.reshape(values, [-1, math.prod(values.shape[1:])])
    if shape.hidden:
        values = tensorflow.nn.relu(tensorflow.matmul(values, next(given)) + next(given))
    values = _left_out(shape, values, draw, [-1, values.shape[-1]])
    return tensorflow.matmul(values, next(given)) + next(given), renewed


def _standardised(images: Any) -> Any:
    """Each image with mean 0 and standard deviation 1, so that light and contrast do not matter."""
    tensorflow = tf.load()
    mean, variance = tensorflow.nn.moments(images, [1, 2, 3], keepdims=True)
    return (images - mean) / tensorflow.sqrt(variance + 1.0)


def _normalised(
    shape: Shape, values: Any, given: Iterator[Any], means: Iterator[Any], renewed: list[Any], draw: Draw | None
) -> Any:
    tensorflow = tf.load()
    bias = next(given)
    if shape.normalisation == "none":
        return values + tensorflow.cast(bias, values.dtype)
    scale = next(given)
    if shape.normalisation == "group":
        channels = values.shape[-1]
        groups = math.gcd(GROUPS, channels)
        sides = values.shape[1], values.shape[2]
        parts = tensorflow.reshape(tensorflow.cast(values, "float32"), [-1, *sides, groups, channels // groups])
        mean, variance = tensorflow.nn.moments(parts, [1, 2, 4], keepdims=True)
        parts = (parts - mean) * tensorflow.math.rsqrt(variance + EPSILON)
        return tensorflow.cast(tensorflow.reshape(parts, [-1, *sides, channels]) * scale + bias, values.dtype)
    mean, variance = next(means), next(means)
    if draw is None:
        factor = scale * tensorflow.math.rsqrt(variance + EPSILON)
        return values * tensorflow.cast(factor, values.dtype) + tensorflow.cast(bias - mean * factor, values.dtype)
    nothing = tensorflow.constant([], tensorflow.float32)
    found = tensorflow.raw_ops.FusedBatchNormV3(
        x=values, scale=scale, offset=bias, mean=nothing, variance=nothing, epsilon=EPSILON, is_training=True
    )
    for running, now in ((mean, found.batch_mean), (variance, found.batch_variance)):
        renewed.append(MOMENTUM * running + (1 - MOMENTUM) * tensorflow.stop_gradient(now))
    return found.y


def _left_out(shape: Shape, values: Any, draw: Draw | None, size: Sequence[int]) -> Any:
    """Values without a random share of them, where a step trains, the others larger by as much."""
    if draw is None or not shape.dropout:
        return values
    tensorflow = tf.load()
    key = tensorflow.stack([draw.seed % 2**31 + 104729, draw.step])

    def uniform(rows: Any) -> Any:
        return tensorflow.random.stateless_uniform([rows, *size[1:]], key)

    kept = draw.part.drawn(uniform, tensorflow.shape(values)[0], draw.batch) >= shape.dropout
    return tensorflow.where(kept, values / (1 - shape.dropout), 0.0)


def _places(shape: Shape, values: Any, given: Iterator[Any]) -> Any:
    """Coordinates [rows, outputs], x and y in turn, of the maps of points, mixed by a linear layer."""
    tensorflow = tf.load()
    points, side = shape.outputs // 2, shape.last_side
    maps = tensorflow.nn.conv2d(values, next(given), 1, "SAME")
    shares = tensorflow.nn.softmax(tensorflow.reshape(maps, [-1, side * side, points]), axis=1)
    at = (2 * np.arange(side, dtype=np.float32) + 1) / side - 1
    grid = np.stack([np.tile(at, side), np.repeat(at, side)])
    found = tensorflow.einsum("rsp,cs->rpc", shares, tensorflow.constant(grid))
    mixed, middle = next(given), next(given)
    return tensorflow.matmul(tensorflow.reshape(found, [-1, 2 * points]), mixed) + middle
