"""What the parts of a report are made of. A task names the parts that show its predictions: modules here with

figures(inputs)         Plates, in the order of reading
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from tapeline import lookup, tasks
from tapeline.models.fitted import Fitted
from tapeline.report import curves
from tapeline.report.page import Number
from tapeline.tables.examples import Examples
from tapeline.tables.predictions import Predictions

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Inputs:
    """A run's files."""

    metrics: Values
    """metrics.json."""
    scores: Values
    """scores.json."""
    fitted: Fitted
    predictions: Predictions
    """Of the test rows."""
    number: Number
    """Writes a number of theirs, by its keys."""
    profile: Values = field(default_factory=dict)
    """profile.json."""
    examples: Examples | None = None
    """Some test rows with their features, where the task chose some."""

    @cached_property
    def task(self) -> tasks.Task:
        """What was forecast."""
        return lookup.task(self.scores["task"])

    def named(self, name: str) -> tasks.Metric:
        """The task's metric of that name, with the unit of this dataset where it depends on that."""
        found = tasks.metric(self.task, name)
        return replace(found, unit=found.unit.format(unit=self.scores.get("unit") or "target's unit"))

    @cached_property
    def metric(self) -> tasks.Metric:
        """That the gate asked for."""
        return self.named(self.metrics["config"]["gate"]["metric"])

    @cached_property
    def primary(self) -> tasks.Metric:
        """The task's first."""
        return self.named(self.task.PRIMARY)

    @cached_property
    def of_baselines(self) -> tasks.Metric:
        """The gate's metric where baselines have it, else the task's first."""
        has = any(tasks.value(each, self.metric.name) is not None for each in self.metrics["baselines"].values())
        return self.metric if has else self.primary

    @cached_property
    def answers(self) -> curves.Answers:
        """The predictions row by row."""
        return curves.answers(self.task, self.predictions, self.reference)

    @cached_property
    def reference(self) -> str:
        """The best baseline in the task's first metric."""
        found = tasks.best(self.primary, self.metrics["baselines"])
        return found[0] if found else next(iter(self.metrics["baselines"]))
