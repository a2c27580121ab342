"""A run handed to a cluster, followed, and fetched: make submit target=argo experiment=snp_deep

What `clusters/argo/submit.py` and its like have to offer is `Place`; the rest is the same for all.
"""

from __future__ import annotations

import importlib
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import yaml

from tapeline import files
from tapeline.checks import before_build, configured
from tapeline.clusters.run_status import SECONDS, Place, State
from tapeline.config import compose as conf
from tapeline.config.schema import Cluster, Config
from tapeline.console import LOG, logged
from tapeline.errors import refuse
from tapeline.pipeline import run_locally as local
from tapeline.pipeline.graph import artifacts, pipeline


def run(overrides: Sequence[str], own: Mapping[str, str]) -> Path:
    """Submit, follow and fetch; return the run's folder, which `runs/latest` names.

    Args:
        overrides: as typed.
        own: apply=true brings what the run needs of us to the cluster; run=NAME follows one that was begun.

    Raises:
        Refused: the configuration is, the cluster says no, or the run fails.
    """
    config, started = configured(overrides, before_build), datetime.now(UTC)
    place = _place(config)
    name = own.get("run") or place.begin(config, overrides, apply=own.get("apply") == "true")
    folder = local.new_folder(config, started)
    try:
        with files.owned(folder), logged(folder / "log.txt"):
            local.begin(folder, config, started, overrides)
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
    return cast(Place, importlib.import_module(f"tapeline.clusters.{target.name}.submit"))


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
    names = {made.file: made.name for made in artifacts(pipeline(config)).values()}
    for file, content in fetched.items():
        files.write_bytes(progress.folder / file, content)
        progress.artifacts[names[file]] = progress.folder / file
    text = yaml.safe_dump(conf.plain(config), sort_keys=False, allow_unicode=True)
    files.write_bytes(progress.folder / "config.yaml", text.encode())
    images = {"image": cast(Cluster, config.target).image, "hw.image": config.hw.image}
    local.finish(config, progress, started, submitted=name, versions=images)
