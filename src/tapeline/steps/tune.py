"""Hyper-parameter search on the first window of the split: best.json for training, and study.json.

tapeline step tune model=lightgbm tune=optuna --in table=table --out best=best.json --out study=study.json
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from tapeline.config.schema import Model, Split
from tapeline.config.search import Tune
from tapeline.models.device import Device
from tapeline.tuning import coordinator, database, results, trials
from tapeline.tuning.coordinator import Callback
from tapeline.tuning.space import VALIDATION
from tapeline.tuning.study import Study, Trial
from tapeline.tuning.trials import Problem

log = logging.getLogger(__name__)

TRIAL_BYTES = 1 << 14
"""Of the record of one trial, at most, about."""


@dataclass(frozen=True)
class Reads:
    """What the step reads of the configuration."""

    tune: Tune
    model: Model
    split: Split
    seed: int
    hw: Device


def space(config: Reads, *, table: Path) -> int:
    """Bytes of disk that `run` needs at most, about: a file for each trial, and study.json; rows stay in memory."""
    return 2 * config.tune.trials * TRIAL_BYTES


def run(config: Reads, *, table: Path, work: Path, best: Path, study: Path) -> None:
    """Search, and write the best values and all trials.

    Args:
        config: the keys.
        table: of features; rows of test periods are not read.
        work: a folder with the finished trials of this study.
        best: the file to write for training.
        study: the file to write about all trials.

    Raises:
        Refused: no trial is complete, or what is wrong with the rows.
    """
    problem = Problem(config.tune, config.model, config.split, config.seed, config.hw, table)
    of, data = trials.study(problem), trials.load(problem)
    log.info("    %s", _said(problem, of, data))
    if config.tune.workers > 1:
        log.info("    this is one worker of the study; target=argo starts tune.workers=%d of them", config.tune.workers)
    callback = _callback(of, config.tune.trials)
    if config.tune.storage is None:
        found, stopped = coordinator.search(problem, of, work, callback)
    else:
        found, stopped = database.search(problem, of, callback)
    results.write(problem, of, data, found, stopped, best, study)


def _said(problem: Problem, study: Study, data: trials.Data) -> str:
    rows, held = len(data.train.target), len(data.validation.target)
    text = f"{problem.tune.trials} trials, by {study.metric.name} on the {held:,} validation rows of the first window"
    if data.sampled:
        text += f"; trained on a sample of {rows:,} rows"
    if not problem.model.validation_share and not getattr(problem.split, "validation", None):
        text += f"; model={problem.model.family} keeps none, so the search keeps {VALIDATION:.0%}"
    return text


def _callback(study: Study, total: int) -> Callback:
    """Write a line for each trial, and move the bar, which shows the best so far."""

    def callback(trial: Trial, done: dict[int, Trial]) -> None:
        form = f"{{:{study.metric.form}}}"
        best = study.best(list(done.values()))
        leader = f"best {form.format(best.value)}, trial {best.number}" if best else "none complete yet"
        result = form.format(trial.value) if trial.state == "complete" else trial.state
        result += f" at step {trial.steps:,}" if trial.state == "pruned" else ""
        result += f" ({trial.problem})" if trial.problem else ""
        number = sum(each < total for each in done)
        text = f"    trial {trial.number}, {number} of {total}: {study.metric.name} {result}; {leader}"
        log.info(text, extra={"progress": (number, total), "label": f"tune, {leader}"})

    return callback
