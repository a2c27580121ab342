"""One model for each window of the split.

tapeline step train model=flat --in table=table.parquet --out fitted=fitted
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tapeline.config.schema import Model, Split
from tapeline.errors import refuse
from tapeline.lookup import family, spec, task
from tapeline.models import Point, Training, device
from tapeline.models import Rows as Examples
from tapeline.models import fitted as fits
from tapeline.models.device import Device
from tapeline.tables import splits
from tapeline.tables.spec import Rows
from tapeline.tables.table import Table, open_table
from tapeline.tables.windows import SIDES, SideName, count, last_label, rows_of
from tapeline.tuning import results

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reads:
    """What the step reads of the configuration."""

    model: Model
    split: Split
    seed: int
    hw: Device


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
    train, validation = (_examples(data, rows["train"]), _examples(data, rows["validation"]))
    if train is None or not np.isfinite(train.target).any():
        raise refuse(f"split={config.split.name}", "no train row has a label", "choose other train rows")
    of = task(data.manifest.task)
    progress = _progress(of.TRACE, config.model.steps, config.model.report_every)
    module = family(config.model.family)
    training = Training(
        of,
        config.seed,
        progress,
        config.hw.threads,
        missing_features=spec(data.manifest.dataset).missing_features,
        outputs=data.manifest.outputs,
        half=device.half(config.model, config.hw),
    )
    model, trace = module.fit(config.model, train, validation, training)
    folder.mkdir(parents=True)
    module.save(model, folder)
    return trace


def _examples(data: Table, rows: Mapping[str, Rows]) -> Examples | None:
    """The features and targets of these rows; None where there are none."""
    if not sum(map(count, rows.values())):
        return None
    arrays = data.read(("feature", "target"), rows)
    return Examples(arrays["feature"], arrays["target"])


def _progress(score_name: str, steps: int, report_every: int) -> Callable[[int, float], None]:
    """Move the bar at each call, and write a line at every `report_every` steps."""
    begun = time.perf_counter()

    def report(step: int, score: float) -> None:
        line = step % report_every == 0 or step == steps
        text = f"    step {step:,} of {steps:,}: {score_name} {score:.6f}, {time.perf_counter() - begun:.1f} s"
        log.info(text if line else "", extra={"progress": (step, steps)})

    return report
