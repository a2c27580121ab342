"""Model families: one module each, found by `model.family`. Add one by writing `<family>.py` with

    Section                                 its keys, a config.Model
    fit(section, rows, how)                 a model and its training trace
    predict(model, features)                outputs by name, as the servable answers
    save(model, folder), load(folder)       files that need no pickle
    servable(model)                         the same outputs as TensorFlow operations

and conf/model/<family>.yaml. Outputs follow the task. direction: `prediction` int64 [rows],
`probability` float64 [rows, 2]; regression: `prediction` float64 [rows, outputs].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
Outputs = Mapping[str, Array]


@dataclass(frozen=True)
class Rows:
    """What a model learns from: float32 [rows, features], and the target as the table has it."""

    features: Array
    target: Array


@dataclass(frozen=True)
class How:
    """What every family has to know beside its own keys."""

    task: str
    seed: int
    report: Callable[[int, float], None]
    """Called with the steps done, as often as suits a progress bar, and a loss or score to show."""
    threads: int = 1
    """Of the hardware profile. TensorFlow has them already."""


SCORE = {"direction": "accuracy", "regression": "rmse"}
"""What training is told by, by task: the share of rows that are right, or the root mean squared error."""


@dataclass(frozen=True)
class Point:
    """One point of a training trace."""

    step: int
    score: float
    """On the training rows, as SCORE has it."""


class Family(Protocol):
    """What the module of a family offers."""

    def fit(self, section: Any, rows: Rows, how: How) -> tuple[Any, list[Point]]:
        """Train on these rows.

        Raises:
            Refused: the training diverged.
        """

    def predict(self, model: Any, features: Array) -> Outputs:
        """Outputs for float32 [rows, features]."""

    def save(self, model: Any, folder: Path) -> None:
        """Write the model into an existing folder, the same bytes for the same model."""

    def load(self, folder: Path) -> Any:
        """Read what `save` wrote."""

    def servable(self, model: Any) -> Callable[[Any], dict[str, Any]]:
        """A function of a float32 tensor [None, features] to output tensors; it may own variables."""
