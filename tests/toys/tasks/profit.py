"""A regression with one metric more: the mean of what it would have earned, from the context column `close`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapeline.tasks import Array, Metric, Predictions, Scores, regression
from tapeline.tasks.regression import (
    FIGURES,
    LIGHTGBM,
    NOTE,
    OUTPUTS,
    PRIMARY,
    TRACE,
    baselines,
    describe,
    encode,
    kfp,
    loss,
    outputs,
    sentence,
    trace_score,
    train_score,
)

__all__ = [
    "FIGURES",
    "LIGHTGBM",
    "METRICS",
    "NOTE",
    "OUTPUTS",
    "PRIMARY",
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
METRICS: tuple[Metric, ...] = (
    *regression.METRICS,
    Metric("profit", "a unit held", -math.inf, math.inf, "higher", "bootstrap"),
)


def score(predictions: Predictions, weight: Array | None = None, groups: Array | None = None) -> Scores:
    earned = float(from_sums("profit", sums("profit", predictions).sum(axis=0)))
    return {**regression.score(predictions, weight, groups), "profit": earned}


def sums(metric: str, predictions: Predictions, weight: Array | None = None) -> Array:
    if metric != "profit":
        return regression.sums(metric, predictions, weight)
    moved = np.r_[np.diff(predictions["close"]), 0]
    held = np.sign(predictions["prediction"].reshape(len(moved), -1)[:, 0])
    return np.stack([held * moved, np.ones(len(moved))], axis=1)


def from_sums(metric: str, sums: Array) -> Any:
    return sums[..., 0] / sums[..., 1] if metric == "profit" else regression.from_sums(metric, sums)
