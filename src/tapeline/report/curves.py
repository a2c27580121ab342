"""What a model's answers on the test rows say beside the metrics: curves, shares and errors, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tapeline.intervals import wilson
from tapeline.tables.predictions import Predictions
from tapeline.tasks import Task

Array = np.ndarray[Any, Any]

BINS = 10
"""Of a calibration."""
LEAST, USUAL = 20, 60
"""Rows of a moving window."""
POINTS = 300
"""Of a curve that is drawn."""


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
    """False and true alarms of a fall, as shares, for each threshold from the highest on."""
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
    rows = len(answers.time)
    width = min(USUAL, rows // 3)
    if width < LEAST:
        return None
    ends = np.unique(np.linspace(width - 1, rows - 1, min(rows, POINTS)).astype(np.int64))

    def score(prediction: Array) -> Array:
        told = {**answers.context, "target": answers.target, "prediction": prediction}
        sums = answers.task.sums(answers.task.PRIMARY, told)
        assert sums is not None, f"{answers.task.PRIMARY} is a task's first metric, and follows from no sums"
        return answers.task.from_sums(answers.task.PRIMARY, _sums(sums, width)[ends])

    return width, answers.time[ends], score(answers.prediction), score(answers.reference)


def _sums(values: Array, width: int) -> Array:
    """Of the last `width` values at each row; of fewer at the beginning."""
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
