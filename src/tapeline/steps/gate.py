"""The decision, and metrics.json around it.

tapeline step gate --in table=... --in servable=... --in scores=... --out metrics=metrics.json
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tapeline import files
from tapeline import tensorflow as tf
from tapeline.config import compose as conf
from tapeline.config.schema import Dataset, Gate, Hardware, Model, Serving, Split
from tapeline.errors import refuse
from tapeline.evaluation import metrics as measures
from tapeline.evaluation.gate import Champion, decide, later
from tapeline.lookup import dataset as kind
from tapeline.serving import saved_model as servables
from tapeline.serving.store import champion as champions
from tapeline.tables import splits
from tapeline.tables.table import about, read

Array = np.ndarray[Any, Any]
LEAST_ROWS = 30
"""Fewer than that tell nothing about two models."""


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


def run(config: Reads, *, table: Path, servable: Path, scores: Path, store: str, metrics: Path) -> dict[str, str]:
    """Write metrics.json, a public interface (README.md); nothing in it names a place.

    Raises:
        Refused: the metric is not defined on the test rows, or the served version cannot be read.
    """
    scored = files.read_json(scores)

    def challenge() -> Champion | str:
        with champions.served(store, config.serving.name) as served:
            return _challenge(config, table, scored, servables.about(servable), served)

    decision = decide(config.gate, scored["test"], scored["baselines"], challenge)
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


def _challenge(
    config: Reads, table: Path, scored: Mapping[str, Any], candidate: Mapping[str, Any], served: Path | None
) -> Champion | str:
    """The served version's score beside the candidate's on test rows that it never learnt, or why there is none."""
    if served is None:
        return "nothing is served under this name"
    told = servables.about(served)
    if told["model_version"] == candidate["model_version"]:
        return "this very model is served"
    if told["features"] != candidate["features"]:
        return f"the served {told['model_version']} has other features"
    data, answers = read(table), scored["predictions"]
    test = np.concatenate([window.test for window in splits.windows(config.split, data.time)])
    if [str(moment) for moment in data.time[test]] != answers["time"]:
        raise refuse("split", "has other test rows than scores.json", "give the keys that evaluate had")
    fair = later(data.time, test, told["last_label"], kind(config.dataset).HORIZON)
    rows = int(fair.sum())
    if rows < LEAST_ROWS:
        learnt = f"the served {told['model_version']} learnt last, {told['last_label']}"
        return f"{rows} test rows are later than what {learnt}, and {LEAST_ROWS} are needed"
    tf.load(config.hw.threads)
    theirs = servables.load(served)(data.features[test[fair]])
    ours = {name: np.array(answers[name])[fair] for name in answers if name not in ("time", "target")}
    found = [_score(config, scored["task"], data.target[test[fair]], each) for each in (theirs, ours)]
    if found[0] is None or found[1] is None:
        return f"{config.gate.metric} is not defined on the {rows} test rows after {told['last_label']}"
    return Champion(told["model_version"], told["last_label"], rows, score=found[0], candidate=found[1])


def _score(config: Reads, task: str, target: Array, outputs: Mapping[str, Array]) -> float | None:
    return measures.value(measures.score(task, target, outputs), config.gate.metric)
