"""Metrics and curves that a step reports to Kubeflow Pipelines for the pages of a run.

KFP gives a container its word about the task, `--executor-input JSON`, and reads the file that this
names: for each artifact what the page shows. It needs no package of KFP, and the images hold none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.config.compose import flat
from tapeline.errors import refuse
from tapeline.lookup import metric, task
from tapeline.pipeline.graph import METRICS, PREDICTIONS, SCORES
from tapeline.tables import predictions as forecasts
from tapeline.tasks import best


@dataclass(frozen=True)
class Launched:
    """KFP's description of a task's outputs."""

    file: Path
    """The file that the step writes for KFP."""
    artifacts: Mapping[str, Mapping[str, Any]]
    """By name: the URI of each artifact in KFP."""

    @classmethod
    def read(cls, text: str) -> Launched:
        """Read `--executor-input`.

        Raises:
            Refused: it is not what KFP puts there.
        """
        try:
            outputs = json.loads(text)["outputs"]
            listed = outputs.get("artifacts", {})
            return cls(Path(outputs["outputFile"]), {name: each["artifacts"][0] for name, each in listed.items()})
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise refuse("--executor-input", "is not the executor input of KFP", "remove it outside of KFP") from None

    def write(self, paths: Mapping[str, Path]) -> None:
        """Write the file, for the complete artifacts at `paths`."""
        content = {}
        for name, each in self.artifacts.items():
            shown = SHOWN[name](paths) if name in SHOWN else {}
            content[name] = {"artifacts": [{**each, "metadata": shown}]}
        files.write_json(self.file, {"artifacts": content})


def _scalars(paths: Mapping[str, Path]) -> dict[str, float]:
    """From metrics.json: test scores, the gate's threshold, and the best baseline."""
    metrics = files.read_json(paths[METRICS.name])
    test = {**metrics["test"]["overall"]}
    for name, ends in test.pop("intervals", {}).items():
        test |= {f"{name}.low": ends["low"], f"{name}.high": ends["high"]}
    found = best(metric(metrics), metrics["baselines"])
    numbers = {**flat(test), "threshold": metrics["config"]["gate"]["threshold"]}
    numbers |= {"baseline": found[1]} if found else {}
    return {name: number for name, number in numbers.items() if _finite(number)}


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _curves(paths: Mapping[str, Path]) -> dict[str, Any]:
    """From scores and predictions: the task's data for KFP's charts."""
    scores, predictions = files.read_json(paths[SCORES.name]), forecasts.read(paths[PREDICTIONS.name])
    return task(scores["task"]).kfp(scores["test"]["overall"], predictions.scored)


SHOWN: dict[str, Callable[[Mapping[str, Path]], dict[str, Any]]] = {METRICS.name: _scalars, SCORES.name: _curves}
"""Artifacts with metrics or charts on KFP's pages."""
