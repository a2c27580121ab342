"""What a model lives on: how much its score falls where a column is shuffled among the test rows.

The same question to every family, so that answers compare. Columns that move together stand in for
each other, so each of them seems to matter less than it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tapeline.evaluation import metrics

Array = np.ndarray[Any, Any]
REPEATS = 5
ROWS = 500
"""Rows of a window that are shuffled, at most, at equal distances."""
COLUMNS = 100
"""A table with more is not asked: it would take long, and single columns (pixels) say little."""

Answers = Callable[[Array], Mapping[str, Array]]


def importance(
    task: str, metric: str, names: Sequence[str], parts: Sequence[tuple[Answers, Array, Array]]
) -> dict[str, Any] | None:
    """For each column the mean loss of the metric and its standard deviation over shuffles; None for wide tables.

    Args:
        task: of the dataset.
        metric: in which the loss is told; above 0 the column helps, whichever way the metric goes.
        names: of the columns.
        parts: for each window its model, and its test rows' features and targets.
    """
    if len(names) > COLUMNS:
        return None
    draw = np.random.default_rng(0)
    parts = [_thinned(*part) for part in parts]
    target = np.concatenate([part[2] for part in parts])
    orders = [[draw.permutation(len(features)) for _ in range(REPEATS)] for _, features, _ in parts]
    whole = _value(task, metric, target, [predict(features) for predict, features, _ in parts])
    if whole is None:
        return None
    columns: dict[str, Any] = {}
    for at, name in enumerate(names):
        answers = [_shuffled(part[0], part[1], at, order) for part, order in zip(parts, orders, strict=True)]
        scores = [_value(task, metric, target, [each[turn] for each in answers]) for turn in range(REPEATS)]
        losses = [metrics.sign(metric) * (whole - score) for score in scores if score is not None]
        columns[name] = {"loss": float(np.mean(losses)), "sd": float(np.std(losses))}
    return {"metric": metric, "rows": len(target), "repeats": REPEATS, "columns": columns}


def _thinned(predict: Answers, features: Array, target: Array) -> tuple[Answers, Array, Array]:
    rows = np.unique(np.linspace(0, len(target) - 1, min(len(target), ROWS)).astype(np.int64))
    return predict, features[rows], target[rows]


def _shuffled(predict: Answers, features: Array, column: int, orders: Sequence[Array]) -> list[dict[str, Array]]:
    """The model's answers to each order of the column, asked for at once."""
    asked = np.concatenate([features] * len(orders))
    asked[:, column] = np.concatenate([features[order, column] for order in orders])
    answers = predict(asked)
    return [
        {name: values[turn * len(features) : (turn + 1) * len(features)] for name, values in answers.items()}
        for turn in range(len(orders))
    ]


def _value(task: str, metric: str, target: Array, answers: Sequence[Mapping[str, Array]]) -> float | None:
    needed = ("prediction",) if metric in metrics.OF_CLASSES else tuple(answers[0])
    pooled = {name: np.concatenate([each[name] for each in answers]) for name in needed}
    return metrics.value(metrics.score(task, target, pooled), metric)
