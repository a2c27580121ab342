"""One model for each window of the split.

tapeline step train model=flat --in table=table.parquet --out fitted=fitted
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tapeline import tensorflow as tf
from tapeline.config.schema import Accelerator, Model, Split
from tapeline.errors import refuse
from tapeline.lookup import family
from tapeline.models import SCORE, How, Point, Rows
from tapeline.models import fitted as fits
from tapeline.tables import splits
from tapeline.tables.table import Table, read

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """Keys of hw."""

    name: str
    threads: int
    required: bool
    accelerator: Accelerator | None


@dataclass(frozen=True)
class Reads:
    """What the step reads of the configuration."""

    model: Model
    split: Split
    seed: int
    hw: Device


def run(config: Reads, *, table: Path, fitted: Path) -> None:
    """Train, and write what evaluate and export need.

    Raises:
        Refused: the training diverged, or `hw.required` and there is no GPU.
    """
    data = read(table)
    device, version = _device(config)
    windows = splits.windows(config.split, data.time)
    traces = [_window(config, data, rows, fits.window(fitted, number)) for number, rows in enumerate(windows)]
    told = fits.Fitted(
        family=config.model.family,
        task=data.about["task"],
        section=config.model.model_dump(mode="json"),
        hw=config.hw.name,
        seed=config.seed,
        threads=config.hw.threads,
        device=device,
        tensorflow=version,
        traces=traces,
        validation=config.model.validation_rows(len(windows[-1].train)),
        last_label=str(data.time[windows[-1].train[-1]]),
    )
    fits.write(told, fitted)


def _device(config: Reads) -> tuple[str, str | None]:
    """Where the family trains, and with which TensorFlow, if any: that is loaded only where it is needed."""
    if config.model.trains_with_tensorflow:
        driver = config.hw.accelerator.driver if config.hw.accelerator else None
        device = tf.device(config.hw.threads, driver, required=config.hw.required)
        return device, tf.load(config.hw.threads).__version__
    if config.hw.required:
        what = f"model={config.model.family} trains on the CPU only"
        raise refuse("hw.required=true", what, "set hw.required=false, or choose another model")
    if config.hw.accelerator:
        log.info("    %s trains on the CPU: it makes no use of a GPU", config.model.family)
    return "cpu", None


def _window(config: Reads, data: Table, window: splits.Window, folder: Path) -> list[Point]:
    """Train and save one window's model; return its trace."""
    rows = Rows(data.features[window.train], data.target[window.train])
    task: str = data.about["task"]
    progress = _progress(SCORE[task], config.model.steps, config.model.report_every)
    how = How(task, config.seed, progress, config.hw.threads)
    module = family(config.model.family)
    model, trace = module.fit(config.model, rows, how)
    folder.mkdir(parents=True)
    module.save(model, folder)
    return trace


def _progress(score_name: str, steps: int, report_every: int) -> Callable[[int, float], None]:
    """Move the bar at each call, and write a line at every `report_every` steps."""
    begun = time.perf_counter()

    def report(step: int, score: float) -> None:
        line = step % report_every == 0 or step == steps
        text = f"    step {step:,} of {steps:,}: {score_name} {score:.6f}, {time.perf_counter() - begun:.1f} s"
        log.info(text if line else "", extra={"progress": (step, steps)})

    return report
