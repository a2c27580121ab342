"""A run on a cluster, its progress and its files: make submit target=argo experiment=snp_deep

What `clusters/argo/submit.py` and its like have to offer is `Place`; the rest is the same for all.
"""

from __future__ import annotations

import importlib
import json
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, cast

import yaml

from tapeline import files
from tapeline.checks import before_build, configured
from tapeline.clusters.run_status import SECONDS, Part, Place, Seen, State
from tapeline.config import compose as conf
from tapeline.config.schema import Cluster, Config
from tapeline.console import LOG, logged
from tapeline.errors import Finding, Refused, program, refuse
from tapeline.pipeline import run_locally as local
from tapeline.pipeline.graph import METRICS, artifacts, pipeline
from tapeline.pipeline.run_folder import RECORD, Run, runs


class Failed(Refused):
    """The run failed on the cluster."""


class Other(Refused):
    """The run is of another configuration."""


class Ended(KeyboardInterrupt):
    """SIGTERM, which ends the command as Ctrl-C does."""


def run(overrides: Sequence[str], own: Mapping[str, str]) -> Path | None:
    """Start a run, show its progress, and copy its files; return the run's folder, which `runs/latest` names.

    Args:
        overrides: as typed.
        own: check=true starts nothing, and refuses what a run would lack; apply=true allows a run without a template on
            the cluster; run=NAME follows one that was started, and with stop=true stops it.

    Raises:
        Refused: the configuration is, the cluster says no, the run fails, or it is of another configuration.
    """
    config, started = configured(overrides, before_build), datetime.now(UTC)
    place, name = _place(config), own.get("run", "")
    if own.get("check") == "true":
        print(*(f"{config.target.name}: {sentence}" for sentence in place.check(config, overrides)), sep="\n")
        return None
    if own.get("stop") == "true":
        if not name:
            raise refuse("stop=true", "does not say which run", "add run=NAME, as submit printed it")
        place.stop(config, name)
        print(f"{name}: stops; its finished steps stay on the cluster")
        return None
    with interrupted():
        before = _folder(config, name) if name else None
        name = name or place.begin(config, overrides, apply=own.get("apply") == "true")
        folder = before or local.new_folder(config, started)
        began = Run(folder).started if before else started
        try:
            with files.owned(folder), logged(folder / "log.txt"):
                local.begin(folder, config, began, overrides, submitted=name)
                LOG.info("%s: %s", config.target.name, name)
                _all(place, config, name, folder, began)
        except (Failed, Other) as error:
            _left(folder, keep=bool(before) and isinstance(error, Other))
            raise
        except KeyboardInterrupt as signalled:
            _left(folder, keep=True)
            _say_how_to_go_on(place, config, name)
            sys.exit(143 if isinstance(signalled, Ended) else 130)
        except Refused as error:
            _left(folder, keep=True)
            fix = f"the same command with run={name} goes on with it in {folder}"
            raise Refused(*error.findings, Finding(name, "was started, and may still run", fix)) from None
        except BaseException:
            _left(folder, keep=True)
            raise
    return folder


