"""Trials in this process, or side by side in processes of their own, which end with this one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from tapeline.errors import Finding, Refused, refuse
from tapeline.tuning.study import Trial
from tapeline.tuning.trials import Job, Problem, runner

LOST = 3
"""Processes that one trial may lose before it is given up."""
Run = Callable[[Iterator[Job], float | None], Iterator[Trial]]
"""Runs jobs, which are taken as workers become free, until a moment of time.monotonic(); trials as they finish."""


@contextmanager
def pool(problem: Problem) -> Iterator[Run]:
    """A function that runs jobs in `tune.parallel` processes; one alone is this process itself."""
    if problem.tune.parallel == 1:
        here: list[Callable[[Job], Trial]] = []

        def run(jobs: Iterator[Job], deadline: float | None) -> Iterator[Trial]:
            for job in jobs:
                here[:] = here or [runner(problem)]
                yield here[0](job)
                if deadline is not None and time.monotonic() >= deadline:
                    return

        yield run
        return
    workers: list[_Worker] = []
    try:
        yield lambda jobs, deadline: _side_by_side(problem, workers, jobs, deadline)
    finally:
        for each in workers:
            each.end()


@dataclass
class _Worker:
    process: Any
    connection: Connection
    job: Job | None = None

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _started(problem: Problem) -> _Worker:
    # fork would copy the locks of threads that TensorFlow and Polars have started
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(problem, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _side_by_side(
    problem: Problem, workers: list[_Worker], jobs: Iterator[Job], deadline: float | None
) -> Iterator[Trial]:
    lost: Counter[int] = Counter()
    again: list[Job] = []
    while True:
        free = [each for each in workers if each.job is None]
        while len(workers) - len(free) < problem.tune.parallel and (job := again.pop() if again else next(jobs, None)):
            if not free:
                workers.append(_started(problem))
                free = workers[-1:]
            free[0].job = job
            with suppress(OSError):  # a process that is lost says so below
                free[0].connection.send(job)
            free = free[1:]
        busy = {each.connection: each for each in workers if each.job is not None}
        if not busy:
            return
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = wait(list(busy), left)
        if not ready:
            return
        for connection in ready:
            worker = busy[connection]  # type: ignore[index]
            job, worker.job = worker.job, None
            assert job is not None
            try:
                yield _result(worker.connection.recv())
            except (EOFError, OSError):
                workers.remove(worker)
                worker.end()
                again.append(_once_more(job, lost))


def _once_more(job: Job, lost: Counter[int]) -> Job:
    number = job.proposal.number
    lost[number] += 1
    if lost[number] == LOST:
        problem = f"the process of trial {number} was killed {LOST} times, perhaps because memory ran out"
        raise refuse("tune.parallel", problem, "lower it, or set tune.rows")
    return job


def _result(answer: Any) -> Trial:
    if isinstance(answer, Trial):
        return answer
    if isinstance(answer, tuple):
        raise Refused(*answer)
    raise RuntimeError(f"a trial failed in its process:\n{answer}")


def _work(problem: Problem, connection: Connection) -> None:
    """A worker's process: a job in, a trial out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    run: Callable[[Job], Trial] | None = None
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        answer: Trial | tuple[Finding, ...] | str
        try:
            run = run or runner(problem)
            answer = run(job)
        except Refused as error:
            answer = tuple(error.findings)
        except Exception:
            answer = traceback.format_exc()
        connection.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
