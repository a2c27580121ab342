"""One trial: train on the rows of the first window with other values, and score the validation rows."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from tapeline import tasks
from tapeline.config.schema import Model, Split
from tapeline.config.search import Tune
from tapeline.errors import Refused, refuse
from tapeline.lookup import family, spec, task
from tapeline.models import Rows, Training, device
from tapeline.models.device import Device
from tapeline.tables import splits
from tapeline.tables.spec import Array, categorical
from tapeline.tables.table import Table, open_table
from tapeline.tables.windows import SideName, Window, count, rows_of
from tapeline.tuning import sample, space
from tapeline.tuning.study import Proposal, Pruning, Study, Trial


@dataclass(frozen=True)
class Problem:
    """What a search is about; small, so that it travels to other processes."""

    tune: Tune
    model: Model
    split: Split
    seed: int
    hw: Device
    table: Path


@dataclass(frozen=True)
class Data:
    """The rows of a search, and how they came about."""

    window: Window
    """The first one of the split; its train side is the sample, where there is one."""
    train: Rows
    validation: Rows
    scored: dict[str, Array]
    """Target, weight and context columns of the validation rows."""
    sampled: bool


@dataclass(frozen=True)
class Job:
    """A trial to run, and what its pruner compares it with."""

    proposal: Proposal
    finished: tuple[Trial, ...]
    running: tuple[Proposal, ...]


class _Pruned(Exception):
    """The pruner stops the training."""


def study(problem: Problem) -> Study:
    """The study of a problem."""
    of = task(open_table(problem.table).manifest.task)
    return Study(problem.tune, problem.model, tasks.metric(of, problem.tune.metric))


def load(problem: Problem) -> Data:
    """Read the train and validation rows of the first window; test rows are not read.

    Raises:
        Refused: no rows are left, or none has a label.
    """
    table = open_table(problem.table)
    horizon = spec(table.manifest.dataset).horizon
    share = problem.model.validation_share or space.VALIDATION
    window = splits.of_table(problem.split, table, horizon, share)[0]
    chosen = sample.draw(window, table, problem.tune)
    train = _rows(table, chosen, "train")
    weight = ["weight"] if table.manifest.names("weight") else []
    names = ["target", *weight, *table.manifest.names("context")]
    scored = table.read(names, rows_of(window, table, "validation"))
    return Data(chosen, train, _rows(table, window, "validation"), scored, chosen is not window)


def _rows(table: Table, window: Window, side: SideName) -> Rows:
    """Raises Refused where no row has a label."""
    rows = rows_of(window, table, side)
    weight = ["weight"] if table.manifest.extra.get("sample_weights") else []
    arrays = table.read(("feature", "target", *weight), rows)
    if not sum(map(count, rows.values())) or not np.isfinite(arrays["target"]).any():
        raise refuse("tune=optuna", f"no {side} row of the first window has a label", "choose another split")
    return Rows(arrays["feature"], arrays["target"], arrays.get("weight"))


def runner(problem: Problem) -> Callable[[Job], Trial]:
    """A function that runs trials in this process.

    Raises:
        Refused: as `load`, or the hardware profile asks for what is not there.
    """
    device.prepare(problem.model, problem.hw)
    data, of = load(problem), study(problem)
    return lambda job: _run(problem, data, of, job)


def _run(problem: Problem, data: Data, of: Study, job: Job) -> Trial:
    params = of.params(job.proposal)
    module = family(problem.model.family)
    manifest = open_table(problem.table).manifest
    scoring = task(manifest.task)
    pruning = Pruning(of, job.finished, job.running, job.proposal)
    trace: list[tuple[int, float]] = []

    def score(model: Any) -> float | None:
        predictions = {**data.scored, **module.predict(model, data.validation.features)}
        value = tasks.value(scoring.score(predictions, data.scored.get("weight")), of.metric.name)
        return value if value is not None and math.isfinite(value) else None

    def watch(step: int, model: Any) -> None:
        if (value := score(model)) is not None:
            trace.append((step, value))
            if pruning.stops(step, value):
                raise _Pruned

    def made(state: Any, value: float | None = None, steps: int | None = None, problem: str | None = None) -> Trial:
        proposal = replace(job.proposal, attributes=pruning.attributes())
        return Trial(proposal, params, state, value, steps, tuple(trace), problem)

    watched = watch if problem.tune.pruner != "none" else None
    training = Training(
        scoring,
        problem.seed,
        lambda *_: None,
        problem.hw.threads,
        missing_features=spec(manifest.dataset).missing_features,
        outputs=manifest.outputs,
        half=device.half(problem.model, problem.hw),
        watch=watched,
        categorical=categorical(spec(manifest.dataset), manifest),
    )
    try:
        section = space.changed(problem.model, params)
        with _quiet():
            model, points = module.fit(section, data.train, data.validation, training)
    except _Pruned:
        return made("pruned", steps=trace[-1][0])
    except (Refused, ValidationError) as error:
        return made("failed", problem=_said(error))
    value = score(model)
    if value is None:
        return made("failed", problem=f"{of.metric.name} is not defined on the validation rows")
    return made("complete", value, points[-1].step)


def _said(error: Refused | ValidationError) -> str:
    if isinstance(error, Refused):
        return "; ".join(f"{each.where}: {each.problem}" for each in error.findings)
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines that a family writes about a training; there are many here."""
    logger = logging.getLogger("tapeline.models")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
