"""The whole graph as one TFJob on the real operator, in a namespace that enforces `restricted`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cluster.conftest import Image, Kubectl
from tests.cluster.objects import STORE, workplace
from tests.conftest import subprocess_tapeline

LINE = ("experiment=snp_flat", "model.steps=2000")


@pytest.fixture(scope="module")
def submit(kubectl: Kubectl, namespace: str, image: Image) -> tuple[str, ...]:
    """What is typed behind `tapeline submit`, but for the experiment."""
    kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(workplace()))
    where = (f"target.namespace={namespace}", f"hw.image={image('cpu')}", "hw.requests.cpu=100m")
    return ("target=tfjob", *where, f"serving.store={STORE}/{namespace}/tfjob", "target.store_secret=store")


@pytest.mark.parametrize(("threshold", "decision"), [("0.4", "accepted"), ("0.9", "rejected")])
def test_the_job_gives_the_same_bytes(folder: Path, submit: tuple[str, ...], threshold: str, decision: str) -> None:
    line = (*LINE, f"gate.threshold={threshold}")
    record = subprocess_tapeline("submit", *submit, *line, cwd=folder)
    assert record.returncode == 0, record.stderr
    steps = [row.split()[0] for row in record.stdout.splitlines() if row.startswith("  ")]
    assert steps == ["ingest", "features", "train", "export", "evaluate", "gate", "report", "publish"]
    assert f"\n{decision}: accuracy" in record.stdout
    assert ("published: indices-simulated version" in record.stdout) == (decision == "accepted")
    theirs = (folder / "runs" / "latest" / "metrics.json").read_bytes()
    here = folder / "here"
    here.mkdir()
    hw = [text for text in submit if text.startswith("hw.")]
    ran = subprocess_tapeline("run", *hw, *line, cwd=here)
    assert ran.returncode == 0, ran.stderr
    assert theirs == (here / "runs" / "latest" / "metrics.json").read_bytes()


def test_what_tapeline_refuses_is_said_and_not_tried_again(
    folder: Path, submit: tuple[str, ...], namespace: str, kubectl: Kubectl
) -> None:
    """The path is plain here; that there is no such file, only the pod can know."""
    line = ("dataset.source=csv", "dataset.path=https://127.0.0.1:9/closes.csv")
    record = subprocess_tapeline("submit", *submit, *line, cwd=folder)
    assert record.returncode == 2
    assert "https://127.0.0.1:9/closes.csv" in record.stderr
    assert "see kubectl -n" in record.stderr
    pods = json.loads(kubectl("-n", namespace, "get", "pods", "-ojson"))["items"]
    failed = [each for each in pods if each["status"]["phase"] == "Failed"]
    assert len(failed) == 1
    assert failed[0]["status"]["containerStatuses"][0]["restartCount"] == 0
