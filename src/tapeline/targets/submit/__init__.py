"""A run handed to a cluster, followed, and fetched: make submit target=argo experiment=snp_deep

What argo.py, tfjob.py and kfp.py of this package have to offer is `Place`; the rest is the same for all.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import yaml

from tapeline import config as configuration
from tapeline import files
from tapeline.config import Config, compose
from tapeline.errors import refuse
from tapeline.graph import PIPELINE
from tapeline.targets import local
from tapeline.targets.console import LOG, logged
from tapeline.targets.plan import Cluster

SECONDS = 2
"""Between two looks."""

State = Literal["waits", "runs", "again", "ran", "cached", "skipped", "failed"]


@dataclass(frozen=True)
class Part:
    """What a cluster says of one task."""

    name: str
    state: State
    seconds: float = 0
    note: str = ""
    """Why it waits, was begun again, or failed."""


@dataclass(frozen=True)
class Seen:
    """What a cluster says of a run."""

    parts: Sequence[Part]
    ended: Literal["", "succeeded", "failed"]
    message: str = ""


class Place(Protocol):
    """A cluster's own part."""

    def begin(self, config: Config, overrides: Sequence[str], *, apply: bool) -> str:
        """Start a run; its name there."""

    def look(self, config: Config, run: str) -> Seen:
        """How far it is."""

    def fetch(self, config: Config, run: str) -> Mapping[str, bytes]:
        """metrics.json, report.html and, where something was published, published.json of a run that succeeded."""

    def hint(self, config: Config, run: str) -> str:
        """The command with which a person follows it."""


def run(overrides: Sequence[str], own: Mapping[str, str], check: Callable[[Config], None]) -> Path:
    """Submit, follow and fetch; return the run's folder, which `runs/latest` names.

    Args:
        overrides: as typed.
        own: apply=true brings what the run needs of us to the cluster; run=NAME follows one that was begun.
        check: applied to the configuration before anything is submitted; it may refuse it.

    Raises:
        Refused: the configuration is, the cluster says no, or the run fails.
    """
    config, started = compose(overrides), datetime.now(UTC)
    check(config)
    place = _place(config)
    name = own.get("run") or place.begin(config, overrides, apply=own.get("apply") == "true")
    folder = local.new_folder(config, started)
    try:
        with logged(folder / "log.txt"):
            LOG.info("%s: %s", config.target.name, name)
            steps = _follow(place, config, name)
            _keep(place.fetch(config, name), config, local.Progress(folder, steps=steps), started, name)
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        print(f"tapeline: {name} goes on; follow it with {place.hint(config, name)}", file=sys.stderr)
        print(f"tapeline: fetch it with the same line and run={name}", file=sys.stderr)
        sys.exit(130)
    except BaseException:
        shutil.rmtree(folder)
        raise
    return folder


def _place(config: Config) -> Place:
    target = config.target
    if not isinstance(target, Cluster):
        raise refuse(f"target={target.name}", "is no cluster", "choose target=argo, target=kfp or target=tfjob")
    return cast(Place, configuration.module("targets.submit", target.name, "target.name"))


def _follow(place: Place, config: Config, name: str) -> list[dict[str, Any]]:
    """Write a line for each task that ends, waits or begins again; what run.json says of them."""
    said: set[tuple[str, State, str]] = set()
    while True:
        seen = place.look(config, name)
        for part in seen.parts:
            if part.state != "runs" and (part.name, part.state, part.note) not in said:
                detail = f"{part.seconds:.1f} s" if part.state == "ran" else part.note
                LOG.info("  %-10s %-7s %s", part.name, part.state, detail)
                said.add((part.name, part.state, part.note))
        if seen.ended:
            break
        time.sleep(SECONDS)
    if seen.ended == "failed":
        reasons = [f"{part.name}: {part.note}" for part in seen.parts if part.state == "failed"]
        problem = "; ".join(reasons) or seen.message or "it failed"
        raise refuse(name, problem, f"see {place.hint(config, name)}")
    ended = [part for part in seen.parts if part.state in ("ran", "cached", "skipped")]
    return [{"step": part.name, "how": part.state, "seconds": part.seconds} for part in ended]


def _keep(fetched: Mapping[str, bytes], config: Config, progress: local.Progress, started: datetime, name: str) -> None:
    """Leave a folder as `make run` does."""
    artifacts = {made.file: made.name for step in PIPELINE for made in step.makes}
    for file, content in fetched.items():
        files.write_bytes(progress.folder / file, content)
        progress.artifacts[artifacts[file]] = progress.folder / file
    text = yaml.safe_dump(configuration.plain(config), sort_keys=False, allow_unicode=True)
    files.write_bytes(progress.folder / "config.yaml", text.encode())
    images = {"image": cast(Cluster, config.target).image, "hw.image": config.hw.image}
    local.finish(config, progress, started, submitted=name, versions=images)
