"""Claims of a shared study, on SQLite: who may take which trial, and whose result counts. PostgreSQL: tests/servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tapeline.errors import Refused
from tapeline.tuning import shared_study
from tapeline.tuning.shared_study import SILENT, TABLE, Shared
from tapeline.tuning.study import Trial
from tapeline.tuning.trials import Job, Problem
from tests.tuning.problems import longer, study

DESCRIPTION = {"space": {"model.num_leaves": {"low": 2, "high": 31}}, "seed": 0, TABLE: "d1"}


@dataclass
class Clock:
    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that workers see."""
    made = Clock()
    monkeypatch.setattr(shared_study, "time", made)
    return made


Worker = Callable[[], Shared]


@pytest.fixture
def worker(problem: Problem, tmp_path: Path, clock: Clock) -> Worker:
    """Makes workers of one study of eight trials, with a heartbeat each second."""
    import sqlalchemy as sql

    keys = longer(problem, heartbeat_seconds=1.0).tune

    def made() -> Shared:
        engine = sql.create_engine(f"sqlite:///{tmp_path}/study.db", poolclass=sql.NullPool)
        one = Shared(engine, "study", keys, study(problem))
        one.join(DESCRIPTION)
        return one

    return made


def claim(one: Shared) -> Job:
    return next(one.jobs())


def done(job: Job, value: float = 0.5) -> Trial:
    return Trial(job.proposal, {}, "complete", value, 20, ((20, value),))


def test_workers_claim_different_trials_until_none_is_left(worker: Worker) -> None:
    first, second = worker(), worker()
    jobs = [claim(each) for _ in range(4) for each in (first, second)]
    assert [job.proposal.number for job in jobs] == list(range(8))
    assert len({str(job.proposal.drawn) for job in jobs}) == 8
    assert [len(job.running) for job in jobs] == list(range(8))
    assert next(first.jobs(), None) is None
    assert all((first if at % 2 == 0 else second).finish(done(job)) for at, job in enumerate(jobs))
    assert first.complete()
    assert sorted(second.finished()) == list(range(8))


def test_a_later_proposal_sees_results_of_others(worker: Worker) -> None:
    first, second = worker(), worker()
    first.finish(done(claim(first), 0.75))
    job = claim(second)
    assert [(each.number, each.value) for each in job.finished] == [(0, 0.75)]


def test_a_silent_workers_trial_is_tried_again_and_its_own_late_result_does_not_count(
    worker: Worker, clock: Clock
) -> None:
    lost, other = worker(), worker()
    job = claim(lost)
    assert claim(other).proposal.number == 1
    clock.now += SILENT + 0.1
    taken = claim(other)
    assert taken.proposal == job.proposal
    assert other.finish(done(taken, 0.25)) is True
    assert lost.finish(done(job, 0.99)) is False
    assert other.finished()[0].value == 0.25


def test_a_worker_that_says_it_lives_keeps_its_trial(worker: Worker, clock: Clock) -> None:
    import sqlalchemy as sql

    alive, other = worker(), worker()
    claim(alive)
    claim(other)
    for _ in range(3):
        clock.now += SILENT - 0.1
        with alive.engine.begin() as connection:
            connection.execute(sql.text("UPDATE tapeline_trials SET beat = beat + 1 WHERE number = 0"))
        assert claim(other).proposal.number > 1


def test_only_one_of_two_takes_over(worker: Worker, clock: Clock) -> None:
    lost, others = worker(), [worker(), worker()]
    claim(lost)
    assert all(each.finish(done(claim(each))) for each in others)
    clock.now += SILENT + 0.1
    assert [claim(each).proposal.number for each in others] == [0, 3]


def test_what_is_given_back_is_free_at_once(worker: Worker) -> None:
    first, second = worker(), worker()
    job = claim(first)
    first.release()
    assert claim(second).proposal == job.proposal


@pytest.mark.parametrize(
    ("change", "named"),
    [({"seed": 1}, "seed is 0 there and 1 here"), ({TABLE: "d2"}, "d1 there"), ({"space": {}}, "model.num_leaves")],
)
def test_another_study_of_this_name_is_refused(worker: Worker, change: dict[str, Any], named: str) -> None:
    one = worker()
    with pytest.raises(Refused, match=r"tune\.study=study: the database has another study") as refused:
        one.join({**DESCRIPTION, **change})
    assert named in str(refused.value)


def test_before_there_is_a_table_the_rest_is_compared(worker: Worker) -> None:
    worker().compare({key: value for key, value in DESCRIPTION.items() if key != TABLE})
    with pytest.raises(Refused):
        worker().compare({"seed": 2, "space": DESCRIPTION["space"]})
