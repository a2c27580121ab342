"""The decision, and metrics.json around it.

tapeline step gate --in table=... --in servable=... --in scores=... --out metrics=metrics.json
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tapeline import files
from tapeline import tensorflow as tf
from tapeline.config import compose as conf
from tapeline.config.schema import Config
from tapeline.errors import choose, refuse
from tapeline.evaluation import comparison
from tapeline.evaluation.gate import Champion, decide, later
from tapeline.intervals import Interval
from tapeline.lookup import dataset as kind
from tapeline.lookup import task as task_named
from tapeline.serving import saved_model as servables
from tapeline.serving.store import champion as champions
from tapeline.tables import splits
from tapeline.tables.table import about, read
from tapeline.tasks import Metric, Task, value

Array = np.ndarray[Any, Any]
LEAST_ROWS = 30
"""Fewer than that tell nothing about two models."""


def run(config: Config, *, table: Path, servable: Path, scores: Path, store: str, metrics: Path) -> dict[str, str]:
    """Write metrics.json, a public interface (README.md); nothing in it names a place.

    Raises:
        Refused: the metric is not defined on the test rows, or the served version cannot be read.
    """
    scored = files.read_json(scores)
    task = task_named(scored["task"])
    known = {each.name: each for each in task.METRICS}
    if config.gate.metric not in known:
        fix = choose(config.gate.metric, list(known))
        raise refuse(f"gate.metric={config.gate.metric}", "no metric of these scores", fix)
    metric = known[config.gate.metric]

    def lead(baseline: str, level: float) -> Interval | None:
        return _lead(metric, scored, baseline, level)

    def challenge() -> Champion | str:
        with champions.served(store, config.serving.name) as served:
            return _challenge(config, task, metric, table, scored, servables.about(servable), served)

    decision = decide(config.gate, metric, scored["test"], scored["baselines"], lead, challenge)
    champion = decision.pop("champion", None)
    dataset = conf.plain(config)["dataset"]
    files.write_json(
        metrics,
        {
            "schema": 1,
            "ran": {
                "experiment": config.experiment,
                "dataset": config.dataset.name,
                "model": config.model.family,
                "hw": config.hw.name,
                "seed": config.seed,
            },
            "config": conf.plain(config, places=False),
            "data": {
                "source": config.dataset.source,
                "simulated": config.dataset.source == "simulated",
                "digest": about(table)["digest"],
                "as_of": dataset.get("as_of"),
                "rows": scored["rows"],
            },
            "train": scored["train"],
            **({"validation": scored["validation"]} if "validation" in scored else {}),
            "test": scored["test"],
            "baselines": scored["baselines"],
            "gate": decision,
            **({"champion": champion} if champion else {}),
            "model_version": servables.about(servable)["model_version"],
        },
    )
    return {"accepted": str(decision["accepted"]).lower()}


def _lead(metric: Metric, scored: Mapping[str, Any], baseline: str, level: float) -> Interval | None:
    """The interval of the metric's change from a baseline to the model."""
    model = comparison.read(scored)
    if model is None:
        raise refuse("scores.json", "has no predictions row by row", "run evaluate again")
    guess = np.array(scored["references"][baseline], dtype=np.float64)
    naive = replace(model, predictions={**model.predictions, "prediction": guess})
    return comparison.difference(metric, naive, model, level)


def _challenge(
    config: Config,
    task: Task,
    metric: Metric,
    table: Path,
    scored: Mapping[str, Any],
    candidate: Mapping[str, Any],
    served: Path | None,
) -> Champion | str:
    """The served version's score beside the candidate's on test rows that it never learnt, or why there is none."""
    if served is None:
        return "nothing is served under this name"
    told = servables.about(served)
    if told["model_version"] == candidate["model_version"]:
        return "this very model is served"
    if told["features"] != candidate["features"]:
        return f"the served {told['model_version']} has other features"
    data, ours = read(table), comparison.read(scored)
    test = np.concatenate([window.test for window in splits.windows(config.split, data.time)])
    if ours is None or [str(moment) for moment in data.time[test]] != scored["predictions"]["time"]:
        raise refuse("split", "has other test rows than scores.json", "give the keys that evaluate had")
    fair = later(data.time[test], told["last_label"], kind(config.dataset).SPEC.horizon or timedelta())
    rows = int(fair.sum())
    if rows < LEAST_ROWS:
        learnt = f"the served {told['model_version']} learnt last, {told['last_label']}"
        return f"{rows} test rows are later than what {learnt}, and {LEAST_ROWS} are needed"
    tf.load(config.hw.threads)
    theirs = servables.load(served)(data.features[test[fair]])
    theirs.pop("model_version")
    mine = {name: each[fair] for name, each in ours.predictions.items()}
    weight = None if ours.weight is None else ours.weight[fair]
    found = [value(task.score(each, weight), metric.name) for each in ({**mine, **theirs}, mine)]
    if found[0] is None or found[1] is None:
        return f"{metric.name} is not defined on the {rows} test rows after {told['last_label']}"
    return Champion(told["model_version"], told["last_label"], rows, score=found[0], candidate=found[1])
