from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tapeline import files
from tapeline.clusters.kfp.ui import Launched
from tapeline.errors import Refused

TEST = {"rows": 4, "accuracy": 0.75, "confusion": {"tp": 1, "fp": 0, "fn": 1, "tn": 2}, "auc": None}
METRICS: dict[str, Any] = {
    "config": {"dataset": {"name": "indices"}, "gate": {"metric": "accuracy", "threshold": 0.7}},
    "test": TEST,
    "baselines": {"majority": {"accuracy": 0.5}, "dax": {"accuracy": 0.6}},
}


def _told(folder: Path, artifact: str, content: dict[str, Any]) -> dict[str, Any]:
    """What is told of an artifact with this content."""
    path, told = folder / artifact, folder / "deep" / "output.json"
    files.write_json(path, content)
    each = {"name": artifact, "uri": f"minio://bucket/{artifact}", "metadata": {}}
    given = {"outputs": {"outputFile": str(told), "artifacts": {artifact: {"artifacts": [each]}}}}
    Launched.read(json.dumps(given)).tell({artifact: path})
    (said,) = json.loads(told.read_text())["artifacts"][artifact]["artifacts"]
    assert (said["name"], said["uri"]) == (artifact, f"minio://bucket/{artifact}")
    metadata: dict[str, Any] = said["metadata"]
    return metadata


def test_metrics_are_finite_numbers(tmp_path: Path) -> None:
    told = _told(tmp_path, "metrics", METRICS)
    assert told["accuracy"] == 0.75
    assert told["baseline"] == 0.6
    assert told["threshold"] == 0.7
    assert told["confusion.tn"] == 2
    assert "auc" not in told
    assert all(math.isfinite(value) for value in told.values())


def test_a_gate_whose_metric_no_baseline_has(tmp_path: Path) -> None:
    gate = {"metric": "auc", "threshold": None}
    told = _told(tmp_path, "metrics", {**METRICS, "config": {**METRICS["config"], "gate": gate}})
    assert not {"baseline", "threshold"} & set(told)


def test_confusion_and_curve(tmp_path: Path) -> None:
    answers = {"target": [0, 0, 1, 1], "probability": [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.1, 0.9]]}
    told = _told(tmp_path, "scores", {"task": "direction", "test": TEST, "predictions": answers})
    assert [each["displayName"] for each in told["confusionMatrix"]["annotationSpecs"]] == ["up", "down"]
    assert [each["row"] for each in told["confusionMatrix"]["rows"]] == [[2, 0], [1, 1]]
    points = [(each["falsePositiveRate"], each["recall"]) for each in told["confidenceMetrics"]]
    assert points == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    assert [each["confidenceThreshold"] for each in told["confidenceMetrics"]] == [1.0, 0.9, 0.4, 0.3, 0.1]


@pytest.mark.parametrize("answers", [{"target": [1, 1], "probability": [[0.5, 0.5]] * 2}, {"target": [0, 1]}])
def test_no_curve_of_one_class_or_without_probability(tmp_path: Path, answers: dict[str, Any]) -> None:
    assert set(_told(tmp_path, "scores", {"task": "direction", "test": TEST, "predictions": answers})) == {
        "confusionMatrix"
    }


def test_other_artifacts_are_files_and_nothing_more(tmp_path: Path) -> None:
    assert _told(tmp_path, "table", {}) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"outputs": {"artifacts": {"a": {"artifacts": []}}}}'])
def test_what_kfp_does_not_write_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="--executor-input: is not what KFP gives a task"):
        Launched.read(text)
