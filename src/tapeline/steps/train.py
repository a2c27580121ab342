"""One model for each window of the split.

tapeline step train model=flat --in table=table.parquet --out fitted=fitted
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tapeline import files
from tapeline.config.schema import Model, Split
from tapeline.errors import refuse
from tapeline.lookup import family, spec, task
from tapeline.models import Point, Training, device
from tapeline.models import Rows as Examples
from tapeline.models import fitted as fits
from tapeline.models.device import Device
from tapeline.tables import splits
from tapeline.tables.spec import Array, Rows, categorical
from tapeline.tables.table import Table, columns_of, open_table
from tapeline.tables.windows import SIDES, SideName, count, last_label, rows_of
from tapeline.tuning import results

log = logging.getLogger(__name__)

IN_MEMORY = 1 << 28
"""Bytes of a side's features; those of more rows go through a file."""


@dataclass(frozen=True)
class Reads:
    """What the step reads of the configuration."""

    model: Model
    split: Split
    seed: int
    hw: Device


def space(config: Reads, *, table: Path, best: Path | None = None) -> int:
    """Bytes of disk that `run` needs at most, about: the features of many rows go through a file."""
    manifest = open_table(table).manifest
    size = 4 * manifest.rows * len(manifest.names("feature"))
    return size if size > IN_MEMORY and manifest.feature_shape is None else 0


def run(config: Reads, *, table: Path, best: Path | None = None, fitted: Path) -> None:
    """Train, and write what evaluate and export need.

    Args:
        config: the keys.
        table: of features.
        best: what a search found; its values take the place of those of the configuration.
        fitted: the folder to write.

    Raises:
        Refused: the training diverged, or `hw.required` and there is no GPU.
    """
    data = open_table(table)
    found = results.read_best(best)
    given, config = config, replace(config, model=found.section(config.model), split=found.split(config.split))
    on, version = device.prepare(config.model, config.hw)
    dataset = data.manifest.dataset
    windows = splits.of_table(config.split, data, spec(dataset).horizon, config.model.validation_share)
    sides = [{side: rows_of(window, data, side) for side in SIDES} for window in windows]
    traces = [_window(config, data, rows, fits.window(fitted, number)) for number, rows in enumerate(sides)]
    section = config.model.model_dump(mode="json")
    record = fits.Fitted(
        dataset=dataset,
        task=data.manifest.task,
        family=config.model.family,
        section=section,
        origin=found.origin(given.model),
        hw=config.hw.name,
        seed=config.seed,
        threads=config.hw.threads,
        device=on,
        tensorflow=version,
        windows=windows,
        rows=[{side: sum(map(count, rows[side].values())) for side in SIDES} for rows in sides],
        traces=traces,
        last_label=last_label(windows[-1]),
    )
    fits.write(record, fitted)


def _window(config: Reads, data: Table, rows: Mapping[SideName, Mapping[str, Rows]], folder: Path) -> list[Point]:
    """Train and save one window's model; return its trace."""
    of = task(data.manifest.task)
    module = family(config.model.family)
    with files.scratch(folder.parent, "rows") as scratch:
        train, validation = (_examples(data, rows[side], scratch / side) for side in ("train", "validation"))
        if train is None or not np.isfinite(train.target).any():
            raise refuse(f"split={config.split.name}", "no train row has a label", "choose other train rows")
        training = Training(
            task=of,
            seed=config.seed,
            report=_progress(of.TRACE, config.model.steps, config.model.report_every),
            threads=config.hw.threads,
            missing_features=spec(data.manifest.dataset).missing_features,
            outputs=data.manifest.outputs,
            half=device.half(config.model, config.hw),
            categorical=categorical(spec(data.manifest.dataset), data.manifest),
        )
        model, trace = module.fit(config.model, train, validation, training)
    folder.mkdir(parents=True)
    module.save(model, folder)
    return trace


def _examples(data: Table, rows: Mapping[str, Rows], file: Path) -> Examples | None:
    """The features and targets of these rows, and their weights in training; None where there are none."""
    total = sum(map(count, rows.values()))
    if not total:
        return None
    names = ["target", *(["weight"] if data.manifest.extra.get("sample_weights") else [])]
    columns = columns_of(data.manifest, "feature")
    size = total * sum(int(np.prod(each.shape, dtype=np.int64)) * 4 for each in columns)
    if size <= IN_MEMORY or data.manifest.feature_shape is not None:
        arrays = data.read(("feature", *names), rows)
        return Examples(arrays["feature"], arrays["target"], arrays.get("weight"))
    return _through_file(data, rows, names, file)


def _through_file(data: Table, rows: Mapping[str, Rows], names: Sequence[str], file: Path) -> Examples:
    """The same for many rows: those without any label are left out, and the features are a memory map of the file."""
    kept: dict[str, list[Array]] = {name: [] for name in names}
    with open(file, "wb") as handle:
        for batch in data.batches(("feature", *names), rows):
            known = np.isfinite(batch["target"]).reshape(len(batch), -1).any(axis=1)
            handle.write(np.ascontiguousarray(batch["feature"][known]).data)
            for name in names:
                values = batch[name][known]
                kept[name].append(values.astype(np.float32) if values.dtype == np.float64 else values)
    arrays = {name: np.concatenate(each) for name, each in kept.items()}
    labelled = len(arrays["target"])
    if not labelled:
        return Examples(np.empty((0, len(data.manifest.names("feature"))), np.float32), arrays["target"])
    features = np.memmap(file, np.float32, "r", shape=(labelled, len(data.manifest.names("feature"))))
    return Examples(features, arrays["target"], arrays.get("weight"))


def _progress(score_name: str, steps: int, report_every: int) -> Callable[[int, float], None]:
    """Move the bar at each call, and write a line at every `report_every` steps."""
    begun = time.perf_counter()

    def report(step: int, score: float) -> None:
        line = step % report_every == 0 or step == steps
        text = f"    step {step:,} of {steps:,}: {score_name} {score:.6f}, {time.perf_counter() - begun:.1f} s"
        log.info(text if line else "", extra={"progress": (step, steps)})

    return report
