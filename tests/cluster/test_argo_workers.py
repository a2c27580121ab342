"""Training by two pods on a real Argo: the bytes of two processes here, also when one of the pods is killed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tapeline.serving import saved_model
from tests.cluster.argo import at_work, line_with, prepared, same_here, store, until
from tests.cluster.conftest import Image, Kubectl
from tests.cluster.test_argo import SYSTEMS
from tests.conftest import subprocess_tapeline

LINE = (
    *("experiment=gresearch_sample", "dataset.rows=178000", "split.train=5d", "split.test=2d"),
    *("hw.threads=1", "hw.workers=2", "hw.requests.memory=400Mi", "model.report_every=20"),
)


@pytest.fixture(scope="module")
def submit(kubectl: Kubectl, namespace: str, image: Image) -> tuple[str, ...]:
    """What is typed behind `tapeline submit`, but for the experiment and the store."""
    return prepared(kubectl, namespace, image)


def here(folder: Path, submit: tuple[str, ...], line: tuple[str, ...]) -> None:
    """Compare with a run of two processes on this machine."""
    same_here(folder, submit, line)
    record = json.loads((folder / "runs" / "latest" / "metrics.json").read_text())
    assert record["trained"]["workers"] == 2


def test_two_pods_give_the_bytes_of_two_processes(folder: Path, submit: tuple[str, ...], namespace: str) -> None:
    line = (*LINE, "model.steps=60")
    shown = subprocess_tapeline("submit", *submit, store(namespace, "workers"), *line, "apply=true", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    here(folder, submit, line)


def test_two_pods_train_a_convolutional_network_that_is_served(
    folder: Path, submit: tuple[str, ...], namespace: str
) -> None:
    line = (*SYSTEMS["faces"], "hw.workers=2", "gate=default", "gate.baseline_margin=null")
    shown = subprocess_tapeline("submit", *submit, store(namespace, "conv"), *line, "apply=true", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    here(folder, submit, line)
    (servable,) = (folder / "here" / "store").glob("*/1")
    answer = saved_model.load(servable, "images")(np.zeros((2, 96, 96), np.uint8))["prediction"]
    assert answer.shape == (2, 30)
    assert np.isfinite(answer).all()


def test_a_lost_worker_is_a_retry_of_the_step(
    folder: Path, submit: tuple[str, ...], namespace: str, kubectl: Kubectl
) -> None:
    line = (*LINE, "model.steps=3000", "model.early_stopping_rounds=3000", "model.learning_rate=0.001")
    with at_work(folder, "submit", *submit, store(namespace, "lost"), *line, "apply=true") as process:
        run = line_with(process, "argo: ").split()[-1]
        worker = until(lambda: _worker_at_work(kubectl, namespace, run), "nothing trains", 600)
        kubectl("-n", namespace, "delete", "pod", worker, "--grace-period=0", "--force", "--wait=false")
        shown, problem = process.communicate(timeout=1500)
    assert process.returncode == 0, problem
    assert "train      again   try 1 was lost" in shown
    here(folder, submit, line)


def _worker_at_work(kubectl: Kubectl, namespace: str, run: str) -> str:
    """The pod beside the one that leads, once both train and Argo has seen so; "" before."""
    nodes = json.loads(kubectl("-n", namespace, "get", "workflow", run, "-ojson")).get("status", {}).get("nodes", {})
    running = {each["id"] for each in nodes.values() if (each["type"], each["phase"]) == ("Pod", "Running")}
    pods = {}
    for component in ("train", "train-worker"):
        which = ("-l", f"app.kubernetes.io/component={component},workflows.argoproj.io/workflow={run}")
        for each in json.loads(kubectl("-n", namespace, "get", "pods", *which, "-ojson"))["items"]:
            if each["metadata"]["annotations"]["workflows.argoproj.io/node-id"] in running:
                pods[component] = each["metadata"]["name"]
    if len(pods) < 2 or "step 20 of" not in kubectl("-n", namespace, "logs", pods["train"], "-c", "main"):
        return ""
    return str(pods["train-worker"])