@contextmanager
def interrupted() -> Iterator[None]:
    """SIGTERM raises `Ended` here; signals reach the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise Ended

    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _place(config: Config) -> Place:
    target = config.target
    if not isinstance(target, Cluster):
        raise refuse(f"target={target.name}", "is not a cluster", "choose target=argo, target=kfp or target=tfjob")
    return cast(Place, importlib.import_module(f"tapeline.clusters.{target.name}.submit"))


def _folder(config: Config, name: str) -> Path | None:
    """The folder of an earlier command that followed this run.

    Raises:
        Refused: another command follows it.
    """
    for each in runs(Path(config.target.runs)):
        if (each.record.get("target"), each.record.get("submitted")) == (config.target.name, name):
            if each.at_work:
                raise refuse(f"run={name}", f"another command follows it in {each.folder}", "wait until that one ends")
            return each.folder
    return None


def _left(folder: Path, *, keep: bool) -> None:
    """What stays of a run that is not followed to its end."""
    if keep and (folder / RECORD).exists():
        files.write_json(folder / RECORD, {**files.read_json(folder / RECORD), "state": "stopped"})
    else:
        shutil.rmtree(folder)


def _say_how_to_go_on(place: Place, config: Config, name: str) -> None:
    typed = f"{program()} submit with the same overrides"
    for line in (
        f"{name} is still running; {place.hint(config, name)} shows its progress",
        f"{typed} and run={name} follows it and copies its files; with run={name} stop=true it stops",
    ):
        print(f"tapeline: {line}", file=sys.stderr)


def _all(place: Place, config: Config, name: str, folder: Path, began: datetime) -> None:
    """Follow a run and write its folder."""
    seen = _follow(place, config, name)
    ended = [part for part in seen.parts if part.state in ("ran", "cached", "skipped")]
    steps = [{"step": part.name, "how": part.state, "seconds": part.seconds} for part in ended]
    fetched = place.fetch(config, name)
    _check_same(json.loads(fetched[METRICS.file]), config, name)
    _keep(fetched, config, local.Progress(folder, steps=steps), began, name, seen.images)


def _follow(place: Place, config: Config, name: str) -> Seen:
    """Log a line for each task that ends, waits or restarts, until the run has succeeded.

    Raises:
        Failed: it did not.
    """
    said: set[tuple[str, State, str]] = set()
    while True:
        seen = place.look(config, name)
        for part in seen.parts:
            if part.state != "runs" and (part.name, part.state, part.note) not in said:
                LOG.info("  %-10s %-7s %s", part.name, part.state, _detail(part))
                said.add((part.name, part.state, part.note))
        if seen.ended:
            break
        time.sleep(SECONDS)
    if seen.ended == "failed":
        reasons = [f"{part.name}: {part.note}" for part in seen.parts if part.state == "failed"]
        problem = "; ".join(reasons) or seen.message or "it failed"
        raise Failed(*refuse(name, problem, f"see {place.hint(config, name)}").findings)
    return seen


def _detail(part: Part) -> str:
    return f"{part.seconds:.1f} s" if part.state == "ran" else part.note


def _check_same(metrics: Mapping[str, Any], config: Config, name: str) -> None:
    """Compare what ran with what these overrides mean.

    Raises:
        Other: each key that differs, with both values.
    """
    ran, here = conf.flat(metrics["config"]), conf.flat(conf.plain(config, places=False))
    differing = [key for key in ran if json.dumps(ran[key]) != json.dumps(here.get(key))]
    if differing:
        shown = [f"{key} was {json.dumps(ran[key])}, here it is {json.dumps(here.get(key))}" for key in differing]
        more = f", and {len(shown) - 8} more keys differ" if len(shown) > 8 else ""
        problem = f"ran another configuration: {'; '.join(shown[:8])}{more}"
        fix = f"write the overrides of that run beside run={name}; its annotation tapeline.dev/overrides has them"
        raise Other(*refuse(name, problem, fix).findings)


def _keep(
    fetched: Mapping[str, bytes],
    config: Config,
    progress: local.Progress,
    started: datetime,
    name: str,
    images: Mapping[str, str],
) -> None:
    """Write a run folder as `make run` does."""
    names = {made.file: made.name for made in artifacts(pipeline(config)).values()}
    for file, content in fetched.items():
        files.write_bytes(progress.folder / file, content)
        progress.artifacts[names[file]] = progress.folder / file
    text = yaml.safe_dump(conf.plain(config), sort_keys=False, allow_unicode=True)
    files.write_bytes(progress.folder / "config.yaml", text.encode())
    trains = {step.name for step in pipeline(config) if step.trains}
    others = next((image for task, image in images.items() if task not in trains), cast(Cluster, config.target).image)
    trained = next((image for task, image in images.items() if task in {*trains, "run"}), config.hw.image)
    versions = {"image": others, "hw.image": trained}
    local.finish(config, progress, started, submitted=name, versions=versions, images=dict(images))
