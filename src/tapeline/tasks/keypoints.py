"""Points in an image of 96 x 96 pixels: the target is float64 [rows, 2 k], x and y of each point in turn.

Coordinates are pixels from the left and the upper edge. A missing label is NaN and is left out of loss and metrics.
Outputs: `prediction` float64 [rows, 2 k]. The root mean squared error is Kaggle's: over all known numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tapeline.tables.profile import described
from tapeline.tasks import Array, Metric, Predictions, Scores, by_group, plain_sentence, regression

METRICS: tuple[Metric, ...] = (
    Metric("rmse", "pixels", 0, math.inf, "lower", "bootstrap", form=".3f"),
    Metric("within_2", "share of points within 2 pixels", 0, 1, "higher", "bootstrap"),
    Metric("within_5", "share of points within 5 pixels", 0, 1, "higher", "bootstrap"),
)
PRIMARY = TRACE = "rmse"
OUTPUTS: tuple[str, ...] = ("prediction",)
LIGHTGBM = "regression"
FIGURES: tuple[str, ...] = ("keypoints",)
QUESTION = "Where in the image are the points of the face?"
NOTE = "Labels that are missing are in no score and move no weight."
HALF = 48.0
"""Pixels from the middle of the image to its edge; networks learn coordinates in this unit."""
EXAMPLES = 8
"""Test rows of each kind that the report shows: the best, the worst, and others at equal distances."""


def score(predictions: Predictions, weight: Array | None = None, groups: Array | None = None) -> Scores:
    """All metrics; under `points` the root mean squared error of each point, in the order of the targets."""
    scores: Scores = {"rows": len(predictions["target"]), "labels": int(np.isfinite(predictions["target"]).sum())}
    for each in METRICS:
        found = float(from_sums(each.name, sums(each.name, predictions, weight).sum(axis=0)))
        scores[each.name] = found if math.isfinite(found) else None
    totals = sums("rmse", predictions).sum(axis=0).reshape(-1, 2, 2).sum(axis=1)
    scores["points"] = [float(np.sqrt(gap / known)) if known else None for known, gap in totals]
    return scores | by_group(score, predictions, weight, groups)


def sums(metric: str, predictions: Predictions, weight: Array | None = None) -> Array:
    """float64 [rows, 2 k or k, 2]: known numbers (points) and their squared errors (whether they are near enough)."""
    squares = regression.sums("rmse", predictions)
    if metric == "rmse":
        return squares
    known, gaps = squares.reshape(len(squares), -1, 2, 2).transpose(3, 0, 1, 2)
    both = known.all(axis=2)
    near = both & (gaps.sum(axis=2) <= float(metric.removeprefix("within_")) ** 2)
    return np.stack([both.astype(np.float64), near.astype(np.float64)], axis=-1)


def from_sums(metric: str, sums: Array) -> Array:
    """Of sums [..., 2 k or k, 2]: the metric [...]."""
    pooled = sums.sum(axis=-2)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.maximum(pooled[..., 1], 0) / pooled[..., 0]
    return np.asarray(np.sqrt(mean) if metric == "rmse" else mean)


def baselines(train: Array, weight: Array | None, rows: int) -> dict[str, Array]:
    """The mean place of each point on the train rows."""
    known = np.isfinite(train)
    mean = np.where(known, train, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return {"mean shape": np.tile(mean, (rows, 1))}


def describe(time: Array, target: Array, outputs: tuple[str, ...]) -> dict[str, Any]:
    """Statistics of each coordinate, the mean shape, and how many rows have which labels."""
    known = np.isfinite(target[:, ::2]) & np.isfinite(target[:, 1::2])
    patterns, counts = np.unique(known, axis=0, return_counts=True)
    order = np.lexsort((*patterns.T, -counts))[:EXAMPLES]
    return {
        "outputs": {name: described(column) for name, column in zip(outputs, target.T, strict=True)},
        "known": {
            "points": list(names_of(outputs)),
            "rows": known.sum(axis=0).tolist(),
            "complete": int(known.all(axis=1).sum()),
            "patterns": [{"rows": int(counts[at]), "known": patterns[at].tolist()} for at in order],
        },
    }


def names_of(outputs: Sequence[str]) -> tuple[str, ...]:
    """Names of the points: the target `nose_tip_x` belongs to `nose_tip`."""
    return tuple(name.removesuffix("_x") for name in outputs[::2])


def examples(predictions: Predictions) -> Array:
    """Numbers of the rows that a report shows: those with the least and the greatest error, and some between them."""
    totals = sums("rmse", predictions).sum(axis=1)
    labelled = np.flatnonzero(totals[:, 0] > 0)
    order = labelled[np.argsort(totals[labelled, 1] / totals[labelled, 0], kind="stable")]
    spread = order[np.linspace(0, len(order) - 1, min(len(order), 2 * EXAMPLES)).astype(np.int64)]
    return np.unique(np.concatenate([order[:EXAMPLES], order[-EXAMPLES:], spread]))


def encode(target: Array) -> Array:
    """float32 [rows, 2 k]: distances from the middle of the image, -1 and 1 at its edges; NaN is a missing label."""
    return ((target - HALF) / HALF).astype(np.float32)


def loss(tf: Any) -> Callable[[Any, Any], Any]:
    """The squared error of the labels that are there."""
    return regression.loss(tf)


def train_score(tf: Any) -> Callable[[Any, Any], Any]:
    """Root mean squared error in pixels."""
    rmse = regression.train_score(tf)
    return lambda outputs, target: HALF * rmse(outputs, target)


def trace_score(prediction: Array, target: Array) -> float:
    """Root mean squared error in pixels."""
    return regression.trace_score(prediction, target)


def outputs(tf: Any, values: Any) -> dict[str, Any]:
    """Coordinates in pixels."""
    return {"prediction": tf.cast(values, tf.float64) * HALF + HALF}


def mirrored(outputs: Sequence[str]) -> tuple[int, ...]:
    """The order of a mirror image's targets: a name with `left` changes places with the same name with `right`."""
    names = {name: at for at, name in enumerate(outputs)}
    swap = {"left": "right", "right": "left"}
    others = ("_".join(swap.get(word, word) for word in name.split("_")) for name in outputs)
    return tuple(names.get(other, at) for at, other in enumerate(others))


