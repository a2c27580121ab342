from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline import files
from tapeline.clusters.kfp.ui import Launched
from tapeline.errors import Refused
from tapeline.tables import predictions
from tapeline.tables.predictions import Predictions
from tests.metrics_json import sample

METRICS = sample()


def _shown(folder: Path, artifact: str, others: dict[str, Path] | None = None) -> dict[str, Any]:
    """The metadata that KFP is given of an artifact whose file lies in the folder."""
    path, output = folder / artifact, folder / "deep" / "output.json"
    each = {"name": artifact, "uri": f"minio://bucket/{artifact}", "metadata": {}}
    given = {"outputs": {"outputFile": str(output), "artifacts": {artifact: {"artifacts": [each]}}}}
    Launched.read(json.dumps(given)).write({artifact: path, **(others or {})})
    (written,) = json.loads(output.read_text())["artifacts"][artifact]["artifacts"]
    assert (written["name"], written["uri"]) == (artifact, f"minio://bucket/{artifact}")
    metadata: dict[str, Any] = written["metadata"]
    return metadata


def _metrics(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    files.write_json(folder / "metrics", content)
    return _shown(folder, "metrics")


def _curves(folder: Path, answers: dict[str, list[Any]]) -> dict[str, Any]:
    files.write_json(folder / "scores", {"task": "direction", "test": METRICS["test"]})
    arrays = {name: np.array(values) for name, values in answers.items()}
    rows = {"window": np.zeros(len(arrays["target"]), dtype=np.int64), "row": np.arange(len(arrays["target"]))}
    predictions.write(folder / "predictions", Predictions(rows, arrays, {}))
    return _shown(folder, "scores", {"predictions": folder / "predictions"})


def test_metrics_are_finite_numbers(tmp_path: Path) -> None:
    shown = _metrics(tmp_path, METRICS)
    assert shown["accuracy"] == 0.75
    assert shown["baseline"] == 0.6
    assert shown["threshold"] == 0.7
    assert shown["confusion.tn"] == 2
    assert "auc" not in shown
    assert all(math.isfinite(value) for value in shown.values())


def test_a_gate_whose_metric_no_baseline_has(tmp_path: Path) -> None:
    gate = {"metric": "auc", "threshold": None}
    shown = _metrics(tmp_path, {**METRICS, "config": {**METRICS["config"], "gate": gate}})
    assert not {"baseline", "threshold"} & set(shown)


def test_confusion_and_curve(tmp_path: Path) -> None:
    answers: dict[str, list[Any]] = {
        "target": [0, 0, 1, 1],
        "probability": [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.1, 0.9]],
    }
    shown = _curves(tmp_path, answers)
    assert [each["displayName"] for each in shown["confusionMatrix"]["annotationSpecs"]] == ["up", "down"]
    assert [each["row"] for each in shown["confusionMatrix"]["rows"]] == [[2, 0], [1, 1]]
    points = [(each["falsePositiveRate"], each["recall"]) for each in shown["confidenceMetrics"]]
    assert points == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    assert [each["confidenceThreshold"] for each in shown["confidenceMetrics"]] == [1.0, 0.9, 0.4, 0.3, 0.1]


@pytest.mark.parametrize("answers", [{"target": [1, 1], "probability": [[0.5, 0.5]] * 2}, {"target": [0, 1]}])
def test_no_curve_of_one_class_or_without_probability(tmp_path: Path, answers: dict[str, Any]) -> None:
    assert set(_curves(tmp_path, answers)) == {"confusionMatrix"}


def test_other_artifacts_are_files_and_nothing_more(tmp_path: Path) -> None:
    (tmp_path / "table").mkdir()
    assert _shown(tmp_path, "table") == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"outputs": {"artifacts": {"a": {"artifacts": []}}}}'])
def test_what_kfp_does_not_write_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="--executor-input: is not the executor input of KFP"):
        Launched.read(text)
