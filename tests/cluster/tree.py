"""The Kustomize tree on the cluster of ../shared/cluster, or one like it: images, volumes and data that it lacks."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import s3fs

from tapeline.clusters import pod_spec as pods
from tapeline.commands import images
from tapeline.commands.verify_cluster import probes as verify
from tests.cluster.conftest import Kubectl, ended
from tests.conftest import subprocess_tapeline
from tests.deploy.rendering import TREE, overlay

NAMESPACE = "tapeline-own"
"""Not that of the tree: whoever has one of their own does the same as the others."""
LAPTOP = TREE / "overlays" / "laptop"
STAND_INS = {
    "serving": "tensorflow/serving:2.20.0",
    "weed": "chrislusf/seaweedfs:4.47",
    "nginx": "nginx:1.28.0",
    "postgres": "postgres:17.6",
}
"""Folders of stand_ins, and the images of the tree that they take the place of."""
CLOSES = "s3://data/closes.csv"
QUICK = ("model.steps=300", "gate.threshold=0.1", "gate.baseline_margin=null")
"""A short training whose model is accepted."""
SMALL = ("target=argo", "hw.requests.cpu=250m", "target.requests.cpu=100m")
"""Requests for which a node of two processors has room."""
OF_CSV = ("dataset.source=csv", f"dataset.path={CLOSES}", "target.data_secret=data")
KEYS = str(TREE / "components" / "with-object-store" / "keys.py")
CONNECT = """
import json, socket, sys, time
wanted, until = json.loads(sys.argv[1]), time.time() + 60  # policies may reach a new pod some seconds late
def open_to(place):
    host, port = place.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 4).close()
    except OSError:
        return False
    return True
while (found := {place: open_to(place) for place in wanted}) != wanted and time.time() < until:
    time.sleep(1)
print(json.dumps(found))
"""


class Laptop(NamedTuple):
    """The overlay that is applied."""

    folder: Path
    table: Path
    day: str
    """A day of the table."""
    keys: dict[str, dict[str, str]]
    """Content of the Secrets of the object store."""


def build_stand_ins(scratch: Path, *names: str) -> None:
    """All of them, or these. Where images come from a builder of one's own, none can be pulled."""
    if not os.environ.get(images.VARIABLE):
        return
    for name, tag in ((each, STAND_INS[each]) for each in names or STAND_INS):
        folder = scratch / name
        shutil.copytree(Path(__file__).parent / "stand_ins" / name, folder)
        words = images.command("", folder, folder / "Dockerfile", tag)
        assert subprocess.run(words, check=False).returncode == 0, tag


def a_day(table: Path) -> str:
    """A day of the table on which the S&P was traded, not one of the last."""
    with open(table, newline="") as file:
        return [row["Date"] for row in csv.DictReader(file) if row["snp_close"]][-50]


def keys(kubectl: Kubectl, namespace: str = NAMESPACE) -> dict[str, dict[str, str]]:
    """Make the Secrets of with-object-store as its README says; their content by name."""
    made = subprocess.run([sys.executable, KEYS], capture_output=True, text=True, check=True).stdout
    kubectl("-n", namespace, "create", "-f", "-", stdin=made)
    return {each["metadata"]["name"]: each["stringData"] for each in json.loads(made)["items"]}


