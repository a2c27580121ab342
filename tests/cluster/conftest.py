"""What the tests on a cluster share; it is the one that KUBECONFIG names: make test-cluster"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tapeline.commands import images

Kubectl = Callable[..., str]
Image = Callable[[str], str]

SECURITY = {
    "runAsNonRoot": True, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
}  # fmt: skip
"""Of a container: what the Pod Security Standard `restricted` asks for, and a root that nobody writes."""


DISK = {"cpu": 10, "gpu": 40, "gpu-k80": 40}
"""GB that an image and its layers need while it is built and unpacked, by image."""


def pytest_sessionstart() -> None:
    """Refuse to start without a cluster, or without the disk that the step image needs."""
    if not os.environ.get("KUBECONFIG"):
        fix = "name the file of a cluster for tests: KUBECONFIG=FILE make test-cluster"
        pytest.exit(f"tapeline: KUBECONFIG: is not set; {fix}", returncode=2)
    if problem := lack("cpu"):
        pytest.exit(f"tapeline: {problem}; free some space, as with docker system prune", returncode=2)


def lack(image: str) -> str:
    """Why there is not enough disk for an image; "" if there is."""
    places = {Path(os.environ["KUBECONFIG"]).absolute().parent, Path(tempfile.gettempdir())}
    place = min(places, key=lambda each: shutil.disk_usage(each).free)
    free = shutil.disk_usage(place).free / 1e9
    enough = free >= DISK[image]
    return "" if enough else f"image {image} needs about {DISK[image]} GB of disk, and {place} has {free:.0f}"


@pytest.fixture(scope="session")
def closing_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table in the layout of the original one, simulated: what is tested here needs no real data."""
    from tapeline.datasets.indices.simulation import simulate

    table, path = simulate(0), tmp_path_factory.mktemp("data") / "closing_data.csv"
    markets = [name for name in table.columns if name != "date"]
    table.rename({"date": "Date", **{name: f"{name}_close" for name in markets}}).write_csv(path)
    return path


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """Run kubectl; its standard output."""

    def run(*words: str, stdin: str | None = None) -> str:
        done = subprocess.run(["kubectl", *words], input=stdin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def restart_controller(kubectl: Kubectl) -> Callable[[], None]:
    """Kill Argo's controller, which starts again: its pod in the namespace argo, or what the command of
    TAPELINE_RESTART_CONTROLLER restarts."""

    def restart() -> None:
        if command := os.environ.get("TAPELINE_RESTART_CONTROLLER"):
            subprocess.run(shlex.split(command), check=True, capture_output=True)
            return
        which = ("-n", "argo", "-l", "app=workflow-controller")
        assert kubectl("get", "pods", *which, "-oname").split(), (
            "no pod of Argo's controller is in the namespace argo; name a command that restarts it: "
            "TAPELINE_RESTART_CONTROLLER"
        )
        kubectl("delete", "pods", *which, "--grace-period=0", "--force")

    return restart


@pytest.fixture(scope="module")
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace that admits only pods of the standard `restricted`; it goes with all that is in it."""
    name = f"tapeline-test-{uuid.uuid4().hex[:6]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    about = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    kubectl("create", "-f", "-", stdin=json.dumps(about))
    yield name
    kubectl("delete", "namespace", name, "--timeout=180s")


@pytest.fixture(scope="session")
def image() -> Image:
    """Build an image of deploy/images, once, where the cluster finds it (TAPELINE_IMAGE_BUILDER); its name."""

    @cache
    def built(name: str) -> str:
        tag = images.tag(name)
        images.build(name, tag)
        return tag

    return built


@pytest.fixture(scope="session")
def laptop(
    kubectl: Kubectl, image: Image, closing_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """The overlay laptop, applied in a namespace of its own: a tree.Laptop."""
    from tests.cluster import tree

    image("cpu")
    volumes: list[str] = []
    for made in tree.laptop(kubectl, tmp_path_factory.mktemp("laptop"), closing_data):
        volumes = tree.volumes(kubectl)
        yield made
    tree.free(kubectl, volumes)


STUCK = ("ErrImagePull", "ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError")


def ended(kubectl: Kubectl, namespace: str, pod: Mapping[str, Any], seconds: int = 900) -> str:
    """Create a pod and wait until it has ended; the log of its last container.

    Raises:
        AssertionError: it failed, cannot start, or is not done in time.
    """
    kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(pod))
    name, deadline = pod["metadata"]["name"], time.monotonic() + seconds
    status: dict[str, Any] = {"phase": "Pending"}
    parts: list[dict[str, Any]] = []
    while status["phase"] in ("Pending", "Running") and time.monotonic() < deadline:
        time.sleep(2)
        status = json.loads(kubectl("-n", namespace, "get", "pod", name, "-o", "json"))["status"]
        parts = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
        if any(each["state"].get("waiting", {}).get("reason") in STUCK for each in parts):
            break
    if status["phase"] != "Succeeded":
        record = kubectl("-n", namespace, "describe", "pod", name)
        ran = [each["name"] for each in parts if "terminated" in each["state"]]
        logs = [kubectl("-n", namespace, "logs", name, "-c", each) for each in ran]
        raise AssertionError("\n".join([f"{name}: {status['phase']}", *logs, record]))
    return kubectl("-n", namespace, "logs", name, "-c", pod["spec"]["containers"][-1]["name"])
