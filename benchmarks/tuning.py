"""A search of ours beside a plain Optuna loop around the same trainings, and two processes beside one.

Both sides train boosted trees on the same rows, with values that Optuna's random sampler draws from the same ranges.
The rounds alternate, each in a process of its own, pinned to the same two cores.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS, TRIALS = 5, 24
STEPS = 2_500
"""Of each training, which then takes a second or more."""
MOST, LEAST = 1.05, 1.6
"""Ours over the plain loop with one process, and one process over two."""
OVERRIDES = (
    *("model=lightgbm", "model.early_stopping_rounds=null", "tune=optuna", "tune.sampler=random", "tune.pruner=none"),
    "tune.space={model.learning_rate:{low:0.01,high:0.1,log:true},model.lambda_l2:{low:1.0,high:10.0}}",
)
WAYS = ("plain", "one", "two")


def main() -> None:
    """Print the median and the spread of each way, and the two ratios."""
    measured: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        table = _table(Path(folder))
        for _ in range(ROUNDS):
            for way in WAYS:
                measured[way].append(_measure(way, table))
    for way, seconds in measured.items():
        middle = statistics.median(seconds)
        print(f"  {way:6}{middle:8.2f} s for {TRIALS} trials, {min(seconds):.2f} to {max(seconds):.2f}")
    over = statistics.median(a / b for a, b in zip(measured["one"], measured["plain"], strict=True))
    faster = statistics.median(a / b for a, b in zip(measured["one"], measured["two"], strict=True))
    print(f"  tune.parallel=1 takes {over:.3f} times the plain loop, at most {MOST} wanted")
    print(f"  tune.parallel=2 is {faster:.2f} times as fast, at least {LEAST} wanted; load {os.getloadavg()[0]:.1f}")


def _table(folder: Path) -> Path:
    from tests.tuning.problems import make_table

    return make_table(folder)


def _measure(way: str, table: Path) -> float:
    cores = sorted(os.sched_getaffinity(0))[:2]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-m", "benchmarks.tuning", way, str(table), str(STEPS), str(TRIALS)]
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        env=environment,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def run(way: str, table: Path, steps: int, trials: int) -> float:
    """Seconds of one way; imports, the first compilation and, with two processes, their start are part of all."""
    from tapeline.tuning import coordinator
    from tests.tuning import problems

    size = [f"model.steps={steps}", f"model.report_every={steps}", f"tune.trials={trials}"]
    problem = problems.problem(table, *OVERRIDES, *size, f"tune.parallel={2 if way == 'two' else 1}")
    study = problems.study(problem)
    begun = time.perf_counter()
    if way == "plain":
        _plain(problem, trials)
    else:
        with tempfile.TemporaryDirectory() as folder:
            coordinator.search(problem, study, Path(folder), lambda *_: None)
    return time.perf_counter() - begun


def _plain(problem: object, trials: int) -> None:
    """What a person would write: ask, train, score, tell."""
    import optuna

    from tapeline.lookup import family, task
    from tapeline.models import Training, device
    from tapeline.tasks import value
    from tapeline.tuning import space
    from tapeline.tuning import trials as ours

    assert isinstance(problem, ours.Problem)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    device.prepare(problem.model, problem.hw)
    data, of, module = ours.load(problem), task("direction"), family(problem.model.family)
    distributions = space.distributions(problem.tune.space, problem.model)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(trials):
        trial = study.ask(fixed_distributions=distributions)
        section = space.changed(problem.model, trial.params)
        training = Training(of, problem.seed, lambda *_: None, problem.hw.threads)
        model, _ = module.fit(section, data.train, data.validation, training)
        scores = of.score({**data.scored, **module.predict(model, data.validation.features)})
        study.tell(trial, value(scores, problem.tune.metric))


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
