"""One number or several: the target is float64 [rows] or [rows, outputs], NaN where a label is missing.

Missing labels are left out of loss and metrics. Outputs: `prediction` float64 [rows, outputs].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tapeline.tables.profile import COLUMNS, described
from tapeline.tasks import Array, Metric, Predictions, Scores, by_group, plain_sentence

METRICS: tuple[Metric, ...] = (
    Metric("rmse", "in the target's unit", 0, math.inf, "lower", "bootstrap", form=".5g"),
    Metric("mae", "in the target's unit", 0, math.inf, "lower", "bootstrap", form=".5g"),
    Metric("correlation", "of truth and prediction", -1, 1, "higher", "bootstrap"),
    Metric("r2", "share of variance explained", -math.inf, 1, "higher", "bootstrap"),
)
PRIMARY = TRACE = "rmse"
OUTPUTS: tuple[str, ...] = ("prediction",)
LIGHTGBM = "regression"
FIGURES: tuple[str, ...] = ("over_time", "errors")
QUESTION = "What will the target be?"
NOTE = "Rows without a label are in no score."
CONSTANT = 1e-14
"""A variance of less than this share of the mean square is rounding."""


def score(predictions: Predictions, weight: Array | None = None, groups: Array | None = None) -> Scores:
    """All metrics; root mean squared and mean absolute errors are of all outputs, the others means over outputs."""
    found = some([each.name for each in METRICS], predictions, weight)
    return found | by_group(score, predictions, weight, groups)


def some(metrics: Iterable[str], predictions: Predictions, weight: Array | None = None) -> Scores:
    """Rows, labels and these metrics."""
    scores: Scores = {"rows": len(predictions["target"]), "labels": int(np.isfinite(_columns(predictions)[0]).sum())}
    for each in metrics:
        found = float(from_sums(each, sums(each, predictions, weight).sum(axis=0)))
        scores[each] = found if math.isfinite(found) else None
    return scores


def _columns(predictions: Predictions) -> tuple[Array, Array]:
    """Truth and forecast, float64 [rows, outputs] each."""
    truth, forecast = (predictions[name] for name in ("target", "prediction"))
    rows = len(truth)
    return tuple(each.reshape(rows, -1).astype(np.float64, copy=False) for each in (truth, forecast))  # type: ignore[return-value]


def sums(metric: str, predictions: Predictions, weight: Array | None = None) -> Array:
    """What the metric sums over rows: float64 [rows, outputs, terms], zeros where a label is missing.

    The correlation alone is weighted, where there is a weight.
    """
    truth, forecast = _columns(predictions)
    known = np.isfinite(truth)
    if metric == "correlation":
        return _products(known, truth, forecast, weight)
    one = known.astype(np.float64)
    gap = np.where(known, forecast - np.where(known, truth, 0), 0)
    if metric == "rmse":
        return np.stack([one, gap**2], axis=-1)
    if metric == "mae":
        return np.stack([one, np.abs(gap)], axis=-1)
    y = _centred(truth, known)
    return np.stack([one, y, y**2, gap**2], axis=-1)


def _products(known: Array, truth: Array, forecast: Array, weight: Array | None) -> Array:
    """The terms of a correlation, in one array: of many rows there is no room for them beside it."""
    found = np.empty((*known.shape, 6))
    w, of_y, of_p, of_yy, of_pp, of_yp = np.moveaxis(found, -1, 0)
    np.multiply(known, 1.0 if weight is None else weight[:, None], out=w)
    # centred, so that little is lost where values are far from 0
    y = _centred(truth, known)
    np.multiply(w, y, out=of_y)
    np.multiply(w, np.multiply(y, y, out=of_yy), out=of_yy)
    del y
    p = _centred(forecast, known)
    np.multiply(w, p, out=of_p)
    np.multiply(w, np.multiply(p, p, out=of_pp), out=of_pp)
    np.multiply(of_y, p, out=of_yp)
    return found


def _centred(values: Array, known: Array) -> Array:
    """Known values less their mean, by column; a constant becomes exactly 0, and so do the others."""
    found = np.where(known, values, 0)
    middle = found.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    low = values.min(axis=0, where=known, initial=np.inf)
    high = values.max(axis=0, where=known, initial=-np.inf)
    found -= np.where(low == high, low, middle)
    found[~known] = 0
    return found


def from_sums(metric: str, sums: Array) -> Array:
    """Of sums [..., outputs, terms]: the metric [...]; a constant forecast has correlation 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric in ("rmse", "mae"):
            pooled = sums.sum(axis=-2)
            mean = np.maximum(pooled[..., 1], 0) / pooled[..., 0]
            return np.asarray(np.sqrt(mean) if metric == "rmse" else mean)
        n = sums[..., 0]
        if metric == "r2":
            spread = _spread(n, sums[..., 1], sums[..., 2])
            return _mean(np.where(spread > 0, 1 - sums[..., 3] / n / spread, np.nan))
        y, p = sums[..., 1] / n, sums[..., 2] / n
        of_y, of_p = _spread(n, sums[..., 1], sums[..., 3]), _spread(n, sums[..., 2], sums[..., 4])
        raw = (sums[..., 5] / n - y * p) / np.sqrt(of_y * of_p)
        return _mean(np.where(of_y > 0, np.where(of_p > 0, np.clip(raw, -1, 1), 0), np.nan))


