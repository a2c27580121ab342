"""Scores of a task, each with an interval, and naive baselines beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Scores = dict[str, Any]

METRICS = {"direction": ("accuracy", "auc", "down.f1", "up.f1", "log_loss")}
"""What a gate can ask for, by task."""
LOWER = frozenset({"log_loss", "rmse"})
"""Metrics of which less is better."""
OF_CLASSES = ("accuracy", "down.f1", "up.f1")
"""Metrics that need no probability, so that baselines have them too."""
LEVEL = 0.95


def score(task: str, target: Array, outputs: Mapping[str, Array]) -> Scores:
    """The task's metrics over some rows."""
    return {"direction": _direction}[task](target, outputs)


def _direction(target: Array, outputs: Mapping[str, Array]) -> Scores:
    """Positive is down, class 1, as the original counts; `probability` may be missing."""
    predicted = outputs["prediction"]
    tp = int(np.sum((predicted == 1) & (target == 1)))
    fp = int(np.sum((predicted == 1) & (target == 0)))
    fn = int(np.sum((predicted == 0) & (target == 1)))
    tn = int(np.sum((predicted == 0) & (target == 0)))
    scores: Scores = {
        "rows": len(target),
        "accuracy": (tp + tn) / len(target),
        "interval": wilson(tp + tn, len(target)),
        "confusion": {"tp": tp, "fp": fp, "fn": fn, "tn": tn},
        "down": _of_class(tp, fp, fn),
        "up": _of_class(tn, fn, fp),
    }
    if "probability" in outputs:
        scores |= _probabilistic(target, outputs["probability"])
    return scores


def wilson(right: int, rows: int) -> dict[str, Any]:
    """Wilson's interval of a share."""
    from scipy.stats import binomtest

    interval = binomtest(right, rows).proportion_ci(LEVEL, method="wilson")
    return {"low": float(interval.low), "high": float(interval.high), "level": LEVEL, "method": "wilson"}


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


def majority(task: str, train: Array, rows: int) -> Array:
    """The most frequent class of the training rows, for every row to predict."""
    if task != "direction":
        raise ValueError(task)
    return np.full(rows, int(train.sum() * 2 > len(train)), dtype=np.int64)


def value(scores: Mapping[str, Any], metric: str) -> float | None:
    """A metric by its dotted name; None where it is not defined or not there."""
    found: Any = scores
    for key in metric.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return None if found is None else float(found)


def sign(metric: str) -> int:
    """1 where more of the metric is better, -1 where less is."""
    return -1 if metric in LOWER else 1


def best(metric: str, scores: Mapping[str, Scores]) -> tuple[str, float]:
    """The name and value of the best of several; the first of equals."""
    known = [(name, found) for name, each in scores.items() if (found := value(each, metric)) is not None]
    return max(known, key=lambda pair: sign(metric) * pair[1])
