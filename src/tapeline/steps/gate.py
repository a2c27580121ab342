r"""The decision, and metrics.json around it.

tapeline step gate --in table=... --in profile=... --in fitted=... --in servable=... --in scores=... \
    --in predictions=... --out metrics=metrics.json
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tapeline import files
from tapeline import tensorflow as tf
from tapeline.config import compose as conf
from tapeline.config.schema import Dataset, Gate, Hardware, Model, Serving, Split
from tapeline.errors import choose, refuse
from tapeline.evaluation import comparison
from tapeline.evaluation.gate import Champion, decide, later
from tapeline.evaluation.metrics_file import SCHEMA
from tapeline.intervals import Interval
from tapeline.lookup import task as task_named
from tapeline.models import fitted as fits
from tapeline.serving import saved_model as servables
from tapeline.serving.store import champion as champions
from tapeline.tables import predictions as forecasts
from tapeline.tables.predictions import Predictions
from tapeline.tables.spec import Array
from tapeline.tables.table import Table, open_table
from tapeline.tables.windows import rows_of
from tapeline.tasks import Metric, Task, value
from tapeline.tuning.results import summary

LEAST_ROWS = 30
"""Fewer than that say nothing about two models."""


@dataclass(frozen=True)
class Reads:
    """What the step reads of the configuration."""

    experiment: str | None
    seed: int
    dataset: Dataset
    model: Model
    hw: Hardware
    split: Split
    gate: Gate
    serving: Serving
    environment: Mapping[str, str]


def run(
    config: Reads,
    *,
    table: Path,
    profile: Path,
    fitted: Path,
    servable: Path,
    scores: Path,
    predictions: Path,
    study: Path | None = None,
    store: str,
    metrics: Path,
) -> dict[str, str]:
    """Write metrics.json, a public interface; nothing in it names a path of this machine.

    Raises:
        Refused: the metric is not defined on the test rows, or the served version cannot be read.
    """
    scored, described, fit = files.read_json(scores), files.read_json(profile), fits.read(fitted)
    task = task_named(fit.task)
    known = {each.name: each for each in task.METRICS}
    if config.gate.metric not in known:
        fix = choose(config.gate.metric, list(known))
        raise refuse(f"gate.metric={config.gate.metric}", "is not a metric of these scores", fix)
    metric, about = known[config.gate.metric], servables.read_metadata(servable)
    forecast = forecasts.read(predictions)

    def lead(baseline: str, level: float) -> Interval | None:
        answers = comparison.answers(task, forecast, _horizon(scored))
        return comparison.difference(metric, comparison.of_baselines(answers)[baseline], answers, level)

    def challenge() -> Champion | str:
        with champions.served(store, config.serving.name) as served:
            if served is None:
                return "nothing is served under this name"
            return _challenge(task, metric, open_table(table), fit, forecast, _horizon(scored), about, served)

    decision = decide(config.gate, metric, scored["test"]["overall"], scored["baselines"], lead, challenge)
    champion = decision.pop("champion", None)
    record = _record(config, fit, described, scored, study)
    record |= {
        "gate": {**decision, "metric": metric.name},
        "champion": champion,
        "model_version": about["model_version"],
    }
    files.write_json(metrics, record)
    return {"accepted": str(decision["accepted"]).lower()}


def _record(
    config: Reads, fit: fits.Fitted, described: Mapping[str, Any], scored: Mapping[str, Any], study: Path | None
) -> dict[str, Any]:
    """The content of metrics.json without the decision; evaluation/metrics.schema.json is its schema."""
    return {
        "schema": SCHEMA,
        "ran": {
            "experiment": config.experiment,
            "dataset": config.dataset.name,
            "task": fit.task,
            "model": config.model.family,
            "hw": config.hw.name,
            "seed": config.seed,
        },
        "config": conf.plain(config, places=False),
        "data": {
            "note": described["notes"].get("note"),
            **{key: described[key] for key in ("source", "simulated", "digest", "as_of")},
            "rows": scored["rows"],
            "quality": described["quality"],
        },
        "trained": {
            **{key: getattr(fit, key) for key in ("hw", "device", "threads", "workers", "tensorflow")},
            "model": fit.section,
            "origin": fit.origin,
        },
        "tune": None if study is None else summary(files.read_json(study)),
        "train": scored["train"],
        "validation": scored["validation"],
        "test": scored["test"],
        "baselines": scored["baselines"],
        "split": fits.split_record(fit),
    }


def _horizon(scored: Mapping[str, Any]) -> timedelta | None:
    return None if scored["horizon"] is None else timedelta(seconds=scored["horizon"])


def _challenge(
    task: Task,
    metric: Metric,
    data: Table,
    fit: fits.Fitted,
    forecast: Predictions,
    horizon: timedelta | None,
    candidate: Mapping[str, Any],
    served: Path,
) -> Champion | str:
    """The served version's score beside the candidate's on test rows that did not train it, or why there is none."""
    about = servables.read_metadata(served)
    name, label = about["model_version"], about["last_label"]
    if name == candidate["model_version"]:
        return "the same model is served already"
    if about["features"] != candidate["features"]:
        return f"the served {name} has other features"
    if label is None or not fit.last_label:
        return f"the served {name} does not say which rows trained it"
    fair = later(forecast.axis, label, horizon or timedelta())
    rows = int(fair.sum())
    if rows < LEAST_ROWS:
        return (
            f"{rows} test rows are later than the last that trained the served {name}, {label}; {LEAST_ROWS} are needed"
        )
    mine = forecast.take(fair)
    theirs = {**mine.scored, **_answers(data, fit, forecast, fair, served)}
    weight = mine.scored.get("weight")
    found = [value(task.score(each, weight), metric.name) for each in (theirs, mine.scored)]
    if found[0] is None or found[1] is None:
        return f"{metric.name} is not defined on the {rows} test rows after {label}"
    return Champion(name, label, rows, score=found[0], candidate=found[1])


def _answers(data: Table, fit: fits.Fitted, forecast: Predictions, fair: Array, served: Path) -> dict[str, Array]:
    """What the served version says of the chosen test rows, in the order of the predictions."""
    tf.load(fit.threads)
    answer = servables.load(served)
    found: list[Mapping[str, Array]] = []
    axis: list[Array] = []
    for window in fit.windows:
        for batch in data.batches(("feature", data.manifest.axis or ""), rows_of(window, data, "test")):
            found.append(answer(batch["feature"]))
            axis.append(batch[data.manifest.axis or ""])
    order = np.argsort(np.concatenate(axis), kind="stable")
    if not np.array_equal(np.concatenate(axis)[order], forecast.axis):
        raise refuse("table", "has other test rows than the predictions", "give the files of one run")
    names = [name for name in found[0] if name != "model_version"]
    return {name: np.concatenate([each[name] for each in found])[order][fair] for name in names}
