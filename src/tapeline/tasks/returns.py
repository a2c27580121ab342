"""Returns of several assets, judged by the weighted correlation of target and forecast over all of them.

The target is float64 [rows] or [rows, outputs], NaN where a label is missing; the table's weight is the asset's. The
metric is that of G-Research's competition: covariance and variances of the weighted rows; those without a label are
left out.
"""

from __future__ import annotations

from tapeline.tasks import Array, Metric, Predictions, Scores, by_group, plain_sentence, regression
from tapeline.tasks.regression import OUTPUTS, baselines, describe, encode, kfp, loss, outputs, trace_score, train_score

__all__ = [
    "FIGURES",
    "LIGHTGBM",
    "METRICS",
    "NOTE",
    "OUTPUTS",
    "PRIMARY",
    "QUESTION",
    "TRACE",
    "baselines",
    "describe",
    "encode",
    "from_sums",
    "kfp",
    "loss",
    "outputs",
    "score",
    "sentence",
    "sums",
    "trace_score",
    "train_score",
]

CORRELATION = Metric("weighted_correlation", "of target and forecast", -1, 1, "higher", "bootstrap")
METRICS: tuple[Metric, ...] = (CORRELATION, *(each for each in regression.METRICS if each.name in ("rmse", "mae")))
PRIMARY = CORRELATION.name
TRACE = "rmse"
LIGHTGBM = "regression"
FIGURES: tuple[str, ...] = ("groups", "errors")
QUESTION = "What will the return be, less that of the market?"
NOTE = "Rows without a label are in no score."


def score(predictions: Predictions, weight: Array | None = None, groups: Array | None = None) -> Scores:
    """Weighted correlation, root mean squared and mean absolute error."""
    found = regression.some(("correlation", "rmse", "mae"), predictions, weight)
    scores: Scores = {"rows": found["rows"], "labels": found["labels"], PRIMARY: found["correlation"]}
    return scores | {name: found[name] for name in ("rmse", "mae")} | by_group(score, predictions, weight, groups)


def sums(metric: str, predictions: Predictions, weight: Array | None = None) -> Array:
    """As `regression.sums`; the errors are not weighted."""
    return regression.sums("correlation" if metric == PRIMARY else metric, predictions, weight)


def from_sums(metric: str, sums: Array) -> Array:
    """As `regression.from_sums`."""
    return regression.from_sums("correlation" if metric == PRIMARY else metric, sums)


def sentence(metric: str) -> str:
    """By the metric's name."""
    return plain_sentence(metric, next((each.form for each in METRICS if each.name == metric), ".4f"))
