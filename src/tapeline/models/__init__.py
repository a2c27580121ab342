"""Model families: one module each, found by `model.family`. Add one by writing `<family>.py` with

    Section                                 its keys, a config.Model
    supports(spec)                          None, or why it cannot learn a dataset with this spec
    fit(section, train, validation, training)   a model and its training trace
    predict(model, features)                outputs by name, as the servable answers
    save(model, folder), load(folder, task) files that need no pickle
    servable(model)                         the same outputs as TensorFlow operations
    WEIGHTS = True                          only where training uses the rows' weights
    WORKERS = "rows" or "batches"           only where several processes can train one model: each has its part of the
                                            train rows, or of each batch of them

and conf/model/<family>.yaml. Loss and outputs are the task's: see tapeline.tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from tapeline.errors import Finding
from tapeline.tables.spec import Spec
from tapeline.tasks import Task

Array = np.ndarray[Any, Any]
Outputs = Mapping[str, Array]


@dataclass(frozen=True)
class Rows:
    """What a model learns from.

    Features are float32 [rows, features], or an array a row as the table has it, which may be uint8. The target is as
    the table has it, NaN where missing.
    Features of many rows are a numpy.memmap of a file: take some rows at a time.
    """

    features: Array
    target: Array
    weight: Array | None = None
    """float64 [rows], where rows count differently in training."""


@dataclass(frozen=True)
class Machines:
    """The processes that train one model together; each has all validation rows."""

    rank: int
    """The position of this process in the addresses."""
    addresses: tuple[str, ...]
    """IP address and port of each."""


@dataclass(frozen=True)
class Training:
    """What every family has to know beside its own keys."""

    task: Task
    seed: int
    report: Callable[[int, float], None]
    """Called with the steps done, as often as suits a progress bar, and a loss or score to show."""
    threads: int = 1
    """Of the hardware profile. TensorFlow has them already."""
    outputs: tuple[str, ...] = ()
    """Names of the targets."""
    half: Literal["float16", "bfloat16"] | None = None
    """The type in which the accelerator multiplies faster; None: float32 alone."""
    watch: Callable[[int, Any], None] | None = None
    """Called with the steps done and the model so far at every `report_every` steps; what it raises ends the
    training. A family may leave it out; then a search cannot prune its trials."""
    missing_features: bool = False
    """Whether the dataset's spec allows missing features."""
    categorical: tuple[int, ...] = ()
    """Positions of the features whose values are numbers of categories."""
    machines: Machines | None = None
    """For families with WORKERS; None: this process trains alone."""


@dataclass(frozen=True)
class Point:
    """One point of a training trace."""

    step: int
    score: float
    """On the training rows: the task's TRACE."""
    validation: float | None = None
    """The same on the validation rows, where the family looks at them on its way."""

    def record(self) -> dict[str, float | int]:
        """As JSON values."""
        held = {} if self.validation is None else {"validation": self.validation}
        return {"step": self.step, "score": self.score, **held}


class Family(Protocol):
    """What the module of a family offers."""

    def supports(self, spec: Spec) -> Finding | None:
        """Why the family cannot learn a dataset with this spec, and what to choose instead; None where it can."""

    def fit(self, section: Any, train: Rows, validation: Rows | None, training: Training) -> tuple[Any, list[Point]]:
        """Train on the train rows; validation rows, where there are some, may only decide when training stops.

        Raises:
            Refused: the training diverged.
        """

    def predict(self, model: Any, features: Array) -> Outputs:
        """Outputs for features as `Rows` has them; NaN is a missing feature."""

    def save(self, model: Any, folder: Path) -> None:
        """Write the model into an existing folder, the same bytes for the same model."""

    def load(self, folder: Path, task: Task) -> Any:
        """Read what `save` wrote."""

    def servable(self, model: Any) -> Callable[[Any], dict[str, Any]]:
        """A function of a float32 tensor [None, features] to output tensors; it may own variables."""