def _spread(n: Array, total: Array, squares: Array) -> Array:
    """The variance, exactly 0 where it is no more than rounding."""
    square = squares / n
    variance = square - (total / n) ** 2
    return np.where(variance > CONSTANT * square, variance, 0)


def _mean(values: Array) -> Array:
    """Over outputs, the last axis, of those that are defined; NaN where none is."""
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0).sum(axis=-1) / known.sum(axis=-1))


def baselines(train: Array, weight: Array | None, rows: int) -> dict[str, Array]:
    """The mean of the train rows' labels, and zero where labels lie on both sides of it, as returns do."""
    columns = train.reshape(len(train), -1)
    known = np.isfinite(columns)
    mean = np.where(known, columns, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    found = {"train mean": np.tile(mean, (rows, 1))}
    if (columns[known] < 0).any() and (columns[known] > 0).any():
        found["zero"] = np.zeros((rows, columns.shape[1]))
    return found


def describe(time: Array, target: Array, outputs: tuple[str, ...]) -> dict[str, Any]:
    """Statistics of each output."""
    columns = target.reshape(len(target), -1).astype(float)[:, :COLUMNS]
    return {"outputs": {name: described(column) for name, column in zip(outputs, columns.T, strict=False)}}


def encode(target: Array) -> Array:
    """float32 [rows, outputs]; NaN is a missing label."""
    return target.reshape(len(target), -1).astype(np.float32)


def loss(tf: Any) -> Callable[[Any, Any], Any]:
    """The squared error of the labels that are there."""

    def squares(outputs: Any, target: Any) -> Any:
        # Both branches of a where are differentiated, so NaN must be gone before the subtraction.
        known = tf.math.is_finite(target)
        error = tf.where(known, outputs - tf.where(known, target, 0.0), 0.0)
        return tf.reduce_sum(tf.square(error))

    return squares


def train_score(tf: Any) -> Callable[[Any, Any], Any]:
    """Root mean squared error."""
    squares = loss(tf)

    def rmse(outputs: Any, target: Any) -> Any:
        known = tf.math.is_finite(target)
        return tf.sqrt(squares(outputs, target) / tf.reduce_sum(tf.cast(known, tf.float32)))

    return rmse


def trace_score(prediction: Array, target: Array) -> float:
    """Root mean squared error."""
    gaps = prediction.reshape(-1) - target.reshape(-1)
    return float(np.sqrt(np.mean(gaps[np.isfinite(gaps)] ** 2)))


def outputs(tf: Any, values: Any) -> dict[str, Any]:
    """The numbers as they are."""
    return {"prediction": tf.cast(values, tf.float64)}


def sentence(metric: str) -> str:
    """By the metric's name."""
    return plain_sentence(metric, next((each.form for each in METRICS if each.name == metric), ".4f"))


def kfp(test: Mapping[str, Any], predictions: Predictions) -> dict[str, Any]:
    """Nothing: KFP draws confusions and ROC curves alone."""
    return {}
