"""Whether a price goes down: 0 up or flat, 1 down. Positive is down, as the original system counts.

Outputs: `prediction` int64 [rows], and `probability` float64 [rows, 2] of both classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tapeline.tables.profile import periods, significant
from tapeline.tasks import Array, Metric, Predictions, Scores, by_group, plain_sentence

METRICS: tuple[Metric, ...] = (
    Metric("accuracy", "share of rows", 0, 1, "higher", "wilson"),
    Metric("auc", "0.5 is chance", 0, 1, "higher", "jackknife", needs_probability=True),
    Metric("down.f1", "from 0 to 1", 0, 1, "higher", "jackknife"),
    Metric("up.f1", "from 0 to 1", 0, 1, "higher", "jackknife"),
    Metric("log_loss", "nats a row", 0, math.inf, "lower", "jackknife", needs_probability=True),
)
PRIMARY = TRACE = "accuracy"
OUTPUTS: tuple[str, ...] = ("prediction", "probability")
LIGHTGBM = "binary"
FIGURES: tuple[str, ...] = ("over_time", "signal", "breakdown", "confusion", "confidence", "probabilities")
QUESTION = "Will it go down?"
NOTE = "Positive is down, as the original system counts."


def score(predictions: Predictions, weight: Array | None = None, groups: Array | None = None) -> Scores:
    """Accuracy, confusion and the scores of both classes; AUC and log loss where there are probabilities."""
    target, predicted = predictions["target"], predictions["prediction"]
    tp = int(np.sum((predicted == 1) & (target == 1)))
    fp = int(np.sum((predicted == 1) & (target == 0)))
    fn = int(np.sum((predicted == 0) & (target == 1)))
    tn = int(np.sum((predicted == 0) & (target == 0)))
    scores: Scores = {
        "rows": len(target),
        "accuracy": (tp + tn) / len(target),
        "confusion": {"tp": tp, "fp": fp, "fn": fn, "tn": tn},
        "down": _of_class(tp, fp, fn),
        "up": _of_class(tn, fn, fp),
    }
    if "probability" in predictions:
        scores |= _probabilistic(target, predictions["probability"])
    return scores | by_group(score, predictions, weight, groups)


def _of_class(hits: int, false_alarms: int, misses: int) -> dict[str, float]:
    """Precision, recall and F1, each 0 where its denominator is, as the original has it."""
    precision = hits / (hits + false_alarms) if hits + false_alarms else 0.0
    recall = hits / (hits + misses) if hits + misses else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def _probabilistic(target: Array, probability: Array) -> dict[str, float | None]:
    """Log loss, and AUC of the probability of down (None where only one class occurs)."""
    from sklearn.metrics import log_loss, roc_auc_score

    both = 0 < target.sum() < len(target)
    return {
        "log_loss": float(log_loss(target, probability, labels=[0, 1])),
        "auc": float(roc_auc_score(target, probability[:, 1])) if both else None,
    }


def sums(metric: str, predictions: Predictions, weight: Array | None = None) -> Array | None:
    """Right answers and rows, for the accuracy."""
    if metric != "accuracy":
        return None
    right = predictions["prediction"] == predictions["target"]
    return np.stack([right.astype(float), np.ones(len(right))], axis=1)


def from_sums(metric: str, sums: Array) -> Array:
    """The share of right answers."""
    return np.asarray(sums[..., 0] / sums[..., 1])


def baselines(train: Array, weight: Array | None, rows: int) -> dict[str, Array]:
    """The most frequent class of the train rows."""
    return {"majority": np.full(rows, int(train.sum() * 2 > len(train)), dtype=np.int64)}


def describe(time: Array, target: Array, outputs: tuple[str, ...]) -> dict[str, Any]:
    """How often it goes down, by year or a shorter span."""
    labels, which = periods(time)
    rows = np.bincount(which, minlength=len(labels))
    share = np.bincount(which, target, len(labels)) / rows
    return {"down": {"periods": labels, "rows": rows.tolist(), "share": [significant(each) for each in share]}}


def encode(target: Array) -> Array:
    """One-hot, float32 [rows, 2]."""
    return np.eye(2, dtype=np.float32)[target]


def loss(tf: Any) -> Callable[[Any, Any], Any]:
    """Cross entropy."""
    return lambda outputs, target: tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(target, outputs))


def train_score(tf: Any) -> Callable[[Any, Any], Any]:
    """Accuracy."""

    def accuracy(outputs: Any, target: Any) -> Any:
        right = tf.argmax(outputs, 1) == tf.argmax(target, 1)
        return tf.reduce_mean(tf.cast(right, tf.float64))

    return accuracy


def trace_score(prediction: Array, target: Array) -> float:
    """Accuracy."""
    return float(np.mean(prediction == target))


def outputs(tf: Any, values: Any) -> dict[str, Any]:
    """The likelier class, and softmax probabilities."""
    return {"prediction": tf.argmax(values, 1), "probability": tf.nn.softmax(tf.cast(values, tf.float64))}


def sentence(metric: str) -> str:
    """Accuracy in words, others by name."""
    if metric == "accuracy":
        return "The model was right on {accuracy:.1%} of {rows:,d} {unit} that it had never seen."
    return plain_sentence(metric)


def words(answer: Mapping[str, Any]) -> str:
    """One row's answer for people: the class, and its probability where there is one."""
    down = answer["prediction"]
    if down not in (0, 1):
        return "no answer, since a value that it needs is missing"
    probability = answer.get("probability")
    text = "down" if down else "up or flat"
    return f"{text}, {sure(probability[down])}" if probability else text


def sure(probability: float) -> str:
    """A probability in whole percent; a forecast is never certain."""
    percent = round(100 * probability)
    return "more than 99 %" if percent == 100 else f"{percent} %"


def kfp(test: Mapping[str, Any], predictions: Predictions) -> dict[str, Any]:
    """The confusion of up and down, and the ROC curve of the probability of down."""
    shown: dict[str, Any] = {}
    if counts := test.get("confusion"):
        rows = [[counts["tn"], counts["fp"]], [counts["fn"], counts["tp"]]]
        names = [{"displayName": name} for name in ("up", "down")]
        shown["confusionMatrix"] = {"annotationSpecs": names, "rows": [{"row": row} for row in rows]}
    target, probability = predictions.get("target"), predictions.get("probability")
    if target is not None and probability is not None and len(np.unique(target)) == 2:
        shown["confidenceMetrics"] = _roc(target, probability[:, 1])
    return shown


def _roc(target: Array, down: Array) -> list[dict[str, float]]:
    from sklearn.metrics import roc_curve

    points = zip(*roc_curve(target, down), strict=True)
    return [
        # the first threshold is infinity: none is that sure
        {"confidenceThreshold": min(float(at), 1.0), "falsePositiveRate": float(false), "recall": float(true)}
        for false, true, at in points
    ]
