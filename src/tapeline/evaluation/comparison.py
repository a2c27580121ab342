"""Intervals of a model's scores, and of the change of scores from one model to another.

Two models tested on the same rows err on the same days, so their difference is known better than
either score: where the answers row by row are there, it is taken row by row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from tapeline import intervals
from tapeline.intervals import LEVEL, Interval, Units
from tapeline.lookup import task as task_named
from tapeline.tasks import Metric, Predictions, Task, value

Array = np.ndarray[Any, Any]
Scores = Mapping[str, Any]

PAIRED = "paired, Newcombe's method 10"
UNPAIRED = "unpaired, Newcombe's hybrid score"
NO_ROWS = "no interval: the answers row by row are not there"
TOO_FEW = "no interval: there are too few blocks of rows, or it is not defined on some"


@dataclass(frozen=True)
class Answers:
    """What a model said of its test rows."""

    task: Task
    predictions: Predictions
    weight: Array | None
    units: Units


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


def of_scores(answers: Answers) -> dict[str, dict[str, Any]]:
    """The interval of each metric of a model, by its name, as JSON values; without those that have none."""
    found = {each.name: _own(answers, each) for each in answers.task.METRICS}
    return {name: each.record() for name, each in found.items() if each}


def _own(answers: Answers, metric: Metric) -> Interval | None:
    sums = answers.task.sums(metric.name, answers.predictions, answers.weight)
    if metric.interval == "jackknife" or sums is None:
        return intervals.jackknife(_without(answers, metric), answers.units)
    if metric.interval == "wilson":
        return intervals.wilson(*_share(answers, metric))
    return intervals.bootstrap(sums, lambda each: answers.task.from_sums(metric.name, each), answers.units)


def _without(answers: Answers, metric: Metric) -> Any:
    """The metric as a function of the rows that are left."""

    def score(rows: Array) -> float | None:
        left = {name: each[rows] for name, each in answers.predictions.items()}
        weight = None if answers.weight is None else answers.weight[rows]
        return value(answers.task.score(left, weight), metric.name)

    return score


def _share(answers: Answers, metric: Metric) -> tuple[int, int]:
    """Hits and rows of a share."""
    hits = _hits(answers, metric)
    return int(hits.sum()), len(hits)


def _hits(answers: Answers, metric: Metric) -> Array:
    sums = answers.task.sums(metric.name, answers.predictions)
    assert sums is not None, f"{metric.name} is a share, and its task's sums do not have it"
    return np.asarray(sums[:, 0] > 0)


def difference(metric: Metric, before: Answers, after: Answers, level: float = LEVEL) -> Interval | None:
    """The interval of the change of a metric, on the same rows."""
    if metric.interval == "wilson":
        ends = intervals.paired_shares(_hits(before, metric), _hits(after, metric), level)
        return Interval(*ends, level, PAIRED)
    pair = [each.task.sums(metric.name, each.predictions, each.weight) for each in (before, after)]
    if metric.interval == "jackknife" or pair[0] is None or pair[1] is None:
        scores = [_without(each, metric) for each in (before, after)]

        def change(rows: Array) -> float | None:
            old, new = (score(rows) for score in scores)
            return None if old is None or new is None else new - old

        return _renamed(intervals.jackknife(change, before.units, level), "paired")

    def of(sums: Array) -> Array:
        old, new = (after.task.from_sums(metric.name, sums[:, side]) for side in (0, 1))
        return np.asarray(new - old)

    return _renamed(intervals.bootstrap(np.stack(pair, axis=1), of, before.units, level), "paired")


def _unpaired(metric: Metric, before: Answers, after: Answers) -> Interval | None:
    """The interval of the change of a metric, on different rows."""
    if metric.interval == "wilson":
        ends = intervals.unpaired_shares(_share(before, metric), _share(after, metric))
        return Interval(*ends, LEVEL, UNPAIRED)
    pair = [each.task.sums(metric.name, each.predictions, each.weight) for each in (before, after)]
    if metric.interval == "jackknife" or pair[0] is None or pair[1] is None:
        scores = [intervals.without_blocks(_without(each, metric), each.units) for each in (before, after)]
        whole = [_without(each, metric)(np.ones(len(each.units.of), bool)) for each in (before, after)]
        if scores[0] is None or scores[1] is None or None in whole:
            return None
        blocks = min(map(len, scores))  # type: ignore[arg-type]
        half = intervals.student(LEVEL, blocks) * math.hypot(*map(intervals.error, scores))
        return Interval(whole[1] - whole[0] - half, whole[1] - whole[0] + half, LEVEL,
                        "unpaired delete-a-block jackknife", blocks=blocks)  # fmt: skip
    drawn = [
        intervals.replicates(sums, lambda each: after.task.from_sums(metric.name, each), units, seed)
        for seed, (sums, units) in enumerate(zip(pair, (before.units, after.units), strict=True))
    ]
    if drawn[0] is None or drawn[1] is None or not np.isfinite(drawn).all():
        return None
    low, high = np.quantile(drawn[1] - drawn[0], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), LEVEL, "unpaired moving-block bootstrap", repetitions=len(drawn[0]))


def _renamed(interval: Interval | None, how: str) -> Interval | None:
    if interval is None:
        return None
    return Interval(**{**interval.record(), "method": f"{how} {interval.method}"})


def changes(before: Scores, after: Scores) -> list[Change]:
    """The change of every metric that both have; nothing where they are of different tasks.

    Args:
        before: as scores.json has it; of metrics.json there is only `test`, with `task` beside it, and then
            fewer intervals.
        after: the same.
    """
    if before["task"] != after["task"]:
        return []
    task, paired = task_named(before["task"]), same_rows(before, after)
    answers = [read(each) for each in (before, after)]
    found = []
    for metric in task.METRICS:
        old, new = (value(each["test"], metric.name) for each in (before, after))
        if old is None or new is None:
            continue
        found.append(_change(metric, (old, new), (before["test"], after["test"]), answers, paired))
    return found


def _change(
    metric: Metric, values: tuple[float, float], tests: tuple[Scores, Scores], answers: list[Answers | None], paired: bool
) -> Change:
    ours, theirs = answers
    if ours and theirs:
        interval = (difference if paired else _unpaired)(metric, ours, theirs)
        return Change(metric, *values, interval, _told(interval) if interval else TOO_FEW)
    if metric.interval == "wilson" and all("rows" in test for test in tests):
        shares = [(round(each * test["rows"]), test["rows"]) for each, test in zip(values, tests, strict=True)]
        return Change(metric, *values, Interval(*intervals.unpaired_shares(*shares), LEVEL, UNPAIRED), UNPAIRED)
    return Change(metric, *values, None, NO_ROWS)


def _told(interval: Interval) -> str:
    """The method, with what it was given."""
    parts = [interval.method]
    if interval.blocks:
        parts.append(f"{interval.blocks} blocks" + (f" of {interval.block}" if interval.block else ""))
    if interval.repetitions:
        parts.append(f"{interval.repetitions} repetitions")
    return ", ".join(parts)


def same_rows(before: Scores, after: Scores) -> bool:
    """Whether both were tested on the same rows, as far as their answers tell."""
    ours, theirs = (each.get("predictions") or {} for each in (before, after))
    return "time" in ours and all(ours.get(key) == theirs.get(key) for key in ("time", "target"))


def read(scores: Scores) -> Answers | None:
    """The answers row by row that scores.json lists; None where they are not there."""
    listed = dict(scores.get("predictions") or {})
    if not {"time", "target", "prediction"} <= set(listed):
        return None
    try:
        units = intervals.by_time(np.array(listed.pop("time"), "datetime64"), timedelta(seconds=scores.get("horizon") or 0))
        arrays = {name: np.array(values, dtype=np.float64) for name, values in listed.items()}
    except (TypeError, ValueError):
        return None
    return Answers(task_named(scores["task"]), arrays, arrays.pop("weight", None), units)