def mirror(tf: Any, values: Any, order: Sequence[int]) -> Any:
    """Encoded coordinates [rows, 2 k] of the mirror image."""
    sign = np.tile(np.array([-1, 1], np.float32), len(order) // 2)
    return tf.gather(values, list(order), axis=1) * sign


def moved(tf: Any, target: Any, matrix: Any, shift: Any, mirrored: Any, order: Sequence[int]) -> Any:
    """Encoded coordinates after c -> M c + t; missing are also those that left the image.

    Args:
        tf: TensorFlow.
        target: float32 [rows, 2 k].
        matrix: M, float32 [rows, 2, 2].
        shift: t, float32 [rows, 2].
        mirrored: bool [rows]: M mirrors the image, so left and right change places.
        order: as `mirrored` gives it.
    """
    named = tf.where(mirrored[:, None], tf.gather(target, list(order), axis=1), target)
    points = tf.reshape(named, [-1, len(order) // 2, 2])
    found = tf.einsum("rij,rkj->rki", matrix, points) + shift[:, None, :]
    inside = tf.reduce_all(tf.abs(found) <= 1.0, axis=2, keepdims=True)
    return tf.reshape(tf.where(inside, found, np.nan), [-1, len(order)])


def sentence(metric: str) -> str:
    """Shares as per cent, others by the metric's name."""
    if metric.startswith("within_"):
        near = metric.removeprefix("within_")
        return (
            f"On {{rows:,d}} {{unit}} that it had never seen, {{{metric}:.1%}} of the points are within {near} pixels."
        )
    return plain_sentence(metric, ".3f", "pixels")


def kfp(test: Mapping[str, Any], predictions: Predictions) -> dict[str, Any]:
    """Nothing: KFP draws confusions and ROC curves alone."""
    return {}
