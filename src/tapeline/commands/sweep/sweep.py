"""Sweeps: Hydra's multirun over the local target, with a leaderboard.

    tapeline sweep model=flat,deep gate.threshold=0.5,0.6

A job is one file in `sweeps/<name>/jobs`, written when it ends, so that the same sweep again runs only
what is missing. A job that fails is reported and does not stop the others. A sweep never publishes.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tapeline import files, lookup
from tapeline.checks import before_run, configured
from tapeline.commands.sweep import jobs as jobs_of
from tapeline.commands.sweep import leaderboard, on_cluster
from tapeline.config import compose as conf
from tapeline.config import local as local_files
from tapeline.config.overrides import parse
from tapeline.config.schema import Config
from tapeline.errors import Refused, refuse
from tapeline.evaluation import metrics_file
from tapeline.pipeline import cache, cache_key
from tapeline.pipeline import run_locally as local
from tapeline.pipeline.execution import view
from tapeline.pipeline.graph import METRICS, pipeline
from tapeline.redaction import scrub
from tapeline.tasks import value


def run(overrides: Sequence[str], *, name: str | None) -> Path:
    """Run the sweep and write its leaderboard; return its folder, which `sweeps/latest` names.

    Args:
        overrides: Hydra's, several values and Hydra's own keys included.
        name: of the sweep; by default a digest of the overrides, so that the same line goes on.

    Raises:
        Refused: an override that no job could have, or no job finished.
    """
    if name is not None and Path(name).name != name:
        raise refuse(f"name={name}", "is not a folder name", "write a name without /, for example name=first")
    if (target := jobs_of.target(overrides)) != "local":
        return on_cluster.run(overrides, target, name)
    overrides = local_files.with_typed(list(overrides))
    expanded = conf.for_hydra(parse(overrides), sweep=True)
    total = _refuse_hopeless(overrides)
    folder = (Path("sweeps") / (name or files.digest(sorted(overrides))[:12])).absolute()
    (folder / "jobs").mkdir(parents=True, exist_ok=True)
    if machine := local_files.files():
        print(f"with the overrides of {', '.join(map(str, machine))}")
    _multirun(expanded, folder, total)
    jobs = [_read(path) for path in sorted((folder / "jobs").glob("*.json"))]
    leaderboard.write(jobs, folder)
    leaderboard.say_where(folder)
    files.point(folder.parent / "latest", folder.name)
    if not any(job["status"] == "finished" for job in jobs):
        raise refuse(folder / "leaderboard.csv", "no job of this sweep finished", "see the reasons in this file")
    return folder


def _refuse_hopeless(overrides: Sequence[str]) -> int | None:
    """Refuse a sweep of which every job would be refused, before one starts; the number of jobs otherwise.

    Jobs are known beforehand with Hydra's basic sweeper only; None for others.

    Raises:
        Refused: what is wrong with the jobs, each mistake once.
    """
    if any(text.startswith("hydra/sweeper") for text in overrides):
        return None
    jobs = jobs_of.expanded(overrides)
    refusals = list[Refused]()
    for job in jobs:
        try:
            configured(job)
        except Refused as error:
            refusals.append(error)
        else:
            return len(jobs)
    raise jobs_of.once(refusals)


def _read(path: Path) -> dict[str, Any]:
    """The content of a job's file; a continued sweep may have files of an older version."""
    record: dict[str, Any] = files.read_json(path)
    return {**record, "metrics": metrics_file.current(record["metrics"])} if "metrics" in record else record


