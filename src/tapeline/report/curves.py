"""What a model's answers on the test rows say beside the metrics: curves, shares and errors, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tapeline.intervals import wilson
from tapeline.tables import decimation
from tapeline.tables.predictions import Predictions
from tapeline.tasks import Task, metric

Array = np.ndarray[Any, Any]

BINS = 10
"""Of a calibration."""
LEAST, USUAL = 20, 60
"""Rows of a moving window."""


@dataclass(frozen=True)
class Answers:
    """Predictions of the test rows, as arrays of one kind."""

    task: Task
    time: Array
    target: Array
    """Shape [rows], or [rows, outputs], NaN where a label is missing."""
    prediction: Array
    """As target."""
    down: Array | None
    """The probability of the second class, where there are two."""
    reference: Array
    """The best baseline's prediction, as target."""
    context: Mapping[str, Array] = field(default_factory=dict)
    """What metrics read beside target and prediction: context columns."""


def answers(task: Task, predictions: Predictions, reference: str) -> Answers:
    """The answers of a model, beside those of a baseline."""
    scored = predictions.scored
    return Answers(
        task=task,
        time=predictions.axis,
        target=scored["target"].astype(float),
        prediction=scored["prediction"].astype(float),
        down=scored["probability"][:, 1].astype(float) if "probability" in scored else None,
        reference=predictions.baselines[reference].astype(float),
        context={name: each for name, each in scored.items() if name not in ("target", "weight", *task.OUTPUTS)},
    )


def roc(target: Array, down: Array) -> tuple[Array, Array]:
    """False and true alarms of a fall, as shares, for each threshold the highest first."""
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(target, down, drop_intermediate=False)
    return false, true


def calibration(target: Array, down: Array) -> list[tuple[int, float, float, float, float]]:
    """For bins of equal size: rows, mean probability, share of falls, and the ends of Wilson's interval."""
    found = []
    for rows in np.array_split(np.argsort(down, kind="stable"), min(BINS, len(down))):
        falls = int(target[rows].sum())
        interval = wilson(falls, len(rows))
        found.append((len(rows), float(down[rows].mean()), falls / len(rows), interval.low, interval.high))
    return found


def moving(answers: Answers) -> tuple[int, Array, Array, Array] | None:
    """Over a moving window of rows: its width, the last row's time, the model's score and the baseline's.

    The score is the task's first metric; NaN where it is not defined. None where rows are few.
    """
    width = min(USUAL, len(answers.time) // 3)
    if width < LEAST:
        return None

    def score(prediction: Array) -> Array:
        return answers.task.from_sums(answers.task.PRIMARY, _moving(_sums(answers, prediction), width)[width - 1 :])

    scores = np.stack([score(answers.prediction), score(answers.reference)], axis=1).astype(float)
    time, values = decimation.curve(answers.time[width - 1 :], scores)
    return width, time, values[:, 0], values[:, 1]


def _sums(answers: Answers, prediction: Array) -> Array:
    """What the task's first metric sums over rows, float64 [rows, ...]."""
    predictions = {**answers.context, "target": answers.target, "prediction": prediction}
    sums = answers.task.sums(answers.task.PRIMARY, predictions)
    assert sums is not None, f"{answers.task.PRIMARY} is a task's first metric, and follows from no sums"
    return sums


def _moving(values: Array, width: int) -> Array:
    """Sums of the last `width` values at each row; of fewer at the beginning."""
    sums = np.cumsum(values, axis=0, dtype=float)
    sums[width:] -= sums[:-width].copy()
    return sums


def pairs(answers: Answers) -> tuple[Array, Array]:
    """True and predicted numbers of a regression that are there, at most 500, at equal distances."""
    known = np.flatnonzero(np.isfinite(answers.target.reshape(-1)))
    some = known[:: max(1, len(known) // 500)][:500]
    return answers.target.reshape(-1)[some], answers.prediction.reshape(-1)[some]


def errors(answers: Answers) -> Array:
    """Prediction less truth, where there is one."""
    gaps: Array = answers.prediction.reshape(-1) - answers.target.reshape(-1)
    known: Array = gaps[np.isfinite(gaps)]
    return known


@dataclass(frozen=True)
class Group:
    """Some of the test rows."""

    name: str
    rows: int
    score: float
    """The task's first metric."""
    reference: float
    """The best baseline's."""
    low: float | None
    """Wilson's interval of a share; None for other metrics."""
    high: float | None


def score(answers: Answers, prediction: Array) -> float:
    """The task's first metric of some predictions for all rows."""
    return float(answers.task.from_sums(answers.task.PRIMARY, _sums(answers, prediction).sum(axis=0)))


def group(answers: Answers, name: str, rows: Array) -> Group:
    """The scores of some rows: bool [rows]."""
    part = replace(
        answers,
        **{each: getattr(answers, each)[rows] for each in ("time", "target", "prediction", "reference")},
        down=None if answers.down is None else answers.down[rows],
        context={name: each[rows] for name, each in answers.context.items()},
    )
    own, share = score(part, part.prediction), metric(answers.task, answers.task.PRIMARY).interval == "wilson"
    count = int(rows.sum())
    interval = wilson(round(own * count), count) if share else None
    ends = (interval.low, interval.high) if interval else (None, None)
    return Group(name, count, own, score(part, part.reference), *ends)


@dataclass(frozen=True)
class Coverage:
    """The rows on which a model is most confident."""

    share: float
    """Of all rows."""
    rows: int
    least: float
    """The least probability of the class that it predicted among them."""
    right: float
    """Share of them that it predicted right, with Wilson's interval."""
    low: float
    high: float


def coverage(answers: Answers) -> list[Coverage]:
    """Accuracy on the most confident tenth of the rows, two tenths, and so on up to all."""
    assert answers.down is not None
    confidence = np.maximum(answers.down, 1 - answers.down)
    order = np.argsort(-confidence, kind="stable")
    right = (answers.prediction == answers.target)[order]
    found = []
    for tenth in range(1, BINS + 1):
        rows = max(1, round(len(order) * tenth / BINS))
        interval = wilson(int(right[:rows].sum()), rows)
        least = float(confidence[order[rows - 1]])
        share = float(right[:rows].mean())
        found.append(Coverage(tenth / BINS, rows, least, share, interval.low, interval.high))
    return found


def is_constant(values: Array) -> bool:
    """Whether all rows are the same."""
    return not len(values) or bool(np.array_equal(values, np.broadcast_to(values[0], values.shape), equal_nan=True))


def returns(answers: Answers, move: Array) -> tuple[Array, Array, Array]:
    """Cumulative returns after each time: of holding, and of being long where up is predicted and short where down is.

    Args:
        answers: of two classes, 1 is down.
        move: log return of the period that each row forecasts, float64 [rows]; NaN counts as 0. Rows of one time
            share the capital equally.

    Returns:
        The distinct times, and for each the return since the beginning as a share.
    """
    time, which = np.unique(answers.time, return_inverse=True)
    known = np.where(np.isfinite(move), move, 0.0)
    held, followed = np.expm1(known), np.where(answers.prediction == 1, -np.expm1(known), np.expm1(known))
    rows = np.bincount(which)
    growth = (1 + np.bincount(which, each) / rows for each in (held, followed))
    first, second = (np.cumprod(each) - 1 for each in growth)
    return time, first, second
