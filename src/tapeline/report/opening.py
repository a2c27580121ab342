"""The first screen of a report: the question, how the score compares, and what a reader must know first.

Every sentence follows from the numbers of the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tapeline.evaluation import comparison
from tapeline.evaluation.comparison import Change
from tapeline.report.curves import is_constant
from tapeline.report.page import formed
from tapeline.report.sections import Inputs
from tapeline.tables.spec import format_time
from tapeline.tasks import best, value

Values = Mapping[str, Any]
SURE = 2
"""A column matters if its importance is more than so many standard deviations of its shuffles."""


@dataclass(frozen=True)
class Rival:
    """A naive baseline, and the change of the score from it to the model on the same test rows."""

    name: str
    kind: str
    """What it is to the model, for people."""
    change: Change

    @property
    def sentence(self) -> str:
        """Who leads by how much, and whether that may be chance."""
        metric, interval = self.change.metric, self.change.interval
        ahead = metric.sign * (self.change.after - self.change.before)
        share = metric.interval == "wilson"
        size = points(abs(ahead)) if share else formed(abs(ahead), metric.form)
        score = formed(self.change.before, ".1%" if share else metric.form)
        lead = "is as good as" if ahead == 0 else "leads" if ahead > 0 else "is behind"
        by = f" by {size}" if ahead else ""
        if interval is None:
            return f"It {lead} {self.kind}, “{self.name}” ({score}){by}."
        ends = sorted((metric.sign * interval.low, metric.sign * interval.high))
        low, high = (signed(each) if share else formed(each, f"+{metric.form}") for each in ends)
        chance = "; may be chance" if self.may_be_chance and ahead else ""
        return f"It {lead} {self.kind}, “{self.name}” ({score}){by} (95 %: {low} to {high}{chance})."

    @property
    def may_be_chance(self) -> bool:
        """Whether the paired interval of the difference contains zero."""
        interval = self.change.interval
        return interval is not None and interval.low <= 0 <= interval.high

    @property
    def is_behind(self) -> bool:
        """Whether the model is not better."""
        return self.change.metric.sign * (self.change.after - self.change.before) <= 0


def points(share: float) -> str:
    """A difference of shares."""
    return f"{100 * share:.1f} points"


def signed(share: float) -> str:
    """The same with its sign."""
    return f"{100 * share:+.1f}"


def rivals(inputs: Inputs) -> list[Rival]:
    """The simplest baseline, and the best one where that is another."""
    metric = inputs.of_baselines
    found = best(metric, inputs.metrics["baselines"])
    simple = next((name for name in inputs.predictions.baselines if name in inputs.metrics["baselines"]), None)
    names = {simple: "the simplest rule", found[0] if found else None: "the best rule"}
    horizon = inputs.scores.get("horizon")
    model = comparison.answers(inputs.task, inputs.predictions, None if horizon is None else timedelta(seconds=horizon))
    naive = comparison.of_baselines(model)
    rivals = []
    for name, kind in names.items():
        scores = (inputs.metrics["baselines"].get(name, {}), inputs.metrics["test"]["overall"])
        before, after = (value(each, metric.name) for each in scores)
        if name in naive and before is not None and after is not None:
            interval = comparison.difference(metric, naive[name], model)
            rivals.append(Rival(name, kind, Change(metric, before, after, interval, "paired")))
    return rivals


def question(inputs: Inputs, profile: Values) -> str:
    """What is forecast, as a question; the task's own where the dataset has none."""
    return str(profile["notes"].get("question") or getattr(inputs.task, "QUESTION", "What is forecast?"))


def tested(inputs: Inputs, profile: Values) -> str:
    """When decisions are made, and which rows are the test."""
    predictions = inputs.predictions
    text = f"Decided at {profile['as_of']}. " if profile.get("as_of") else ""
    rows = f"Tested on {len(predictions):,} rows"
    if "time" in predictions.rows and len(predictions):
        rows += " from {} to {}".format(*(format_time(predictions.axis[at]) for at in (0, -1)))
    several = len(inputs.scores["windows"])
    return f"{text}{rows}" + (f", by {several} models one after the other." if several > 1 else ".")


def constant(inputs: Inputs) -> str | None:
    """A sentence about a model that gives the same answer on all test rows; None for others."""
    values = inputs.predictions.scored["prediction"]
    if not len(values) or not is_constant(values):
        return None
    words = getattr(inputs.task, "words", None)
    first = values[0].tolist()
    said = f"“{words({'prediction': first})}”" if words else "the same numbers"
    return f"It is a constant: it said {said} on all {len(values):,} test rows."


def caveats(inputs: Inputs, profile: Values, others: list[Rival]) -> Iterator[str]:
    """What a reader must know before the score, the most important first."""
    if sentence := constant(inputs):
        yield sentence
    if others and others[-1].is_behind:
        yield "A rule without training is at least as good on these test rows."
    elif others and others[-1].may_be_chance:
        yield "Its lead over the best rule without training may be chance."
    if inputs.metrics["gate"]["accepted"] and inputs.metrics["config"]["gate"].get("baseline_margin") is None:
        yield "The gate did not compare it with naive baselines (gate.baseline_margin=null)."
    if meaning := profile["notes"].get("meaning"):
        yield str(meaning)


def important(inputs: Inputs) -> list[str]:
    """Columns whose permutation importance is more than noise, the most important first."""
    columns = (inputs.scores.get("importance") or {}).get("columns", {})
    known = {name: each["loss"] for name, each in columns.items() if each["loss"] > SURE * each["sd"] > 0}
    return sorted(known, key=lambda name: -known[name])
