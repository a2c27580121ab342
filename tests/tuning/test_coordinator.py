"""The coordinator: the same trials whatever the timing, the number of processes and the kills."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline import files
from tapeline.errors import Refused
from tapeline.lookup import spec
from tapeline.tables import splits
from tapeline.tables.table import open_table
from tapeline.tables.windows import SideName, rows_of
from tapeline.tuning import coordinator, results, study, trials, workers
from tapeline.tuning.coordinator import search
from tapeline.tuning.study import Trial
from tapeline.tuning.trials import Job, Problem
from tests.conftest import ROOT
from tests.tuning.problems import longer, targets, with_target
from tests.tuning.problems import problem as small
from tests.tuning.problems import study as of


def records(found: list[Trial]) -> list[dict[str, Any]]:
    return [each.record() for each in found]


def quiet(*_: object) -> None:
    pass


@pytest.fixture(scope="session")
def reference(table: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Trial]:
    """Twelve trials in one go."""
    problem = small(table, "tune.trials=12")
    return search(problem, of(problem), tmp_path_factory.mktemp("reference"), quiet)[0]


def test_trials_differ_and_some_are_pruned(reference: list[Trial]) -> None:
    assert [each.number for each in reference] == list(range(12))
    assert len({json.dumps(each.params) for each in reference}) == 12
    assert {each.state for each in reference} == {"complete", "pruned"}
    assert all(each.state == "pruned" or each.value == each.trace[-1][1] for each in reference if each.steps == 20)


@contextmanager
def disordered(problem: Problem) -> Iterator[workers.Run]:
    """A pool whose trials finish in any order."""
    run = trials.runner(problem)
    chance = random.Random(os.urandom(8))

    def shuffled(jobs: Iterator[Job], deadline: float | None) -> Iterator[Trial]:
        taken = list(jobs)
        chance.shuffle(taken)
        yield from (run(job) for job in taken)

    yield shuffled


def test_the_order_in_which_trials_finish_changes_nothing(
    table: Path, tmp_path: Path, reference: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = small(table, "tune.trials=12", "tune.parallel=4")
    monkeypatch.setattr(coordinator, "pool", disordered)
    assert records(search(problem, of(problem), tmp_path, quiet)[0]) == records(reference)


class Killed(Exception):
    pass


def test_a_search_that_ends_anywhere_goes_on_to_the_same_trials(
    table: Path, tmp_path: Path, reference: list[Trial]
) -> None:
    problem = small(table, "tune.trials=12")
    ran = 0

    def kill(trial: Trial, done: dict[int, Trial]) -> None:
        nonlocal ran
        ran += 1
        if ran % 3 == 0:
            raise Killed

    for _ in range(3):
        with pytest.raises(Killed):
            search(problem, of(problem), tmp_path, kill)
    shown: list[int] = []
    found, stopped = search(problem, of(problem), tmp_path, lambda trial, _: shown.append(trial.number))
    assert (shown, stopped) == ([9, 10, 11], "trials")
    assert records(found) == records(reference)


def test_a_longer_search_begins_with_the_shorter_one(table: Path, tmp_path: Path, reference: list[Trial]) -> None:
    problem = small(table, "tune.trials=6")
    assert records(search(problem, of(problem), tmp_path, quiet)[0]) == records(reference[:6])
    shown: list[int] = []
    search(longer(problem, trials=12), of(problem), tmp_path, lambda trial, _: shown.append(trial.number))
    assert shown == [6, 7, 8, 9, 10, 11]
    shown.clear()
    found, _ = search(problem, of(problem), tmp_path, lambda trial, _: shown.append(trial.number))
    assert (records(found), shown) == (records(reference[:6]), [])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"proposal": {}}'])
def test_a_damaged_file_of_a_trial_is_made_again(
    table: Path, tmp_path: Path, reference: list[Trial], content: str
) -> None:
    for each in reference:
        files.write_json(tmp_path / f"{each.number}.json", each.record())
    (tmp_path / "5.json").write_text(content)
    problem = small(table, "tune.trials=12")
    shown: list[int] = []
    found, _ = search(problem, of(problem), tmp_path, lambda trial, _: shown.append(trial.number))
    assert (shown, records(found)) == ([5], records(reference))


KILLED = """
import os, signal, sys, time
from pathlib import Path
from tapeline.tuning import coordinator
from tests.tuning import problems

problem = problems.problem(Path(sys.argv[1]), "tune.trials=24")
study, folder = problems.study(problem), Path(sys.argv[2])
import lightgbm, optuna, sklearn.metrics  # once, for all forks

