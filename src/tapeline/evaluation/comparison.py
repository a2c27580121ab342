"""Intervals of a model's scores, and of the change of scores from one model to another.

Two models tested on the same rows err on the same days, so their difference is known better than
either score: where the answers row by row are there, it is taken row by row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import Any

import numpy as np

from tapeline import intervals
from tapeline.intervals import LEVEL, Interval, Units
from tapeline.lookup import task as task_named
from tapeline.tables.predictions import Predictions as Forecasts
from tapeline.tasks import Metric, Predictions, Task, value

Array = np.ndarray[Any, Any]
Scores = Mapping[str, Any]

PAIRED = "paired, Newcombe's method 10"
UNPAIRED = "unpaired, Newcombe's hybrid score"
NO_ROWS = "no interval: the answers row by row are not there"
TOO_FEW = "no interval: there are too few blocks of rows, or it is not defined on some"


@dataclass(frozen=True)
class Tested:
    """What a run left of its test."""

    task: str
    scores: Scores
    """Of all test rows."""
    predictions: Forecasts | None
    """None where they are not there."""
    horizon: timedelta | None


@dataclass(frozen=True)
class Answers:
    """What a model said of its test rows."""

    task: Task
    predictions: Predictions
    weight: Array | None
    units: Units
    baselines: Mapping[str, Array] = field(default_factory=dict)
    """Of naive baselines, the prediction for the same rows."""

    @cached_property
    def whole(self) -> dict[str, Any]:
        """The task's scores of all rows."""
        return self.task.score(self.predictions, self.weight)

    @cached_property
    def without(self) -> list[dict[str, Any]]:
        """The same without each block of rows in turn."""
        found = []
        for rows in intervals.remaining(self.units):
            left = {name: each[rows] for name, each in self.predictions.items()}
            found.append(self.task.score(left, None if self.weight is None else self.weight[rows]))
        return found


@dataclass(frozen=True)
class Change:
    """Of one metric."""

    metric: Metric
    before: float
    after: float
    interval: Interval | None
    """Of after - before; None where `method` says why there is none."""
    method: str

    @property
    def verdict(self) -> str:
        """In a word, what a reader may make of it."""
        if self.interval is None:
            return ""
        low, high = self.interval.low, self.interval.high
        if low <= 0 <= high:
            return "the same" if low == high == 0 else "may be chance"
        return "better" if self.metric.sign * (self.after - self.before) > 0 else "worse"


def answers(task: Task, predictions: Forecasts, horizon: timedelta | None) -> Answers:
    """What a model said of its test rows, with the rows that belong together."""
    scored = dict(predictions.scored)
    weight = scored.pop("weight", None)
    if "time" in predictions.rows:
        units = intervals.by_time(predictions.axis, horizon)
    elif "group" in predictions.rows:
        units = intervals.by_group(predictions.rows["group"])
    else:
        units = intervals.by_row(len(predictions))
    return Answers(task, scored, weight, units, predictions.baselines)


def of_baselines(model: Answers) -> dict[str, Answers]:
    """The naive baselines' answers to the same rows, by name; they state no probability."""
    others = {name: each for name, each in model.predictions.items() if name not in model.task.OUTPUTS}
    return {
        name: replace(model, predictions={**others, "prediction": each}, baselines={})
        for name, each in model.baselines.items()
    }


def scores(answers: Answers) -> dict[str, Any]:
    """The task's scores, and under `intervals` the interval of each metric that has one."""
    found = answers.whole
    of = {each.name: _own(answers, each) for each in answers.task.METRICS if value(found, each.name) is not None}
    return {**found, "intervals": {name: each.record() for name, each in of.items() if each}}


def _own(answers: Answers, metric: Metric) -> Interval | None:
    if metric.interval == "wilson":
        return intervals.wilson(*_share(answers, metric))
    if metric.interval == "jackknife":
        return intervals.jackknife(value(answers.whole, metric.name), _without(answers, metric), answers.units)
    return intervals.bootstrap(_sums(answers, metric), _from_sums(answers, metric), answers.units)


def _without(answers: Answers, metric: Metric) -> list[float | None]:
    return [value(each, metric.name) for each in answers.without]


def _sums(answers: Answers, metric: Metric) -> Array:
    found = answers.task.sums(metric.name, answers.predictions, answers.weight)
    if found is None:
        raise ValueError(f"{metric.name} has the interval {metric.interval}, and its task no sums for it")
    return found


def _from_sums(answers: Answers, metric: Metric) -> Callable[[Array], Array]:
    return lambda sums: answers.task.from_sums(metric.name, sums)


def _share(answers: Answers, metric: Metric) -> tuple[int, int]:
    """Hits and rows of a share."""
    hits = _hits(answers, metric)
    return int(hits.sum()), len(hits)


def _hits(answers: Answers, metric: Metric) -> Array:
    return np.asarray(_sums(answers, metric)[:, 0] > 0)


