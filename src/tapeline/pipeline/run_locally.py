"""Run the graph in this process; finished steps come from the cache.

tapeline run model=flat         runs/latest holds what came out
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tapeline import __version__, files
from tapeline.config import compose as conf
from tapeline.config import secrets
from tapeline.config.schema import Config
from tapeline.config.schema import Target as Section
from tapeline.console import LOG, logged, running
from tapeline.errors import Refused
from tapeline.pipeline import cache, cache_key, mlflow_runs, shared_cache
from tapeline.pipeline import tensorboard_events as events
from tapeline.pipeline.execution import execute
from tapeline.pipeline.graph import METRICS, PROFILE, PUBLISHED, REPORT, Parameters, Step, pipeline
from tapeline.pipeline.run_folder import decision
from tapeline.pipeline.stamp import stamp
from tapeline.serving.store.location import absolute
from tapeline.tables import quality
from tapeline.versions import versions

__all__ = ["Section", "run"]

T = TypeVar("T")


@dataclass
class Progress:
    """The progress of a run."""

    folder: Path
    """Of the run."""
    artifacts: dict[str, Path] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    parameters: Parameters = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    """The record of each step for run.json."""
    shared: shared_cache.Shared | None = None
    """The cache at a URL, if `target.cache` is one."""


def run(
    config: Config,
    *,
    why: bool = False,
    publish: bool = True,
    shown: bool = True,
    overrides: Sequence[str] = (),
    machine: Sequence[Path] = (),
) -> Path:
    """Run the graph; return the run's folder, which `runs/latest` names once it is complete.

    Args:
        config: the whole of it.
        why: say of each step that runs what part of its key has changed.
        publish: let an accepted model go live.
        shown: write to standard output what also stands in log.txt.
        overrides: as typed, for run.json; they are in `config` already.
        machine: the files of conf/local that some of them are from.

    Raises:
        Refused, OSError: by a step, and no folder is left; or the run cannot be tracked, and its folder is complete.
    """
    started = datetime.now(UTC)
    folder = new_folder(config, started)
    try:
        with files.owned(folder), logged(folder / "log.txt", shown=shown):
            files.write_bytes(folder / "config.yaml", _yaml(conf.plain(config)))
            begin(folder, config, started, overrides, machine)
            _say_what_it_is(config, machine)
            progress = Progress(folder, shared=shared_cache.connect(config.target))
            for step in pipeline(config):
                take(step, config, progress, why=why, publish=publish)
            finish(config, progress, started)
    except (Refused, OSError):
        shutil.rmtree(folder)
        raise
    except KeyboardInterrupt:
        files.write_json(folder / cache.RECORD, {**files.read_json(folder / cache.RECORD), "state": "stopped"})
        raise
    if config.track:
        with logged(folder / "log.txt", shown=shown):
            mlflow_runs.write(folder, config, config.track)
    return folder


def new_folder(config: Config, started: datetime) -> Path:
    """Create an empty folder for a run."""
    what = config.experiment or f"{config.dataset.name}_{config.model.family}"
    parent = Path(config.target.runs)
    parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, 1000):
        name = f"{started:%Y%m%d-%H%M%S}_{what}" + (f"_{number}" if number > 1 else "")
        try:
            (parent / name).mkdir()
        except FileExistsError:
            continue
        return parent / name
    raise RuntimeError(f"no free name for a run in {parent}")


def begin(
    folder: Path,
    config: Config,
    started: datetime,
    overrides: Sequence[str] = (),
    machine: Sequence[Path] = (),
    **facts: Any,
) -> None:
    """Write run.json of a running run with these facts; from now on it names each cache entry that the run uses."""
    record = {
        "state": "running",
        "target": config.target.name,
        "host": platform.node(),
        "started": started.isoformat(timespec="seconds"),
        "folder": str(folder.absolute()),
        "overrides": [secrets.written(text) for text in overrides],
        "local": [str(path) for path in machine],
        "entries": [],
        **facts,
    }
    files.write_json(folder / cache.RECORD, record)


def _yaml(value: Mapping[str, Any]) -> bytes:
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True).encode()


def _say_what_it_is(config: Config, machine: Sequence[Path]) -> None:
    what = f"{config.dataset.name} ({config.dataset.source}), {config.model.family}, {config.hw.name}"
    what += f"; with {', '.join(map(str, machine))}" if machine else ""
    LOG.info("tapeline %s: %s", __version__, what)
    unmet = ["requests and limits"]
    if config.hw.accelerator:
        unmet = ["node selector", "toleration", *unmet, f"the image with TensorFlow {config.hw.tensorflow}"]
    LOG.info("local: %s do not apply", ", ".join(unmet))
    if config.hw.accelerator and config.hw.accelerator.end_of_life:
        LOG.info("hw=%s: clouds withdrew this card on %s", config.hw.name, config.hw.accelerator.end_of_life)


def take(step: Step, config: Config, progress: Progress, *, why: bool = False, publish: bool = True) -> None:
    """Take one step from the cache, run it, or skip it."""
    if step.when and progress.parameters.get(step.when) != "true":
        return _note(step, progress, "skipped", f"{step.when} is {progress.parameters.get(step.when)}")
    if step.store == "write" and not publish:
        return _note(step, progress, "skipped", "publish=false")
    root, shared = cache.local_folder(config.target.cache), progress.shared
    wanted = cache_key.parts(step, config, _taken(step, progress.digests), _known(root, shared))
    if wanted is not None:
        cache.claim(root, step, wanted, progress.folder)
    if wanted is not None and (entry := cache.find(root, step, wanted)):
        return _settle(step, progress, entry, "cached")
    if wanted is not None and shared and (entry := _shared(root, shared, step, wanted)):
        return _settle(step, progress, entry, "cached")
    if why and wanted is not None:
        changed = cache.why([*cache.entries_of(root, step), *(shared.entries_of(step) if shared else ())], wanted)
        LOG.info("  %-10s runs because %s", step.name, ", ".join(changed) or "it never ran before")

    work = cache.unfinished(root, step, wanted, progress.folder) if wanted is not None and step.resumes else None

    def build(outputs: dict[str, Path]) -> tuple[Parameters, float]:
        running(f"{step.name}: {_about(step)}")
        started = time.perf_counter()
        parameters = execute(step, config, _taken(step, progress.artifacts), outputs, work)
        return parameters, time.perf_counter() - started

    if wanted is not None:
        entry = cache.make(root, step, wanted, build)
        if shared:
            there = {each.name: entry.folder / each.file for each in step.makes if each.name in entry.digests}
            shared.offer(step, wanted, there, entry.parameters, entry.seconds)
        return _settle(step, progress, entry, "ran")
    with files.scratch(progress.folder, step.name) as scratch:
        parameters, seconds = build({made.name: scratch / made.file for made in step.makes})
        digests = cache.digests_of(step, scratch)
        for made in (each for each in step.makes if each.name in digests):
            os.replace(scratch / made.file, progress.folder / made.file)
    return _settle(step, progress, cache.Entry(progress.folder, digests, parameters, seconds), "ran")


def _known(root: Path, shared: shared_cache.Shared | None) -> dict[str, str]:
    """Digests of objects in object storages that are known, by URL and ETag."""
    here = cache.Known(root)
    return shared.known(here) if shared else here


def _shared(root: Path, shared: shared_cache.Shared, step: Step, wanted: cache_key.Parts) -> cache.Entry | None:
    """The entry for these parts from the shared cache, copied to the cache of this machine."""
    with files.scratch(root / step.name, "shared") as scratch:
        found = shared.fetch(step, wanted, scratch)
        if not found:
            return None

        def move(outputs: dict[str, Path]) -> tuple[Parameters, float]:
            for each in (made for made in step.makes if made.name in found.digests):
                os.replace(scratch / each.file, outputs[each.name])
            return found.parameters, found.seconds

        return cache.make(root, step, wanted, move)


def _about(step: Step) -> str:
    """What a step does: the first line of its program's docstring."""
    lines = (step.module().__doc__ or "").strip().splitlines()
    return lines[0].rstrip(".") if lines else step.name


