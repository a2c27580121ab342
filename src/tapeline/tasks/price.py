"""The next price of one thing, forecast as a log return: target float64 [rows], NaN where a label is missing.

The target is ln(price / last price). The context column `last_price` is the last price that is known, so that a
forecast is the price last_price * exp(prediction). Outputs: `prediction` float64 [rows, 1], the log return.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tapeline.tasks import Array, Metric, Predictions, Scores, by_group, plain_sentence
from tapeline.tasks.regression import LIGHTGBM, OUTPUTS, describe, encode, loss, outputs, trace_score, train_score

__all__ = [
    "FIGURES",
    "LIGHTGBM",
    "METRICS",
    "NOTE",
    "OUTPUTS",
    "PRIMARY",
    "QUESTION",
    "TARGET",
    "TRACE",
    "answer",
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

LAST = "last_price"
"""The context column that the task needs."""
FOR = "forecast_for"
"""A context column that it shows where a table has it: the time of the price that is forecast."""
METRICS: tuple[Metric, ...] = (
    Metric("rmse", "{unit}", 0, math.inf, "lower", "bootstrap", form=",.2f"),
    Metric("mae", "{unit}", 0, math.inf, "lower", "bootstrap", form=",.2f"),
    Metric("mape", "share of the price", 0, math.inf, "lower", "bootstrap", form=".4f"),
    Metric("rmse_log_return", "log return", 0, math.inf, "lower", "bootstrap", form=".5f"),
    Metric("mae_log_return", "log return", 0, math.inf, "lower", "bootstrap", form=".5f"),
    Metric("direction_accuracy", "share of rows", 0, 1, "higher", "bootstrap"),
)
PRIMARY = "rmse"
TRACE = "rmse_log_return"
TARGET = "log return"
"""The unit of target and prediction, for charts."""
FIGURES: tuple[str, ...] = ("over_time", "errors")
QUESTION = "What will the price be?"
NOTE = (
    "The model forecasts the log return from the last known price; rmse, mae and mape are errors of the price that "
    "follows from it. Direction accuracy is the share of rows on which both fall, or both do not."
)


def score(predictions: Predictions, weight: Array | None = None, groups: Array | None = None) -> Scores:
    """All metrics of the rows with a label; None where one is not defined."""
    known = np.isfinite(_column(predictions, "target"))
    scores: Scores = {"rows": len(known), "labels": int(known.sum())}
    for each in METRICS:
        found = float(from_sums(each.name, sums(each.name, predictions).sum(axis=0)))
        scores[each.name] = found if math.isfinite(found) else None
    return scores | by_group(score, predictions, weight, groups)


def _column(predictions: Predictions, name: str) -> Array:
    values = predictions[name]
    return values.reshape(len(values)).astype(np.float64)


def sums(metric: str, predictions: Predictions, weight: Array | None = None) -> Array:
    """Rows with a label, and the loss that the metric averages over them: float64 [rows, 2]."""
    target, forecast = _column(predictions, "target"), _column(predictions, "prediction")
    known = np.isfinite(target)
    with np.errstate(over="ignore", invalid="ignore"):
        losses = _losses(metric, target, forecast, predictions)
    return np.stack([known.astype(np.float64), np.where(known, losses, 0)], axis=1)


def _losses(metric: str, target: Array, forecast: Array, predictions: Predictions) -> Array:
    if metric == "direction_accuracy":
        right: Array = (forecast < 0) == (target < 0)
        return np.where(np.isfinite(forecast), right, np.nan).astype(np.float64)
    if metric.endswith("_log_return"):
        gap = forecast - target
    elif metric == "mape":
        gap = np.exp(forecast - target) - 1
    else:
        gap = _column(predictions, LAST) * (np.exp(forecast) - np.exp(target))
    return gap**2 if metric.startswith("rmse") else np.abs(gap)


def from_sums(metric: str, sums: Array) -> Array:
    """The mean loss, and its root for the root mean squared errors."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.maximum(sums[..., 1], 0) / sums[..., 0]
    return np.asarray(np.sqrt(mean) if metric.startswith("rmse") else mean)


def baselines(train: Array, weight: Array | None, rows: int) -> dict[str, Array]:
    """drift: the mean log return of the train rows."""
    known = train[np.isfinite(train)]
    return {"drift": np.full((rows, 1), known.mean() if len(known) else 0.0)}


def answer(predictions: Predictions) -> dict[str, Array]:
    """What `predict` prints beside the outputs: the last price, the price forecast, and its time."""
    last = predictions[LAST]
    shown = {FOR: predictions[FOR]} if FOR in predictions else {}
    return {**shown, LAST: last, "price": last * np.exp(_column(predictions, "prediction"))}


def sentence(metric: str) -> str:
    """By the metric's name, with its unit."""
    form = next((each.form for each in METRICS if each.name == metric), ".4f")
    return plain_sentence(metric, form, "{metric_unit}")


def kfp(test: Mapping[str, Any], predictions: Predictions) -> dict[str, Any]:
    """Nothing: KFP has charts for classifications only. Its page shows the metrics as numbers."""
    return {}
