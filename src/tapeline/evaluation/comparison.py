"""The change of scores from one model to another, each with an interval and the method's name.

Two models tested on the same rows err on the same days, so their difference is known better than
either score: where the answers row by row are there, it is taken row by row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapeline.evaluation.metrics import LEVEL, METRICS, score, sign, value, wilson

Array = np.ndarray[Any, Any]
Scores = Mapping[str, Any]

GROUPS = 50
"""Of consecutive rows, that the jackknife leaves out in turn: neighbouring rows err alike."""
PAIRED = "paired, Newcombe's method 10"
UNPAIRED = "unpaired, Newcombe's hybrid score"


@dataclass(frozen=True)
class Change:
    """Of one metric."""

    metric: str
    before: float
    after: float
    low: float | None
    """Of the interval of after - before; None where `method` says why there is none."""
    high: float | None
    method: str

    @property
    def verdict(self) -> str:
        """In a word, what a reader may make of it."""
        if self.low is None or self.high is None:
            return ""
        if self.low <= 0 <= self.high:
            return "the same" if self.low == self.high == 0 else "may be chance"
        return "better" if sign(self.metric) * (self.after - self.before) > 0 else "worse"


@dataclass(frozen=True)
class Answers:
    """What a model said of its test rows."""

    task: str
    target: Array
    outputs: dict[str, Array]


def changes(before: Scores, after: Scores) -> list[Change]:
    """The change of every metric that both have.

    Args:
        before: as scores.json has it; of metrics.json there is only `test`, and then fewer intervals.
        after: the same.
    """
    known = [name for names in METRICS.values() for name in names]
    pairs = {name: (value(before["test"], name), value(after["test"], name)) for name in dict.fromkeys(known)}
    both = {name: (old, new) for name, (old, new) in pairs.items() if old is not None and new is not None}
    paired = same_rows(before, after)
    told = _intervals(before, after, paired)
    for name in both:
        if name not in told:
            told[name] = None, None, "no interval: the answers row by row are not there"
    return [Change(name, old, new, *told[name]) for name, (old, new) in both.items()]


def same_rows(before: Scores, after: Scores) -> bool:
    """Whether both were tested on the same rows, as far as their answers tell."""
    ours, theirs = (each.get("predictions") or {} for each in (before, after))
    return "time" in ours and all(ours.get(key) == theirs.get(key) for key in ("time", "target"))


Interval = tuple[float | None, float | None, str]


def _intervals(before: Scores, after: Scores, paired: bool) -> dict[str, Interval]:
    """By metric, as far as there are any."""
    ours, theirs = _answers(before), _answers(after)
    told = dict(_jackknife(ours, theirs, paired)) if ours and theirs and ours.task == theirs.task else {}
    shares = [_share(each["test"]) for each in (before, after)]
    if None not in shares:
        if paired and ours and theirs:
            right = [each.outputs["prediction"] == each.target for each in (ours, theirs)]
            told["accuracy"] = (*paired_shares(*right), PAIRED)
        else:
            told["accuracy"] = (*unpaired_shares(*shares), UNPAIRED)  # type: ignore[arg-type]
    return told


def _answers(scores: Scores) -> Answers | None:
    listed = dict(scores.get("predictions") or {})
    if "task" not in scores or not {"target", "prediction"} <= set(listed):
        return None
    listed.pop("time", None)
    try:
        arrays = {name: np.array(values, dtype=np.float64) for name, values in listed.items()}
    except (TypeError, ValueError):
        return None
    return Answers(scores["task"], arrays.pop("target"), arrays)


def _share(test: Scores) -> tuple[int, int] | None:
    """Right answers and rows; None where the task counts no right answers."""
    if "accuracy" not in test or "rows" not in test:
        return None
    return round(test["accuracy"] * test["rows"]), test["rows"]


def paired_shares(before: Array, after: Array) -> tuple[float, float]:
    """Interval of the difference of two shares of the same rows, bool [rows] each.

    R. G. Newcombe, Improved confidence intervals for the difference between binomial proportions based
    on paired data, Statistics in Medicine 17 (1998), method 10: Wilson's intervals, squared and added,
    less what the correlation phi, corrected for continuity, accounts for.
    """
    rows = len(before)
    both, neither = int((before & after).sum()), int((~before & ~after).sum())
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    margins = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    excess: float = both * neither - gained * lost
    if excess > 0:
        excess = max(excess - rows / 2, 0)
    phi = excess / math.sqrt(margins) if margins else 0.0
    return _square_and_add((both + lost, rows), (both + gained, rows), phi)


def unpaired_shares(before: tuple[int, int], after: tuple[int, int]) -> tuple[float, float]:
    """Interval of the difference of two shares of different rows, each as hits and rows.

    R. G. Newcombe, Interval estimation for the difference between independent proportions: comparison of
    eleven methods, Statistics in Medicine 17 (1998), method 10. Where some rows are the same it is too wide.
    """
    return _square_and_add(before, after, 0.0)


def _square_and_add(before: tuple[int, int], after: tuple[int, int], phi: float) -> tuple[float, float]:
    (p, r), (q, s) = before, after
    old, new = wilson(p, r), wilson(q, s)
    change = q / s - p / r
    down, up = q / s - new["low"], new["high"] - q / s
    old_down, old_up = p / r - old["low"], old["high"] - p / r
    low = change - math.sqrt(max(down**2 - 2 * phi * down * old_up + old_up**2, 0))
    high = change + math.sqrt(max(up**2 - 2 * phi * up * old_down + old_down**2, 0))
    return max(low, -1.0), min(high, 1.0)


def _jackknife(before: Answers, after: Answers, paired: bool) -> Iterator[tuple[str, Interval]]:
    """Intervals for whatever the task scores: its metrics anew without each group of consecutive rows.

    The delete-a-group jackknife with Student's t: J. Shao and D. Tu, The Jackknife and Bootstrap (1995),
    2.3; H. R. Kuensch, The jackknife and the bootstrap for general stationary observations, Annals of
    Statistics 17 (1989), for leaving out blocks.
    """
    from scipy.stats import t

    ours, theirs = _without_groups(before), _without_groups(after)
    for name in METRICS.get(before.task, ()):
        old, new = (np.array([value(each, name) for each in all_], dtype=np.float64) for all_ in (ours, theirs))
        if paired:
            groups, error = len(old), _error(new - old)
        else:
            groups, error = min(len(old), len(new)), math.hypot(_error(old), _error(new))
        full = [value(score(each.task, each.target, each.outputs), name) for each in (before, after)]
        if full[0] is None or full[1] is None or not math.isfinite(error):
            continue
        half = float(t.ppf((1 + LEVEL) / 2, groups - 1)) * error
        change = full[1] - full[0]
        how = f"{'paired' if paired else 'unpaired'}, jackknife of {groups} groups of rows"
        yield name, (change - half, change + half, how)


def _without_groups(answers: Answers) -> list[Scores]:
    """Scores without each group of rows in turn."""
    rows = np.arange(len(answers.target))
    told: list[Scores] = []
    for group in np.array_split(rows, min(GROUPS, len(rows))):
        left = np.delete(rows, group)
        outputs = {name: each[left] for name, each in answers.outputs.items()}
        told.append(score(answers.task, answers.target[left], outputs))
    return told


def _error(values: Array) -> float:
    """Standard error of a score, from its values without each group."""
    groups = len(values)
    return math.sqrt((groups - 1) / groups * float(((values - values.mean()) ** 2).sum())) if groups > 1 else math.nan