def difference(metric: Metric, before: Answers, after: Answers, level: float = LEVEL) -> Interval | None:
    """The interval of the change of a metric, on the same rows."""
    if metric.interval == "wilson":
        ends = intervals.paired_shares(_hits(before, metric), _hits(after, metric), level)
        return Interval(*ends, level, PAIRED)
    if metric.interval == "jackknife":
        found = intervals.jackknife(
            _change_of(value(before.whole, metric.name), value(after.whole, metric.name)),
            list(map(_change_of, _without(before, metric), _without(after, metric))),
            before.units,
            level,
        )
    else:
        of = _from_sums(after, metric)
        sums = np.stack([_sums(before, metric), _sums(after, metric)], axis=1)
        found = intervals.bootstrap(sums, lambda each: of(each[:, 1]) - of(each[:, 0]), before.units, level)
    return replace(found, method=f"paired {found.method}") if found else None


def _change_of(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _unpaired(metric: Metric, before: Answers, after: Answers) -> Interval | None:
    """The interval of the change of a metric, on different rows."""
    if metric.interval == "wilson":
        ends = intervals.unpaired_shares(_share(before, metric), _share(after, metric))
        return Interval(*ends, LEVEL, UNPAIRED)
    if metric.interval == "jackknife":
        return _unpaired_jackknife(metric, before, after)
    old = intervals.replicates(_sums(before, metric), _from_sums(before, metric), before.units, intervals.SEED)
    new = intervals.replicates(_sums(after, metric), _from_sums(after, metric), after.units, intervals.SEED + 1)
    if old is None or new is None or not np.isfinite(new - old).all():
        return None
    low, high = np.quantile(new - old, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    method = "unpaired moving-block bootstrap"
    return Interval(float(low), float(high), LEVEL, method, seed=intervals.SEED, repetitions=len(old))


def _unpaired_jackknife(metric: Metric, before: Answers, after: Answers) -> Interval | None:
    first, second = (intervals.defined(_without(each, metric)) for each in (before, after))
    change = _change_of(value(before.whole, metric.name), value(after.whole, metric.name))
    if first is None or second is None or change is None:
        return None
    blocks = min(len(first), len(second))
    half = intervals.student(LEVEL, blocks) * math.hypot(intervals.error(first), intervals.error(second))
    method = "unpaired delete-a-block jackknife"
    return Interval(change - half, change + half, LEVEL, method, blocks=blocks)


def changes(before: Tested, after: Tested, only: str | None = None) -> list[Change]:
    """The change of every metric that both have, or of one; nothing where they are of different tasks."""
    if before.task != after.task:
        return []
    task = task_named(before.task)
    paired = same_rows(before.predictions, after.predictions)
    each_of = [
        None if each.predictions is None else answers(task, each.predictions, each.horizon) for each in (before, after)
    ]
    found = []
    for metric in (each for each in task.METRICS if only in (None, each.name)):
        old, new = (value(each.scores, metric.name) for each in (before, after))
        if old is None or new is None:
            continue
        found.append(_change(metric, (old, new), (before.scores, after.scores), each_of, paired))
    return found


def _change(
    metric: Metric,
    values: tuple[float, float],
    tests: tuple[Scores, Scores],
    answers: list[Answers | None],
    paired: bool,
) -> Change:
    ours, theirs = answers
    if ours and theirs:
        interval = (difference if paired else _unpaired)(metric, ours, theirs)
        return Change(metric, *values, interval, _described(interval) if interval else TOO_FEW)
    if metric.interval == "wilson" and all("rows" in test for test in tests):
        old, new = ((round(each * test["rows"]), test["rows"]) for each, test in zip(values, tests, strict=True))
        return Change(metric, *values, Interval(*intervals.unpaired_shares(old, new), LEVEL, UNPAIRED), UNPAIRED)
    return Change(metric, *values, None, NO_ROWS)


def _described(interval: Interval) -> str:
    """The method, with what it was given."""
    parts = [interval.method]
    if interval.blocks:
        parts.append(f"{interval.blocks} blocks" + (f" of {interval.block}" if interval.block else ""))
    if interval.repetitions:
        parts.append(f"{interval.repetitions} repetitions")
    return ", ".join(parts)


def same_rows(before: Forecasts | None, after: Forecasts | None) -> bool:
    """Whether both were tested on the same rows, as far as their predictions say."""
    if before is None or after is None or len(before) != len(after):
        return False
    pairs = [(before.scored["target"], after.scored["target"])]
    pairs += [(each, after.rows[name]) for name, each in before.rows.items() if name in after.rows and name != "window"]
    return before.rows.keys() == after.rows.keys() and all(_equal(*pair) for pair in pairs)


def _equal(one: Array, other: Array) -> bool:
    return one.shape == other.shape and np.array_equal(one, other, equal_nan=one.dtype.kind in "fmM")