@contextmanager
def store(kubectl: Kubectl, keys: Mapping[str, str]) -> Iterator[s3fs.S3FileSystem]:
    """The namespace's object store, seen from this machine with the keys of a Secret."""
    kubectl("-n", NAMESPACE, "rollout", "status", "deployment/object-store", "--timeout=180s")
    words = ["kubectl", "-n", NAMESPACE, "port-forward", "service/object-store", ":8333"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as forward:
        try:
            assert forward.stdout
            port = forward.stdout.readline().split("->")[0].rpartition(":")[2].strip()
            own = {"key": keys["AWS_ACCESS_KEY_ID"], "secret": keys["AWS_SECRET_ACCESS_KEY"]}
            yield s3fs.S3FileSystem(**own, endpoint_url=f"http://127.0.0.1:{port}", use_listings_cache=False)
        finally:
            forward.terminate()


def own_volumes(kubectl: Kubectl, namespace: str = NAMESPACE) -> None:
    """Hand folders of this machine to the pods' user: for hostPath, Kubernetes does not do it."""
    bound = wait(lambda: _bound(kubectl, namespace), "claims are not bound")
    for name in bound:
        path = json.loads(kubectl("get", "pv", name, "-o", "json"))["spec"].get("hostPath", {}).get("path")
        if path and Path(path).parents[1].is_dir():  # the kubelet makes what is missing below, as root
            Path(path).mkdir(parents=True, exist_ok=True)
            os.chown(path, 10001, 10001)


def volumes(kubectl: Kubectl, namespace: str = NAMESPACE) -> list[str]:
    """Names of the volumes that the namespace holds."""
    return [each for each in _bound(kubectl, namespace) if each]


def free(kubectl: Kubectl, names: Sequence[str]) -> None:
    """Empty retained volumes and give them back, so that the next test finds some."""
    for name in names:
        about = json.loads(kubectl("get", "pv", name, "-o", "json", "--ignore-not-found") or "{}")
        if about.get("status", {}).get("phase") == "Released":
            path = Path(about["spec"].get("hostPath", {}).get("path", ""))
            for each in path.iterdir() if path.is_absolute() and path.is_dir() else ():
                shutil.rmtree(each) if each.is_dir() else each.unlink()
            kubectl("patch", "pv", name, "--type=json", '-p=[{"op":"remove","path":"/spec/claimRef"}]')


def _bound(kubectl: Kubectl, namespace: str) -> list[str]:
    claims = json.loads(kubectl("-n", namespace, "get", "pvc", "-o", "json"))["items"]
    names = [each["spec"].get("volumeName", "") for each in claims]
    return names if all(names) else []


def with_components(folder: Path, *components: str, **more: Any) -> Path:
    """The laptop's overlay with components, in a namespace of its own."""
    folder.mkdir()
    return overlay(folder, components, base=LAPTOP, **{"namespace": NAMESPACE, **more})


def ready(kubectl: Kubectl, seconds: int = 180) -> None:
    """Wait for the server."""
    kubectl("-n", NAMESPACE, "rollout", "status", "deployment/serving", f"--timeout={seconds}s")


def servers(kubectl: Kubectl) -> list[dict[str, Any]]:
    """The serving pods that are not on their way out."""
    record = kubectl("-n", NAMESPACE, "get", "pods", "-l", "app.kubernetes.io/name=serving", "-o", "json")
    return [each for each in json.loads(record)["items"] if "deletionTimestamp" not in each["metadata"]]


def submit(kubectl: Kubectl, folder: Path, *overrides: str, granularity: str = "fused") -> dict[str, Any]:
    """Build a template, apply it, and run it on the cluster; the run's metrics.json."""
    typed = [*SMALL, f"target.granularity={granularity}", f"target.namespace={NAMESPACE}", *overrides]
    built = subprocess_tapeline("build", *typed, f"target.folder={folder}/built", cwd=folder)
    assert built.returncode == 0, built.stderr
    (template,) = (each for each in (folder / "built").glob("*.yaml") if not each.name.endswith(".run.yaml"))
    kubectl("apply", "-f", str(template))
    shutil.rmtree(folder / "built")
    done = subprocess_tapeline("submit", *typed, cwd=folder)
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads((folder / "runs" / "latest" / "metrics.json").read_text())
    return record


def short_template(folder: Path, namespace: str = NAMESPACE) -> Path:
    """A template of simulated markets, with a short training whose model is accepted."""
    where = ("target.granularity=fused", f"target.namespace={namespace}", f"target.folder={folder}/built")
    typed = [*SMALL, *QUICK, "model=flat", *where]
    built = subprocess_tapeline("build", *typed, cwd=folder)
    assert built.returncode == 0, built.stderr
    return folder / "built" / "indices-flat-cpu.yaml"


def restarts(kubectl: Kubectl) -> list[tuple[str, int]]:
    return [
        (each["metadata"]["name"], each["status"]["containerStatuses"][0]["restartCount"]) for each in servers(kubectl)
    ]


def job(kubectl: Kubectl, command: str, **values: str) -> str:
    """Run a command on the store as jobs.yaml says; its output. The server sees a change at its next look."""
    name = f"{command}-{uuid.uuid4().hex[:4]}"
    made = kubectl(
        "-n", NAMESPACE, "create", "job", f"--from=cronjob/{command}", name, "--dry-run=client", "-o", "yaml"
    )
    words = [f"{key}={value}" for key, value in values.items()]
    made = kubectl("set", "env", "--local", "-f", "-", "-o", "yaml", *words, stdin=made)
    kubectl("-n", NAMESPACE, "create", "-f", "-", stdin=made)
    kubectl("-n", NAMESPACE, "wait", f"job/{name}", "--for=condition=complete", "--timeout=180s")
    return kubectl("-n", NAMESPACE, "logs", f"job/{name}")


def pod(name: str, labels: Mapping[str, str], words: Sequence[str], **more: Any) -> dict[str, Any]:
    """A pod of the steps' image, as verify-cluster's."""
    about = verify.pod(name, images.tag("cpu"), labels, words)
    about["metadata"] = {"name": name, "labels": dict(labels)}
    about["spec"] |= more
    return about


def reaches(kubectl: Kubectl, labels: Mapping[str, str], wanted: Mapping[str, bool]) -> dict[str, bool]:
    """Where a pod with these labels can connect to, once that is as wanted, or after a minute."""
    name = f"connects-{uuid.uuid4().hex[:4]}"
    about = pod(name, labels, ["python3", "-c", CONNECT, json.dumps(wanted)], restartPolicy="Never")
    record: dict[str, bool] = json.loads(ended(kubectl, NAMESPACE, about, seconds=300))
    kubectl("-n", NAMESPACE, "delete", "pod", name, "--wait=false")
    return record


def ask(kubectl: Kubectl, date: str) -> dict[str, Any]:
    """What a client in the cluster gets as the answer for a day of the table."""
    words = ("date=" + date, "dataset.source=csv", "dataset.path=/data/closes.csv", "host=serving:8501")
    about = pod(f"asks-{uuid.uuid4().hex[:4]}", verify.CLIENT, [*pods.COMMAND, "predict", "json=true", *words])
    about["spec"]["containers"][0]["volumeMounts"].append({"name": "data", "mountPath": "/data"})
    about["spec"]["volumes"].append({"name": "data", "configMap": {"name": "closes"}})
    record: dict[str, Any] = json.loads(ended(kubectl, NAMESPACE, about, seconds=240).splitlines()[-1])
    kubectl("-n", NAMESPACE, "delete", "pod", about["metadata"]["name"], "--wait=false")
    return record


def answer_of(kubectl: Kubectl, date: str, version: int) -> dict[str, Any]:
    """The answer for a day, once this version gives it: mirror and server look at the store from time to time."""

    def answer() -> dict[str, Any] | None:
        record = ask(kubectl, date)
        return record if record["version"] == version else None

    found: dict[str, Any] = wait(answer, f"version {version} does not answer", 180)
    return found


def laptop(kubectl: Kubectl, scratch: Path, table: Path) -> Iterator[Laptop]:
    """The overlay in a namespace of its own, its Secrets, and a table in the object store; all goes in the end."""
    build_stand_ins(scratch)
    folder = with_components(scratch / "overlay")
    kubectl("apply", "-k", str(folder))
    made = keys(kubectl)
    kubectl("-n", NAMESPACE, "create", "configmap", "closes", f"--from-file=closes.csv={table}")
    own_volumes(kubectl)
    with store(kubectl, made["object-store"]) as objects:
        for bucket in ("data", "models"):
            objects.mkdir(bucket)
        objects.put(str(table), CLOSES)
    yield Laptop(folder, table, a_day(table), made)
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=300s")


Probe = Callable[[], Any]


def wait(probe: Probe, problem: str, seconds: float = 120) -> Any:
    """What the probe returns, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < deadline, problem
        time.sleep(1)
    return found
