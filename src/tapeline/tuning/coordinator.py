"""A study run by one process, batch by batch: the same trials, whatever the timing and however often it was killed.

The proposals of a batch follow from `tune.seed`, its number and the trials of the batches before. Each finished trial
is a file in a folder, written by rename; a search that goes on reads them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tapeline import files
from tapeline.tuning import study as studies
from tapeline.tuning.results import Stopped
from tapeline.tuning.study import Study, Trial
from tapeline.tuning.trials import Job, Problem
from tapeline.tuning.workers import pool

Callback = Callable[[Trial, dict[int, Trial]], None]
"""Takes a trial as it finishes, and all finished ones by number."""


def search(problem: Problem, study: Study, folder: Path, callback: Callback) -> tuple[list[Trial], Stopped]:
    """All trials of a study, in order, and what ended the search.

    Args:
        problem: what is searched, and on which rows.
        study: the same for the samplers.
        folder: of its finished trials.
        callback: called as each trial finishes.

    Raises:
        Refused: there are no rows to search on, or a trial's process was killed again and again.
    """
    tune = problem.tune
    deadline = None if tune.timeout_seconds is None else time.monotonic() + tune.timeout_seconds
    done = _read(folder)
    with pool(problem) as run:
        for first in range(0, tune.trials, tune.batch):
            numbers = range(first, min(first + tune.batch, tune.trials))
            jobs = _missing(study, done, first, numbers)
            for trial in run(jobs, deadline):
                files.write_json(folder / f"{trial.number}.json", trial.record())
                done[trial.number] = trial
                callback(trial, done)
            if any(number not in done for number in numbers):
                break
    found = studies.in_order({number: trial for number, trial in done.items() if number < tune.trials})
    return found, "trials" if len(found) == tune.trials else "timeout"


def _missing(study: Study, done: dict[int, Trial], first: int, numbers: range) -> Iterator[Job]:
    """A job for each trial of a batch that is not finished."""
    if all(number in done for number in numbers):
        return
    before = tuple(done[number] for number in range(first))
    proposals = studies.propose(study, before, (), first, len(numbers))
    for at, number in enumerate(numbers):
        if number not in done:
            yield Job(proposals[at], before, tuple(proposals[:at]))


def _read(folder: Path) -> dict[int, Trial]:
    """Finished trials by number; a file that cannot be read is none."""
    found: dict[int, Trial] = {}
    for path in folder.glob("[0-9]*.json"):
        try:
            trial = studies.read(files.read_json(path))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found[trial.number] = trial
    return found
