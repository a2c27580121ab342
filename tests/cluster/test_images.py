"""Each image is built, holds its lock and nothing else, and trains on the CPU as this machine does."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tapeline import files
from tapeline.targets import cache
from tests.cluster.conftest import SECURITY, Image, Kubectl, ended
from tests.conftest import ROOT, subprocess_tapeline
from tests.test_hardware import BUILT, CARDS

SMALL = ["model=deep", "model.steps=300", "model.report_every=100"]
STEPS = (
    ("ingest", "--out", "raw={}/raw.parquet"),
    ("features", "--in", "raw={}/raw.parquet", "--out", "table={}/table.parquet"),
    ("train", "--in", "table={}/table.parquet", "--out", "fitted={}/fitted"),
)
SONAMES = (
    "libcudart.so.11.0", "libcublas.so.11", "libcublasLt.so.11", "libcufft.so.10", "libcurand.so.10",
    "libcusolver.so.11", "libcusparse.so.11", "libcudnn.so.8", "libcupti.so.11.8",
)  # fmt: skip
"""What TensorFlow 2.14 opens by name, once it sees a card."""


def weights(folder: Path) -> dict[str, Any]:
    """Each array below a folder; the files themselves differ in what Python's zipfile writes around them."""
    import numpy as np

    files = {str(path.relative_to(folder)): np.load(path) for path in sorted(folder.rglob("*.npz"))}
    return {name: {key: file[key].tobytes().hex() for key in file} for name, file in files.items()}


PROBE = (
    f"from __future__ import annotations\n{inspect.getsource(weights)}"
    + """
import ctypes, importlib.metadata, json, os, pathlib, runpy, shutil, sys
from tapeline.steps import train
from tapeline.targets import cache
site = pathlib.Path(train.__file__).parents[2]
writable = [folder for folder in ('/', '/opt/tapeline', str(site), '/home', '/tmp') if os.access(folder, os.W_OK)]
build = runpy.run_path(str(site / 'tensorflow/python/platform/build_info.py'))['build_info']
for name in sys.argv[1:]:
    ctypes.CDLL(name)
flags = os.environ.get('XLA_FLAGS', '').partition('=')[2]
print(json.dumps({
    'user': os.getuid(),
    'writable': writable,
    'distributions': {each.name: each.version for each in importlib.metadata.distributions(path=[str(site)])},
    'code': list(build['cuda_compute_capabilities']),
    'environment': cache.environment(),
    'compiled': (site / 'tapeline/__pycache__').is_dir() and (site / 'tensorflow/__pycache__').is_dir(),
    'fitted': json.loads(pathlib.Path('/work/fitted/fitted.json').read_text()),
    'weights': weights(pathlib.Path('/work/fitted')),
    'compiler': [os.path.exists(f'{flags}/{path}') for path in ('bin/ptxas', 'nvvm/libdevice/libdevice.10.bc')],
}))
"""
)


def container(name: str, image: str, command: list[str]) -> dict[str, Any]:
    return {
        "name": name, "image": image, "imagePullPolicy": "IfNotPresent", "command": command,
        "securityContext": SECURITY,
        "volumeMounts": [{"name": "work", "mountPath": "/work"}, {"name": "tmp", "mountPath": "/tmp"}],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "4Gi"}},
    }  # fmt: skip


def pod(image: str, profile: str, sonames: tuple[str, ...]) -> dict[str, Any]:
    """The steps one after the other, and then a look at what there is."""
    line = [*SMALL, f"hw={profile}"]
    steps = [
        container(name, image, ["tapeline", "step", name, *line, *(each.format("/work") for each in rest)])
        for name, *rest in STEPS
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"train-{profile}"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "initContainers": steps,
            "containers": [container("probe", image, ["python", "-c", PROBE, *sonames])],
            "volumes": [{"name": "work", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
        },
    }


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the same steps make on this machine."""
    folder = tmp_path_factory.mktemp("here")
    for name, *rest in STEPS:
        done = subprocess_tapeline("step", name, *SMALL, *(each.format(folder) for each in rest), cwd=folder)
        assert (done.returncode, done.stderr) == (0, "")
    return folder / "fitted"


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(("name", "profile"), [("cpu", "cpu"), ("gpu", "gpu-h100"), ("gpu-k80", "gpu")])
def test_an_image_trains(kubectl: Kubectl, namespace: str, image: Image, here: Path, name: str, profile: str) -> None:
    log = ended(kubectl, namespace, pod(image(name), profile, SONAMES if name == "gpu-k80" else ()))
    told = json.loads(log.splitlines()[-1])
    assert told["user"] == 10001
    assert told["writable"] == ["/tmp"]
    assert told["compiled"]

    lock = ROOT / "deploy" / "images" / name / "requirements.lock"
    wanted = dict(line.split("==") for line in lock.read_text().splitlines())
    held = {plain(each): version for each, version in told["distributions"].items()}
    assert held == {plain(each): version for each, version in wanted.items()} | {"tapeline": held["tapeline"]}
    assert told["environment"]["requirements.lock"] == files.digest_path(lock)
    assert told["environment"]["tapeline's source"] == cache.environment()["tapeline's source"]
    assert told["code"] == BUILT[wanted["tensorflow"]]
    assert all(told["compiler"]) or name == "cpu"

    fitted, ours = told["fitted"], json.loads((here / "fitted.json").read_text())
    assert (fitted["device"], fitted["tensorflow"], fitted["hw"]) == ("cpu", wanted["tensorflow"], profile)
    assert CARDS[profile][2] == name
    same = told["environment"]["processor"] == cache.environment()["processor"]
    if same and fitted["tensorflow"] == ours["tensorflow"]:
        assert fitted["traces"] == ours["traces"]
        assert told["weights"] == weights(here)
    else:
        assert [point["score"] for point in fitted["traces"][0]] == pytest.approx(
            [point["score"] for point in ours["traces"][0]], abs=0.005
        )