for number in range(10):
    before = len(list(folder.glob("*.json")))
    if (child := os.fork()) == 0:
        coordinator.search(problem, study, folder, lambda *_: None)
        os._exit(0)
    while len(list(folder.glob("*.json"))) <= before + number % 2:
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
found, stopped = coordinator.search(problem, study, folder, lambda *_: None)
print(len(found), stopped)
"""


@pytest.mark.long
def test_killed_ten_times_it_has_the_same_24_trials(table: Path, tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    whole.mkdir()
    command = [sys.executable, "-c", KILLED, str(table), str(killed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("24 trials\n", 0), done.stderr
    problem = small(table, "tune.trials=24")
    found = search(problem, of(problem), whole, quiet)[0]
    read = [study.read(files.read_json(killed / f"{number}.json")) for number in range(24)]
    assert records(read) == records(found)


@pytest.mark.long
def test_processes_side_by_side_make_the_same_trials_and_survive_a_kill(
    table: Path, tmp_path: Path, reference: list[Trial]
) -> None:
    problem = small(table, "tune.trials=8", "tune.parallel=2")
    others = {each.pid for each in multiprocessing.active_children()}
    killed: list[int] = []

    def kill_one(trial: Trial, done: dict[int, Trial]) -> None:
        if not killed:
            workers = {each.pid for each in multiprocessing.active_children()} - others
            killed.append(min(pid for pid in workers if pid))
            os.kill(killed[0], signal.SIGKILL)

    found, stopped = search(problem, of(problem), tmp_path, kill_one)
    assert (records(found), stopped) == (records(reference[:8]), "trials")
    assert killed


def test_the_time_limit_ends_a_search(table: Path, tmp_path: Path) -> None:
    problem = longer(small(table, "tune.trials=12"), timeout_seconds=1e-6)
    study_ = of(problem)
    found, stopped = search(problem, study_, tmp_path, quiet)
    assert (len(found), stopped) == (1, "timeout")
    data = trials.load(problem)
    results.write(problem, study_, data, found, stopped, tmp_path / "best.json", tmp_path / "study.json")
    assert files.read_json(tmp_path / "study.json")["stopped_by"] == "timeout"
    with pytest.raises(Refused, match=r"tune\.timeout_seconds=1e-06: no trial was complete"):
        results.write(problem, study_, data, [], "timeout", tmp_path / "best.json", tmp_path / "study.json")


def test_a_value_that_training_refuses_fails_its_trial_and_not_the_search(table: Path, tmp_path: Path) -> None:
    choices = "tune.space={model.boosting:[gbdt,rf],model.bagging_fraction:[0.5,1.0]}"
    problem = small(table, choices, "tune.sampler=grid", "tune.trials=4")
    found, _ = search(problem, of(problem), tmp_path, quiet)
    failed = [each for each in found if each.state == "failed"]
    (one,) = failed
    assert one.params == {"model.boosting": "rf", "model.bagging_fraction": 1.0}
    assert "has to leave rows out" in (one.problem or "")


def shown(problem: Problem, folder: Path) -> tuple[bytes, bytes]:
    """best.json and study.json."""
    folder.mkdir()
    study_, data = of(problem), trials.load(problem)
    found, stopped = search(problem, study_, folder, quiet)
    results.write(problem, study_, data, found, stopped, folder / "best", folder / "study")
    return (folder / "best").read_bytes(), (folder / "study").read_bytes()


def flipped(table: Path, side: SideName, folder: Path, window: int, split: str) -> Path:
    """The table with other targets in some rows of a side of a window."""
    problem = small(table, split)
    data = open_table(table)
    windows = splits.of_table(problem.split, data, spec("indices").horizon, problem.model.validation_share)
    (rows,) = rows_of(windows[window], data, side).values()
    target = targets(table)
    chosen = np.arange(len(target))[rows][:: 3 + window]
    target[chosen] = 1 - target[chosen]
    return with_target(data, target, folder)


@pytest.mark.parametrize(("split", "window"), [("split=chronological", 0), ("split=walk_forward", 0),
                                               ("split=walk_forward", 3)])  # fmt: skip
def test_a_target_in_a_test_period_changes_nothing(table: Path, tmp_path: Path, split: str, window: int) -> None:
    problem = small(table, split, "tune.trials=4")
    other = replace(problem, table=flipped(table, "test", tmp_path / "table", window, split))
    assert targets(other.table).tolist() != targets(table).tolist()
    assert shown(problem, tmp_path / "a") == shown(other, tmp_path / "b")


@pytest.mark.parametrize("side", ["train", "validation"])
def test_a_target_that_the_search_reads_changes_values(table: Path, tmp_path: Path, side: SideName) -> None:
    problem = small(table, "tune.trials=4")
    other = replace(problem, table=flipped(table, side, tmp_path / "table", 0, "split=chronological"))
    values = [
        [each["value"] for each in json.loads(shown(each_problem, tmp_path / name)[1])["trials"]]
        for each_problem, name in ((problem, "a"), (other, "b"))
    ]
    assert values[0] != values[1]