def _taken(step: Step, known: Mapping[str, T]) -> dict[str, T]:
    """The known artifacts that a step takes; optional ones may be missing."""
    return {name: known[name] for name in step.inputs if name in known or name in step.needs}


def _settle(step: Step, progress: Progress, entry: cache.Entry, how: str) -> None:
    for made in (each for each in step.makes if each.name in entry.digests):
        progress.artifacts[made.name] = entry.folder / made.file
        if entry.folder != progress.folder and made.kept is not None:
            file = made.kept or made.file
            files.clone(entry.folder / made.file / made.kept, progress.folder / file)
    if PROFILE.name in entry.digests:  # also where it comes from the cache, and no step ran
        quality.say(files.read_json(entry.folder / PROFILE.file)["quality"])
    progress.digests |= entry.digests
    progress.parameters |= entry.parameters
    _note(step, progress, how, f"{entry.seconds:.2f} s" if how == "ran" else "", seconds=entry.seconds)


def _note(step: Step, progress: Progress, how: str, detail: str, **facts: Any) -> None:
    progress.steps.append({"step": step.name, "how": how, **facts})
    LOG.info("  %-10s %-7s %s", step.name, how, detail)


def _without_place(record: dict[str, Any], config: Config) -> dict[str, Any]:
    """The record with the interpolation instead of the store's path, if that comes from the environment."""
    text = config.environment.get("serving.store")
    if text is None:
        return record
    return {
        key: value.replace(config.serving.store, text) if isinstance(value, str) else value
        for key, value in record.items()
    }


def finish(config: Config, progress: Progress, started: datetime, **facts: Any) -> None:
    """Log the decision, write run.json with these facts, and let `latest` name this run."""
    folder = progress.folder
    metrics = files.read_json(progress.artifacts[METRICS.name])
    events.write(metrics, folder)
    LOG.info("%s", decision(metrics))
    published = progress.artifacts.get(PUBLISHED.name)
    served = _without_place(files.read_json(published), config) if published else None
    if served:
        LOG.info("%s", served["sentence"])
    stamp(folder / REPORT.file, metrics["gate"]["accepted"], served, started)
    LOG.info("report: %s", folder / REPORT.file)
    written = conf.plain(config)
    store = written["serving"]["store"]
    record = {
        **files.read_json(folder / cache.RECORD),
        "state": "finished",
        "seconds": (datetime.now(UTC) - started).total_seconds(),
        "digests": progress.digests,
        "store": store if "serving.store" in config.environment else absolute(store),
        "dataset.path": written["dataset"]["path"],
        "published": served,
        "steps": progress.steps,
        "versions": versions(),
        **facts,
    }
    files.write_json(folder / cache.RECORD, record)
    files.point(folder.parent / "latest", folder.name)
