"""One model for each window of the split.

tapeline step train model=flat --in table=table.parquet --out fitted=fitted
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tapeline import files, workers
from tapeline.config.schema import Model, Split
from tapeline.errors import refuse
from tapeline.lookup import family, spec, task
from tapeline.models import Machines, Point, Training, device
from tapeline.models import Rows as Examples
from tapeline.models import fitted as fits
from tapeline.models.device import Device
from tapeline.tables import splits
from tapeline.tables.spec import Array, Rows, categorical
from tapeline.tables.table import Table, columns_of, open_table
from tapeline.tables.windows import SIDES, SideName, Window, count, dealt, last_label, rows_of
from tapeline.tuning import results
from tapeline.workers import joining, leading
from tapeline.workers.joining import Link

log = logging.getLogger(__name__)

IN_MEMORY = 1 << 28
"""Bytes of a side's features; those of more rows go through a file."""


@dataclass(frozen=True)
class Hardware(Device):
    """Keys of hw."""

    workers: int


@dataclass(frozen=True)
class Reads:
    """What the step reads of the configuration."""

    model: Model
    split: Split
    seed: int
    hw: Hardware


@dataclass(frozen=True)
class Work:
    """What is to be trained."""

    config: Reads
    """With the values that a search found."""
    data: Table
    windows: tuple[Window, ...]
    sides: list[dict[SideName, dict[str, Rows]]]
    """Of each window."""


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
        Lost: one of several workers is gone.
    """
    job = workers.job()
    if job and workers.is_worker():
        joining.pod(job, partial(_member, config, table, best, fitted))
        return
    found, work = results.read_best(best), _work(config, table, best)
    given, config, data, windows = config, work.config, work.data, work.windows
    on, version = device.prepare(config.model, config.hw)
    if config.hw.workers > 1:
        traces = _together(work, job, partial(_member, given, table, best, fitted))
    else:
        traces = [_window(work, number, fits.window(fitted, number)) for number in range(len(windows))]
    section = config.model.model_dump(mode="json")
    record = fits.Fitted(
        dataset=data.manifest.dataset,
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
        rows=[{side: sum(map(count, rows[side].values())) for side in SIDES} for rows in work.sides],
        traces=traces,
        last_label=last_label(windows[-1]),
        workers=config.hw.workers,
    )
    fits.write(record, fitted)


def _work(config: Reads, table: Path, best: Path | None) -> Work:
    data, found = open_table(table), results.read_best(best)
    config = replace(config, model=found.section(config.model), split=found.split(config.split))
    horizon = spec(data.manifest.dataset).horizon
    windows = splits.of_table(config.split, data, horizon, config.model.validation_share)
    return Work(config, data, windows, [{side: rows_of(window, data, side) for side in SIDES} for window in windows])


def _together(work: Work, job: str | None, member: Callable[[Link], None]) -> list[list[Point]]:
    """Let several workers train each window's model, of which worker 0 saves it; return the traces."""
    hw, model = work.config.hw, work.config.model
    key = f"hw.workers={hw.workers}"
    share = getattr(family(model.family), "WORKERS", None)
    if share is None:
        raise refuse(key, f"model={model.family} trains in one process", "set hw.workers=1")
    traces = []
    with leading.group(key, hw.workers, job, member) as group:
        for _ in work.windows:
            receive = partial(_receive, _progress(task(work.data.manifest.task).TRACE, model.steps, model.report_every))
            group.meet(receive)
            found = group.results(receive)
            for rank, each in enumerate(found):
                of = f"{each['rows']:,} rows" if share == "rows" else "its part of each batch"
                log.info("    worker %d of %d trained on %s", rank, hw.workers, of)
            traces.append([Point(**each) for each in found[0]["trace"]])
    return traces


def _receive(progress: Callable[[int, float], None], message: Mapping[str, Any]) -> None:
    """What worker 0 says while it trains: a step, or a line of its log."""
    if "step" in message:
        progress(message["step"], message["score"])
    elif "said" in message:
        log.info("%s", message["said"], extra={"progress": message["progress"]} if message["progress"] else {})


def _member(config: Reads, table: Path, best: Path | None, fitted: Path, link: Link) -> None:
    """A worker's part: its share of the train rows of each window or batch, and all validation rows."""
    work = _work(config, table, best)
    device.prepare(work.config.model, work.config.hw)
    deals = getattr(family(work.config.model.family), "WORKERS", None) == "rows"
    for number, rows in enumerate(work.sides):
        own = {**rows, "train": dealt(rows["train"], link.rank, link.workers)} if deals else rows
        share = replace(work, sides=[own if each is rows else each for each in work.sides])
        trace = _window(share, number, fits.window(fitted, number), link)
        loaded = sum(map(count, own["train"].values()))
        link.trained(rows=loaded, trace=[each.record() for each in trace])


def _window(work: Work, number: int, folder: Path, link: Link | None = None) -> list[Point]:
    """Train one window's model, and return its trace; of several workers, the first one saves it."""
    config, data, rows = work.config, work.data, work.sides[number]
    of = task(data.manifest.task)
    module = family(config.model.family)
    with files.scratch(folder.parent, "rows") as scratch:
        train, validation = (_examples(data, rows[side], scratch / side) for side in ("train", "validation"))
        if train is None or not np.isfinite(train.target).any():
            few = f" of worker {link.rank} of {link.workers}" if link else ""
            raise refuse(f"split={config.split.name}", f"no train row{few} has a label", "choose other train rows")
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
        if link:
            report = partial(_report, link)
            training = replace(training, report=report, machines=Machines(link.rank, link.meet()))
        model, trace = module.fit(config.model, train, validation, training)
    if link is None or link.rank == 0:
        folder.mkdir(parents=True)
        module.save(model, folder)
    return trace


def _report(link: Link, step: int, score: float) -> None:
    link.say(step=step, score=score)


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
    started = time.perf_counter()

    def report(step: int, score: float) -> None:
        line = step % report_every == 0 or step == steps
        text = f"    step {step:,} of {steps:,}: {score_name} {score:.6f}, {time.perf_counter() - started:.1f} s"
        log.info(text if line else "", extra={"progress": (step, steps)})

    return report
