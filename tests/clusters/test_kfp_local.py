"""The compiled pipeline in the hands of KFP's own local engine: the same bytes as `tapeline run`."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tapeline import lookup
from tapeline.cli.main import main
from tapeline.clusters.kfp import pipeline as emitter
from tapeline.clusters.plan import plan
from tapeline.clusters.pod_spec import COMMAND
from tests import faces
from tests.conftest import Tapeline, metrics, without_run

BUILT = [
    *("model=flat", "model.report_every=20", "model.steps=40", "gate.threshold=0", "gate.baseline_margin=null"),
    *("tune=optuna", "tune.trials=2"),
]


@pytest.fixture
def engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the pipeline that BUILT compiles to; returns the folder in which the engine keeps artifacts."""
    return engine_of(BUILT, "indices-flat-cpu.yaml", folder, monkeypatch)


def engine_of(built: list[str], name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same for other overrides."""
    overrides = [*built, "target=kfp", f"serving.store={folder / 'cluster'}"]
    path = folder / "pipeline.yaml"
    path.write_text(emitter.emit(plan(lookup.configure(overrides), overrides))[name])
    from kfp import components, local
    from kfp.local.status import Status
    from kfp.local.subprocess_task_handler import SubprocessTaskHandler

    def step(handler: Any) -> Status:
        """In this process: that steps as programs give the same bytes is tested in test_run_locally.py."""
        program, arguments = handler.full_command[: len(COMMAND)], handler.full_command[len(COMMAND) :]
        assert tuple(program) == COMMAND
        return Status.SUCCESS if main(arguments) == 0 else Status.FAILURE

    # it takes Python components only, for they need no image; ours need none, either
    monkeypatch.setattr(SubprocessTaskHandler, "validate_not_container_component", lambda *_: None)
    monkeypatch.setattr(SubprocessTaskHandler, "run", step)
    root = folder / "engine"
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(root), raise_on_error=True)

    def run(**parameters: str) -> Path:
        before = set(root.glob("*"))
        components.load_component_from_file(str(path))(**parameters)
        (made,) = set(root.glob("*")) - before
        return made

    return run


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
def test_the_engine_gives_the_same_bytes_accepted_and_rejected(engine: Any, tapeline: Tapeline, folder: Path) -> None:
    latest, store = folder / "runs" / "latest", folder / "cluster"
    rejected = engine(model="deep", model_steps="20", gate_threshold="0.99")
    assert tapeline("run", *BUILT, "model=deep", "model.steps=20", "gate.threshold=0.99")[0] == 0
    assert metrics(folder)["gate"]["accepted"] is False
    assert (rejected / "gate" / "metrics").read_bytes() == (latest / "metrics.json").read_bytes()
    assert not (rejected / "publish").exists()
    assert not store.exists()
    accepted = engine(model="deep", model_steps="20")
    assert tapeline("run", *BUILT, "model=deep", "model.steps=20")[0] == 0
    assert metrics(folder)["gate"]["accepted"] is True
    assert (accepted / "gate" / "metrics").read_bytes() == (latest / "metrics.json").read_bytes()
    assert (accepted / "report" / "report").read_text() == without_run((latest / "report.html").read_text())
    assert (store / "indices-simulated" / "1" / "saved_model.pb").is_file()
    _shows(accepted, metrics(folder))


@pytest.mark.matrix
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
def test_images_give_the_same_bytes(tapeline: Tapeline, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = engine_of(faces.TINY, "faces-conv-cpu.yaml", folder, monkeypatch)()
    assert tapeline("run", *faces.TINY)[0] == 0
    latest = folder / "runs" / "latest"
    assert (made / "gate" / "metrics").read_bytes() == (latest / "metrics.json").read_bytes()
    assert (made / "report" / "report").read_text() == without_run((latest / "report.html").read_text())
    first = (latest / "metrics.json").read_bytes()
    assert tapeline("run", *faces.TINY, f"target.cache={folder / 'empty'}", f"serving.store={folder / 'other'}")[0] == 0
    assert (latest / "metrics.json").read_bytes() == first


@pytest.mark.matrix
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
@pytest.mark.parametrize("target", ["next_day", "same_day"])
def test_a_price_forecast_gives_the_same_bytes(
    tapeline: Tapeline, folder: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    built = ["dataset=bitcoin", f"dataset.target={target}", "model=flat", "model.steps=40", "model.report_every=20"]
    made = engine_of(built, "bitcoin-flat-cpu.yaml", folder, monkeypatch)()
    assert tapeline("run", *built)[0] == 0
    assert (made / "gate" / "metrics").read_bytes() == (folder / "runs" / "latest" / "metrics.json").read_bytes()
    (scalars,) = _artifacts(made / "gate")["metrics"]
    assert scalars["metadata"]["rmse"] == metrics(folder)["test"]["overall"]["rmse"]
    assert scalars["metadata"]["rmse.low"] < scalars["metadata"]["rmse"] < scalars["metadata"]["rmse.high"]


OTHERS = {
    "bitcoin-tuned-cpu.yaml": ["experiment=bitcoin_tuned", "tune.trials=2", "model.steps=20", "gate.confidence=null"],
    "gresearch-sample-cpu.yaml": [
        *("experiment=gresearch_sample", "dataset.rows=178000", "split.train=5d", "split.test=2d"),
        *("model.steps=60", "model.report_every=20"),
    ],
}
"""A search before training; ten days of minute bars in partitions."""


@pytest.mark.matrix
@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("name", "built"), OTHERS.items(), ids=OTHERS.keys())
def test_a_search_and_partitions_give_the_same_bytes(
    tapeline: Tapeline, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, built: list[str]
) -> None:
    made = engine_of(built, name, folder, monkeypatch)()
    assert tapeline("run", *built)[0] == 0
    latest = folder / "runs" / "latest"
    assert (made / "gate" / "metrics").read_bytes() == (latest / "metrics.json").read_bytes()
    assert (made / "report" / "report").read_text() == without_run((latest / "report.html").read_text())
    if "tune" in name:
        assert (made / "tune" / "best").read_bytes() == (latest / "best.json").read_bytes()


def _shows(run: Path, record: dict[str, Any]) -> None:
    """What the pages of KFP would show."""
    (scalars,) = _artifacts(run / "gate")["metrics"]
    assert scalars["metadata"]["accuracy"] == record["test"]["overall"]["accuracy"]
    assert scalars["metadata"]["accuracy.low"] < scalars["metadata"]["accuracy"] < scalars["metadata"]["accuracy.high"]
    assert scalars["metadata"]["threshold"] == 0
    assert scalars["metadata"]["baseline"] == max(each["accuracy"] for each in record["baselines"].values())
    (curves,) = _artifacts(run / "evaluate")["scores"]
    down = [each["row"] for each in curves["metadata"]["confusionMatrix"]["rows"]][1]
    assert down == [record["test"]["overall"]["confusion"]["fn"], record["test"]["overall"]["confusion"]["tp"]]
    points = [(each["falsePositiveRate"], each["recall"]) for each in curves["metadata"]["confidenceMetrics"]]
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))
    assert area == pytest.approx(record["test"]["overall"]["auc"])


def _artifacts(task: Path) -> dict[str, Any]:
    record = json.loads((task / "executor_output.json").read_text())["artifacts"]
    return {name: each["artifacts"] for name, each in record.items()}
