"""A small search on simulated indices, which takes a fraction of a second a trial."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tapeline import lookup
from tapeline.config.search import Tune
from tapeline.models.device import Device
from tapeline.pipeline.execution import execute
from tapeline.pipeline.graph import TABLE, pipeline, until
from tapeline.tables.spec import Array
from tapeline.tables.table import Table, open_table
from tapeline.tables.writing import write
from tapeline.tuning import trials
from tapeline.tuning.study import Study
from tapeline.tuning.trials import Problem

SMALL = ("model=lightgbm", "model.steps=20", "model.report_every=5", "tune=optuna", "tune.startup=4")
"""Overrides."""


def make_table(folder: Path) -> Path:
    """A table of the indices, as the first steps of the graph make it."""
    config, made = lookup.configure([]), dict[str, Path]()
    for step in until(TABLE, pipeline(config)):
        outputs = {artifact.name: folder / artifact.file for artifact in step.makes}
        execute(step, config, {name: made[name] for name in step.inputs}, outputs)
        made |= outputs
    return made[TABLE.name]


def problem(table: Path, *overrides: str) -> Problem:
    """A search on this table."""
    config = lookup.configure([*SMALL, *overrides])
    assert config.tune is not None
    hw = Device(config.hw.name, config.hw.threads, config.hw.required, config.hw.accelerator)
    return Problem(config.tune, config.model, config.split, config.seed, hw, table)


def study(of: Problem) -> Study:
    """What the samplers see of it."""
    return trials.study(of)


def longer(of: Problem, **keys: object) -> Problem:
    """The same search with other keys of tune."""
    return replace(of, tune=Tune.model_validate({**of.tune.model_dump(), **keys}))


def with_target(table: Table, target: Array, folder: Path) -> Path:
    """A copy of a table of one part with other targets."""
    import polars as pl

    part = table.manifest.parts[0]
    frame = table.scan(part.id).collect()
    name = table.manifest.names("target")[0]
    write(folder, table.manifest, [(part.id, frame.with_columns(pl.Series(name, target, dtype=frame[name].dtype)))])
    return folder


def targets(path: Path) -> Array:
    """Of all rows."""
    table = open_table(path)
    return np.asarray(table.read(("target",))["target"])