def _multirun(overrides: Sequence[str], folder: Path, total: int | None) -> None:
    """Let Hydra expand the sweep and launch its jobs, so many in all."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    @hydra.main(  # type: ignore[untyped-decorator]
        version_base="1.3", config_path=str(conf.folder()), config_name="config"
    )
    def job(composed: Any) -> float | None:
        _say_where(started, total)
        return _job(composed, folder)

    started = time.time()
    ours = [
        f"hydra.sweep.dir={_quoted(folder)}",
        "hydra.sweep.subdir=.",
        "hydra.output_subdir=null",
        "hydra/job_logging=none",
        "hydra/hydra_logging=none",
    ]
    try:
        with _arguments(["tapeline", "--multirun", *ours, *overrides]):
            job()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        sentence = " ".join(str(error).split("\n")[0].split())
        raise refuse(" ".join(overrides), sentence, "correct the override") from None


def _say_where(started: float, total: int | None) -> None:
    """Print which job starts, and how long the others may take, by those that came before."""
    from hydra.core.hydra_config import HydraConfig

    number = int(HydraConfig.get().job.num)
    if total is None:
        print(f"job {number + 1}", flush=True)
        return
    left = (time.time() - started) / number * (total - number) if number else None
    print(f"job {number + 1} of {total}" + (f", about {_duration(left)} left" if left is not None else ""), flush=True)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _quoted(path: Path) -> str:
    """A path, quoted for Hydra's grammar."""
    escaped = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


@contextmanager
def _arguments(words: list[str]) -> Iterator[None]:
    """Set what Hydra reads: the command line, and a variable that makes it raise its errors."""
    before, sys.argv = sys.argv, words
    full = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = before
        os.environ.pop("HYDRA_FULL_ERROR")
        if full is not None:
            os.environ["HYDRA_FULL_ERROR"] = full


def _job(composed: Any, folder: Path) -> float | None:
    """Run one job unless its file says that it finished; return its score, for sweepers that use it."""
    from hydra.core.hydra_config import HydraConfig

    overrides = [each.assignment for each in parse(HydraConfig.get().overrides.task)]
    path = folder / "jobs" / f"{files.digest(sorted(overrides))[:12]}.json"
    started = time.perf_counter()
    record: dict[str, Any] = {"overrides": overrides, "status": "failed", "problem": None}
    try:
        config = lookup.validate(conf.resolve(composed))
        before_run(config)
        record["key"] = _key(config)
        known = files.read_json(path) if path.is_file() else {}
        if record["key"] and known.get("key") == record["key"] and "run" in known and Path(known["run"]).is_dir():
            print(f"  {' '.join(overrides) or 'as configured'}: finished before", flush=True)
            return _score(known)
        run = local.run(config, publish=False, shown=False, overrides=overrides)
        record |= {"status": "finished", "run": str(run.absolute()), "metrics": files.read_json(run / METRICS.file)}
    except Refused as error:
        record["problem"] = "; ".join(str(finding) for finding in error.findings)
    except Exception as error:  # a job must not take the others with it
        record["problem"] = scrub(f"{type(error).__name__}: {error}")
        files.write_bytes(path.with_suffix(".txt"), scrub(traceback.format_exc()).encode())
    record["seconds"] = time.perf_counter() - started
    files.write_json(path, record)
    said = record["problem"] or f"{leaderboard.shown(record)}, {record['seconds']:.1f} s"
    print(f"  {' '.join(overrides) or 'as configured'}: {said}", flush=True)
    return _score(record)


def _key(config: Config) -> str | None:
    """The digest of everything that the job's result depends on; None if only reading the data shows it."""
    watching = [step for step in pipeline(config) if step.world == "watched"]
    known = cache.Known(cache.local_folder(config.target.cache))
    outside = [step.module().seen(view(config, step.view), known) for step in watching]
    if None in outside:
        return None
    used = [conf.plain(view(config, step.view), places=False) for step in pipeline(config)]
    return files.digest(used, outside, [cache_key.environment(step, config) for step in pipeline(config)])


def _score(record: dict[str, Any]) -> float | None:
    """The gate's metric on the test rows; None for a job that failed."""
    if record["status"] != "finished":
        return None
    return value(record["metrics"]["test"]["overall"], record["metrics"]["config"]["gate"]["metric"])
