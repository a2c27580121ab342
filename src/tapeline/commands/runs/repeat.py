"""Repeat a run from its config.yaml, with more overrides, and compare the results.

    tapeline runs repeat=latest         tapeline runs repeat=a seed=7

It publishes nothing: an older model must not take the place of a newer one by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tapeline import lookup
from tapeline.checks import before_run
from tapeline.config import compose as conf
from tapeline.config.schema import Config, Target
from tapeline.errors import printable, refuse
from tapeline.pipeline import run_locally as local
from tapeline.pipeline.graph import METRICS
from tapeline.pipeline.run_folder import Run

SHOWN = 60
"""Characters of a value."""


def repeat(run: Run, overrides: Sequence[str], target: Target) -> None:
    """Run it again, and print whether metrics.json is the same, byte for byte, or which keys differ.

    Args:
        run: that left a config.yaml.
        overrides: put on top of it.
        target: where the new run goes.

    Raises:
        Refused: the configuration is no longer valid, or what a run refuses.
    """
    config = _configured(run, overrides, target)
    before_run(config)
    before = run.folder / METRICS.file
    if not before.is_file():
        raise refuse(before, "there is no such file to compare with", "repeat a finished run")
    again = Run(local.run(config, publish=False, overrides=overrides))
    steps = [each["step"] for each in again.record["steps"] if each["how"] == "cached"]
    cached = f"; {', '.join(steps)} came from the cache, and a new target.cache=DIR computes all" if steps else ""
    if before.read_bytes() == (again.folder / METRICS.file).read_bytes():
        print(f"{METRICS.file} is the same as that of {printable(run.name)}, byte for byte{cached}")
        return
    print(f"{METRICS.file} differs from that of {printable(run.name)}:")
    for line in _differences(run.metrics, again.metrics):
        print(f"  {printable(line)}")


def _configured(run: Run, overrides: Sequence[str], target: Target) -> Config:
    base = {**run.config, "target": target.model_dump(mode="json")}
    match base:
        case {"dataset": dict(dataset), "serving": {"name": name} as serving} if name == lookup.model_name(dataset):
            base["serving"] = {**serving, "name": None}  # not chosen by anybody, so it may follow the dataset
    return lookup.validate(conf.apply(base, overrides))


def _differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    old, new = conf.flat(before), conf.flat(after)
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if not keys:
        return ["the values are equal; only the way they are written differs"]
    return [f"{key}: {_short(old.get(key))} -> {_short(new.get(key))}" for key in keys]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
