"""Each image is built, holds its lock and nothing else, and trains on the CPU as this machine does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tapeline.pipeline import cache_key
from tests.cluster.conftest import SECURITY, Image, Kubectl, ended, lack
from tests.cluster.probe import weights
from tests.conftest import ROOT, subprocess_tapeline
from tests.test_hardware import BUILT, CARDS

SMALL = ["model=deep", "model.steps=300", "model.report_every=100"]
STEPS = (
    ("ingest", "--out", "raw={}/raw.parquet"),
    ("features", "--in", "raw={}/raw.parquet", "--out", "table={}/table.parquet"),
    ("train", "--in", "table={}/table.parquet", "--out", "fitted={}/fitted"),
)
PROFILES = {"cpu": "cpu", "gpu": "gpu-h100", "gpu-k80": "gpu"}
SONAMES = {
    "gpu-k80": [
        "libcudart.so.11.0", "libcublas.so.11", "libcublasLt.so.11", "libcufft.so.10", "libcurand.so.10",
        "libcusolver.so.11", "libcusparse.so.11", "libcudnn.so.8", "libcupti.so.11.8",
    ]
}  # fmt: skip
"""What TensorFlow 2.14 opens by name once it sees a card; later ones know where pip puts it."""


def container(name: str, image: str, command: list[str]) -> dict[str, Any]:
    return {
        "name": name, "image": image, "imagePullPolicy": "IfNotPresent", "command": command,
        "securityContext": SECURITY,
        "volumeMounts": [{"name": "work", "mountPath": "/workspace"}, {"name": "tmp", "mountPath": "/tmp"}],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "4Gi"}},
    }  # fmt: skip


def pod(name: str, image: str) -> dict[str, Any]:
    """The steps one after the other, and then a look at what there is. No user is set: the image's own holds."""
    line = [*SMALL, f"hw={PROFILES[name]}"]
    steps = [
        container(step, image, ["tapeline", "step", step, *line, *(word.format("/workspace") for word in words)])
        for step, *words in STEPS
    ]
    script = (Path(__file__).parent / "probe.py").read_text()
    probe = ["python", "-c", script, "/workspace/fitted", *SONAMES.get(name, [])]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"train-{name}"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "initContainers": steps,
            "containers": [container("probe", image, probe)],
            "volumes": [{"name": "work", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
        },
    }


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the same steps make on this machine."""
    folder = tmp_path_factory.mktemp("here")
    for step, *words in STEPS:
        done = subprocess_tapeline("step", step, *SMALL, *(word.format(folder) for word in words), cwd=folder)
        assert (done.returncode, done.stderr) == (0, "")
    return folder / "fitted"


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def lock(name: str) -> Path:
    return ROOT / "deploy" / "images" / name / "requirements.lock"


@pytest.mark.parametrize("name", PROFILES)
def test_an_image_holds_its_lock_and_trains(
    kubectl: Kubectl, namespace: str, image: Image, here: Path, name: str
) -> None:
    if problem := lack(name):
        pytest.skip(problem)
    record = json.loads(ended(kubectl, namespace, pod(name, image(name))).splitlines()[-1])
    assert (record["user"], record["writable"], record["compiled"]) == (10001, ["/tmp"], [True, True])

    wanted = dict(line.split("==") for line in lock(name).read_text().splitlines())
    held = {canonical(each): version for each, version in record["distributions"].items()}
    assert held.pop("tapeline")
    assert held == {canonical(each): version for each, version in wanted.items()}
    assert record["code"] == BUILT[wanted["tensorflow"]]
    assert record["compiler"] == [name != "cpu"] * 2

    assert record["source"] == cache_key.digest_of_source()

    fitted, laptop = record["fitted"], json.loads((here / "fitted.json").read_text())
    assert (fitted["device"], fitted["tensorflow"]) == ("cpu", wanted["tensorflow"])
    assert (fitted["hw"], CARDS[fitted["hw"]][2]) == (PROFILES[name], name)
    if fitted["tensorflow"] == laptop["tensorflow"] and record["processor"] == list(cache_key.instruction_set()):
        assert record["weights"] == weights(here)
    scores = [[point["score"] for point in each["traces"][0]] for each in (fitted, laptop)]
    assert scores[0] == pytest.approx(scores[1], abs=0.005)
