"""The schema of the group tune."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tapeline.config.section import Section


def _number(value: object) -> object:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not (value is None or whole or (isinstance(value, float) and math.isfinite(value))):
        raise ValueError("must be a number")
    return value


class Dimension(Section):
    """The values that a search tries for one key: a range from low to high, or a list of choices."""

    low: Annotated[Any, AfterValidator(_number)] = None
    """An int or a float, and so is high."""
    high: Annotated[Any, AfterValidator(_number)] = None
    log: Literal[False, True, "reverse"] = False
    """Draw from the logarithm of the range; reverse: of the distance from its other end, so that values near high are
    more frequent."""
    points: Annotated[int, Field(ge=2)] | None = None
    """Evenly spaced values of the range, for the sampler grid; null: all whole numbers of the range."""
    choices: list[Any] | None = None

    @model_validator(mode="after")
    def _fit_together(self) -> Dimension:
        if self.choices is not None:
            if (self.low, self.high, self.points) != (None, None, None) or self.log:
                raise ValueError("has choices and a range; keep one of them, as in [16, 32] or {low: 16, high: 32}")
            if len(self.choices) < 2 or any(each in self.choices[:at] for at, each in enumerate(self.choices)):
                raise ValueError("must have two or more choices that differ, as in [16, 32]")
            return self
        if self.low is None or self.high is None:
            raise ValueError("must have low and high, as in {low: 0.001, high: 0.1}, or a list of choices")
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}; swap them")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low} has no logarithm; set low above 0, as in low: 0.001, or log: false")
        return self


def _as_dimension(value: object) -> object:
    return {"choices": value} if isinstance(value, list) else value


class Tune(Section):
    """Hyper-parameter search before training; `tune=none` is none."""

    name: Literal["optuna"]
    trials: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)]
    """Trials that are proposed at once, from the results of all batches before."""
    parallel: Annotated[int, Field(ge=1, le=256)]
    """Processes; they change no result."""
    workers: Annotated[int, Field(ge=1, le=256)]
    """Pods of the step on Argo, which share the study in `storage`; elsewhere a run is one worker of it."""
    seed: Annotated[int, Field(ge=0)]
    metric: str
    """Of the validation rows. In conf/ null stands for the first one of the dataset's task."""
    sampler: Literal["tpe", "random", "grid", "cmaes"]
    startup: Annotated[int, Field(ge=0)]
    """Random trials before the sampler and the pruner use results."""
    pruner: Literal["none", "median", "hyperband"]
    timeout_seconds: Annotated[float, Field(gt=0)] | None
    rows: Annotated[int, Field(ge=1)] | None
    """Train rows of the search, at most; null: all."""
    block: Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)] | None
    """Duration of the blocks that are drawn for `rows`, as 1w; null where rows have no time."""
    refit: bool
    """Train on train and validation rows, with the number of steps of the best trial."""
    storage: str | None
    """A database for several workers; null: files in the cache, one coordinator."""
    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] | None
    """Name in that database; null: a digest of all that decides the results."""
    heartbeat_seconds: Annotated[float, Field(gt=0)]
    """Between two signs of life of a worker in that database."""
    password_env: str | None
    password_file: str | None
    space: dict[str, Annotated[Dimension, BeforeValidator(_as_dimension)]]
    """By key of the configuration. In conf/ null stands for the family's entry in `spaces`."""
