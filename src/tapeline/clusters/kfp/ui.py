"""What a step tells Kubeflow Pipelines beside its files: figures and curves for the pages of a run.

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
from tapeline.evaluation.metrics import OF_CLASSES, best
from tapeline.pipeline.graph import METRICS, SCORES


@dataclass(frozen=True)
class Launched:
    """KFP's word about a task's outputs."""

    file: Path
    """Where it looks for ours."""
    artifacts: Mapping[str, Mapping[str, Any]]
    """By name: where KFP keeps each."""

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
            raise refuse("--executor-input", "is not what KFP gives a task", "leave it out elsewhere") from None

    def tell(self, paths: Mapping[str, Path]) -> None:
        """Write the file, for artifacts that are complete at `paths`."""
        told = {}
        for name, each in self.artifacts.items():
            shown = SHOWN[name](files.read_json(paths[name])) if name in SHOWN else {}
            told[name] = {"artifacts": [{**each, "metadata": shown}]}
        files.write_json(self.file, {"artifacts": told})


def _scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Of metrics.json: the test's scores, the gate's threshold, and the best naive baseline."""
    gate = metrics["config"]["gate"]
    numbers = {**flat(metrics["test"]), "threshold": gate["threshold"]}
    if gate["metric"] in OF_CLASSES:
        numbers["baseline"] = best(gate["metric"], metrics["baselines"])[1]
    return {name: number for name, number in numbers.items() if _finite(number)}


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _curves(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Of scores.json: the confusion of up and down, and the curve of the probability of down."""
    shown: dict[str, Any] = {}
    if counts := scores["test"].get("confusion"):
        rows = [[counts["tn"], counts["fp"]], [counts["fn"], counts["tp"]]]
        names = [{"displayName": name} for name in ("up", "down")]
        shown["confusionMatrix"] = {"annotationSpecs": names, "rows": [{"row": row} for row in rows]}
    target, probability = (scores["predictions"].get(name) for name in ("target", "probability"))
    if probability and len(set(target)) == 2:
        shown["confidenceMetrics"] = _roc(target, [down for _, down in probability])
    return shown


def _roc(target: list[int], down: list[float]) -> list[dict[str, float]]:
    from sklearn.metrics import roc_curve

    points = zip(*roc_curve(target, down), strict=True)
    return [
        # the first threshold is infinity: none is that sure
        {"confidenceThreshold": min(float(at), 1.0), "falsePositiveRate": float(false), "recall": float(true)}
        for false, true, at in points
    ]


SHOWN: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {METRICS.name: _scalars, SCORES.name: _curves}
"""Artifacts of which KFP's pages show more than the file."""
