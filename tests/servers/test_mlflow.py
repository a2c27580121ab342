"""track=mlflow: a finished run is in MLflow's SQLite file too. Here, because MLflow takes seconds to import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Tapeline, metrics

pytestmark = pytest.mark.servers
SMALL = ["model=flat", "model.steps=20", "model.report_every=10"]


def client(uri: str) -> Any:
    return pytest.importorskip("mlflow", reason="mlflow is not installed; make test-servers does it").MlflowClient(uri)


def test_a_run_is_in_mlflow_with_its_parameters_and_metrics(
    tapeline: Tapeline, folder: Path, without_report: None
) -> None:
    tracked = client("sqlite:///mlflow.db")
    assert tapeline("run", *SMALL, "seed=5", "track=mlflow")[0] == 0
    code, out, err = tapeline("run", *SMALL, "track=mlflow", "model.learning_rate=0.02")
    assert (code, err) == (0, "")
    experiment = tracked.get_experiment_by_name("indices-simulated")
    newest, oldest = tracked.search_runs([experiment.experiment_id])
    latest = (folder / "runs" / "latest").resolve()
    assert (newest.info.status, newest.info.run_name) == ("FINISHED", latest.name)
    assert f"run {newest.info.run_id} of the experiment indices-simulated in sqlite:///mlflow.db" in out
    assert newest.info.run_id in (latest / "log.txt").read_text()

    made = metrics(folder)
    scored = {f"test/{name}": value for name, value in made["test"]["overall"].items() if isinstance(value, float)}
    assert len(scored) > 2
    assert {name: newest.data.metrics[name] for name in scored} == pytest.approx(scored)
    trace = tracked.get_metric_history(newest.info.run_id, "train/score")
    assert [(each.step, each.value) for each in trace] == [
        (each["step"], pytest.approx(each["score"])) for each in made["train"]["trace"]
    ]
    config = yaml.safe_load((latest / "config.yaml").read_text())
    assert newest.data.params["model.learning_rate"] == str(config["model"]["learning_rate"]) == "0.02"
    assert (newest.data.params["seed"], oldest.data.params["seed"]) == ("0", "5")
    assert not any(key.startswith(("target.", "track.")) for key in newest.data.params)
    assert json.loads(newest.data.tags["tapeline.simulated"]) is True
    assert newest.data.tags["tapeline.decision"] == ("accepted" if made["gate"]["accepted"] else "rejected")


def test_a_place_that_takes_nothing_is_refused_and_the_run_stays(
    tapeline: Tapeline, folder: Path, without_report: None
) -> None:
    client("sqlite:///mlflow.db")
    (folder / "file").touch()
    code, _, err = tapeline("run", *SMALL, "track=mlflow", "track.uri=sqlite:///file/mlflow.db")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "track.uri=sqlite:///file/mlflow.db: MLflow cannot write there" in err
    assert json.loads((folder / "runs" / "latest" / "run.json").read_text())["state"] == "finished"
