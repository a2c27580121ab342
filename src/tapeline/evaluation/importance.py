"""Permutation importance: how much the score falls where a column is shuffled among the test rows.

The same question to every family, so that answers compare. Columns that move together stand in for
each other, so each of them seems to matter less than it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapeline.tasks import Metric, Task, value

Array = np.ndarray[Any, Any]
REPEATS = 5
ROWS, MOST_ROWS = 500, 20_000
"""Rows of a window that are shuffled, at most, at equal distances: so many, or a tenth, where that is more."""
COLUMNS = 100
"""A table with more is not asked: it would take long, and single columns (pixels) say little."""

Answers = Callable[[Array], Mapping[str, Array]]


@dataclass(frozen=True)
class Part:
    """A window's model and its test rows."""

    predict: Answers
    features: Array
    others: Mapping[str, Array]
    """What the metric reads beside the model's answers: `target`, `weight` and context columns."""


def importance(task: Task, metric: Metric, names: Sequence[str], parts: Sequence[Part]) -> dict[str, Any] | None:
    """For each column the mean loss of the metric and its standard deviation over shuffles; None for wide tables.

    Args:
        task: of the dataset.
        metric: of the loss; above 0 the column helps, whichever way the metric goes.
        names: of the columns.
        parts: of each window.
    """
    if len(names) > COLUMNS:
        return None
    draw = np.random.default_rng(0)
    parts = [_thinned(part) for part in parts]
    rows = sum(len(part.features) for part in parts)
    orders = [[draw.permutation(len(part.features)) for _ in range(REPEATS)] for part in parts]
    whole = _value(task, metric, parts, [part.predict(part.features) for part in parts])
    if whole is None:
        return None
    columns: dict[str, Any] = {}
    for at, name in enumerate(names):
        answers = [_shuffled(part, at, order) for part, order in zip(parts, orders, strict=True)]
        scores = [_value(task, metric, parts, [each[turn] for each in answers]) for turn in range(REPEATS)]
        losses = [metric.sign * (whole - score) for score in scores if score is not None]
        columns[name] = {"loss": float(np.mean(losses)), "sd": float(np.std(losses))}
    return {"metric": metric.name, "rows": rows, "repeats": REPEATS, "columns": columns}


def _thinned(part: Part) -> Part:
    total = len(part.features)
    rows = np.unique(np.linspace(0, total - 1, min(total, max(ROWS, min(total // 10, MOST_ROWS)))).astype(np.int64))
    return Part(part.predict, part.features[rows], {name: each[rows] for name, each in part.others.items()})


def _shuffled(part: Part, column: int, orders: Sequence[Array]) -> list[dict[str, Array]]:
    """The model's answers to each order of the column, asked for at once."""
    features = part.features
    asked = np.concatenate([features] * len(orders))
    asked[:, column] = np.concatenate([features[order, column] for order in orders])
    answers = part.predict(asked)
    return [
        {name: values[turn * len(features) : (turn + 1) * len(features)] for name, values in answers.items()}
        for turn in range(len(orders))
    ]


def _value(task: Task, metric: Metric, parts: Sequence[Part], answers: Sequence[Mapping[str, Array]]) -> float | None:
    """The metric of the answers to all windows."""
    needed = [name for name in answers[0] if metric.needs_probability or name == "prediction"]
    pooled = {name: np.concatenate([each[name] for each in answers]) for name in needed}
    others = {name: np.concatenate([part.others[name] for part in parts]) for name in parts[0].others}
    weight = others.pop("weight", None)
    return value(task.score({**others, **pooled}, weight), metric.name)
