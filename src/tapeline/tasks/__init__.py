"""Tasks: what is forecast, one module each, found by file name.

Add one by writing `<name>.py` with the names of `Task`, and name it in a dataset's SPEC. No other module asks
which task it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
Scores = dict[str, Any]
Predictions = Mapping[str, Array]
"""By name, the first axis is rows: `target`, a model's outputs (`prediction` always), and context columns."""


@dataclass(frozen=True)
class Metric:
    """One number that scores have under its dotted name."""

    name: str
    unit: str
    """`{unit}` in it stands for the unit that a dataset gives its table, such as a currency."""
    low: float
    """The least that it can be; -inf where it has no end."""
    high: float
    better: Literal["higher", "lower"]
    interval: Literal["wilson", "bootstrap", "jackknife"]
    """The method of its interval. wilson: it is a share of rows. bootstrap: the task's `sums` has it."""
    needs_probability: bool = False
    """Naive baselines state no probability, so they do not have it."""
    form: str = ".4f"
    """How pages write it, as for Python's format."""

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.better == "higher" else -1

    @property
    def label(self) -> str:
        """The name with its unit, for an axis."""
        return f"{self.name} ({self.unit})"

    def allows(self, threshold: float) -> bool:
        """Whether a value can be better than this threshold, and one can fail it."""
        if self.better == "higher":
            return self.low <= threshold < self.high
        return self.low < threshold <= self.high


class Task(Protocol):
    """What the module of a task offers; all its functions are pure.

    Optional, and so not listed: `answer(predictions)`, what `predict` prints beside the outputs, by name;
    `words(answer)`, one row's outputs in words; `QUESTION`, the question of reports where a table has no `question`;
    `TARGET`, the unit of the target in charts.
    """

    __name__: str
    METRICS: tuple[Metric, ...]
    PRIMARY: str
    """The metric that gates take unless they say otherwise; `sums` has it."""
    TRACE: str
    """The metric that training reports about its own rows."""
    OUTPUTS: tuple[str, ...]
    """The servable's outputs that `predict` prints, in their order."""
    LIGHTGBM: str
    """LightGBM's objective."""
    FIGURES: tuple[str, ...]
    """Modules of report/sections that show the predictions, in the order of reading."""
    NOTE: str
    """What a reader of the scores has to know; empty where there is nothing."""

    def score(self, predictions: Predictions, weight: Array | None = None, groups: Array | None = None) -> Scores:
        """The metrics over some rows, and what belongs to them; None where one is not defined on these rows.

        Args:
            predictions: see there.
            weight: float64 [rows], for the metrics that are weighted.
            groups: names [rows]; the scores of each group's rows stand under `by`.
        """

    def sums(self, metric: str, predictions: Predictions, weight: Array | None = None) -> Array | None:
        """What the metric sums over rows, float64 [rows, ...]; None where it follows from no sums."""

    def from_sums(self, metric: str, sums: Array) -> Array:
        """The metric, [...], of sums over rows of what `sums` gives; NaN where it is not defined."""

    def baselines(self, train: Array, weight: Array | None, rows: int) -> dict[str, Array]:
        """Naive predictions for so many rows, by name, from the targets of the train rows alone."""

    def describe(self, time: Array, target: Array, outputs: tuple[str, ...]) -> dict[str, Any]:
        """What the target is like, for the profile of a table."""

    def encode(self, target: Array) -> Array:
        """The target as networks learn it: float32 [rows, width]."""

    def loss(self, tf: Any) -> Callable[[Any, Any], Any]:
        """The loss of a network's outputs and the encoded target, [rows, width] each, summed over rows."""

    def train_score(self, tf: Any) -> Callable[[Any, Any], Any]:
        """TRACE of the same two, as a tensor."""

    def trace_score(self, prediction: Array, target: Array) -> float:
        """TRACE of `prediction` as the servable answers it, and the target as the table has it."""

    def outputs(self, tf: Any, values: Any) -> dict[str, Any]:
        """What the servable answers, of a network's outputs [rows, width], as tensors."""

    def sentence(self, metric: str) -> str:
        """What the score means, with fields as {accuracy:.1%} for the test's scores, and {unit} for what a row is."""

    def kfp(self, test: Mapping[str, Any], predictions: Predictions) -> dict[str, Any]:
        """What Kubeflow Pipelines shows of scores.json: metadata of its artifact, by KFP's names."""


def value(scores: Mapping[str, Any], metric: str) -> float | None:
    """A metric by its dotted name; None where it is not defined or not there."""
    found: Any = scores
    for key in metric.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return None if found is None else float(found)


def metric(task: Task, name: str) -> Metric:
    """The task's metric of that name; KeyError where there is none."""
    return {each.name: each for each in task.METRICS}[name]


def best(metric: Metric, scores: Mapping[str, Mapping[str, Any]]) -> tuple[str, float] | None:
    """The name and value of the best of several, the first of equals; None where none has the metric."""
    known = [(name, found) for name, each in scores.items() if (found := value(each, metric.name)) is not None]
    return max(known, key=lambda pair: metric.sign * pair[1]) if known else None


def interval_key(scores: Mapping[str, Any], metric: Metric) -> tuple[str, ...]:
    """The keys that lead to the metric's interval in scores; none where there is no interval."""
    return ("intervals", metric.name) if metric.name in scores.get("intervals", ()) else ()


def interval(scores: Mapping[str, Any], metric: Metric) -> Mapping[str, Any] | None:
    """The metric's interval in scores: low, high, level and method, at least."""
    found: Mapping[str, Any] | None = scores.get("intervals", {}).get(metric.name)
    return found


def by_group(
    score: Callable[[Predictions, Array | None], Scores],
    predictions: Predictions,
    weight: Array | None,
    groups: Array | None,
) -> Scores:
    """The scores of each group's rows under `by`; empty without groups."""
    if groups is None:
        return {}
    scores = {}
    for name in np.unique(groups):
        rows = groups == name
        inside = {key: values[rows] for key, values in predictions.items()}
        scores[str(name)] = score(inside, None if weight is None else weight[rows])
    return {"by": scores}


def plain_sentence(metric: str, form: str = ".4f", unit: str = "") -> str:
    """A sentence that fits every metric; its unit stands behind the number."""
    name, behind = metric.replace("_", " "), f" {unit}" if unit else ""
    return f"On {{rows:,d}} {{unit}} that it had never seen, the model's {name} is {{{metric}:{form}}}{behind}."
