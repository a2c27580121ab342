"""The model server of the overlays on a real cluster: balancers, updates, TLS, stores, production; at last deletion."""

from __future__ import annotations

import json
import socket
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from tapeline.commands.verify_cluster import probes as verify
from tests.cluster import tree
from tests.cluster.conftest import Kubectl, ended
from tests.cluster.tree import (
    NAMESPACE,
    OF_CSV,
    QUICK,
    Laptop,
    answer_of,
    ask,
    job,
    pod,
    reaches,
    ready,
    servers,
    submit,
    wait,
)
from tests.conftest import subprocess_tapeline
from tests.deploy.rendering import TREE, overlay
from tests.serving import certificates
from tests.serving.certificates import Files

pytestmark = pytest.mark.usefixtures("laptop")
NAMES = ("serving", f"serving.{NAMESPACE}.svc", "localhost")


@pytest.fixture(scope="module", autouse=True)
def published(kubectl: Kubectl, laptop: Laptop, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A model, where the tests before did not publish one."""
    if not any(each["status"]["phase"] == "Running" for each in servers(kubectl)):
        submit(kubectl, tmp_path_factory.mktemp("first"), "model=flat", *QUICK, *OF_CSV)
    ready(kubectl)


def test_the_balancer_lets_its_range_in_and_nobody_else(kubectl: Kubectl, laptop: Laptop, tmp_path: Path) -> None:
    folder = tree.with_components(tmp_path / "overlay", "public-loadbalancer")
    kubectl("apply", "-k", str(folder))
    where = "jsonpath={.status.loadBalancer.ingress[0].ip}"
    service = ["-n", NAMESPACE, "get", "service", "serving-public", "-o", where]
    address = wait(lambda: kubectl(*service), "no address is given")
    own, others = sources(address)
    allow(folder, own)
    kubectl("apply", "-k", str(folder))
    wait(lambda: connects(address, own), "the range that is allowed cannot connect", 40)
    words = ["predict", "json=true", f"date={laptop.day}", "dataset.source=csv", f"dataset.path={laptop.table}"]
    done = subprocess_tapeline(*words, "api=grpc", f"host={address}:9000", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["version"] == 1
    if others:  # a machine with one address only has no other to try
        assert not connects(address, others[0])
        allow(folder, others[0])
        kubectl("apply", "-k", str(folder))
        wait(lambda: connects(address, others[0]) and not connects(address, own), "another range has no effect", 40)
    kubectl("-n", NAMESPACE, "delete", "service/serving-public", "networkpolicy/serving-from-public")


def sources(address: str) -> tuple[str, list[str]]:
    """The address of ours from which it is reached, and our others."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9000))
        own = probe.getsockname()[0]
    listed = json.loads(subprocess.run(["ip", "-4", "-j", "addr"], capture_output=True, text=True, check=True).stdout)
    ours = [info["local"] for link in listed if link["ifname"] != "lo" for info in link["addr_info"]]
    return own, [each for each in ours if each != own]


def allow(folder: Path, source: str) -> None:
    """Name a range in both places."""
    about = yaml.safe_load((folder / "kustomization.yaml").read_text())
    changes = {
        "Service/serving-public": ("/spec/loadBalancerSourceRanges/0", f"{source}/32"),
        "NetworkPolicy/serving-from-public": ("/spec/ingress/0/from/0/ipBlock/cidr", f"{source}/32"),
    }
    about["patches"] = [
        {
            "target": dict(zip(("kind", "name"), where.split("/"), strict=True)),
            "patch": yaml.safe_dump([{"op": "replace", "path": path, "value": value}]),
        }
        for where, (path, value) in changes.items()
    ]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(about))


def connects(address: str, source: str) -> bool:
    try:
        socket.create_connection((address, 9000), 4, (source, 0)).close()
    except OSError:
        return False
    return True


ASKER = """
import json, sys, time, urllib.request
body = json.dumps({'instances': [[0.0] * 24]}).encode()
def ask():
    request = urllib.request.Request('http://serving:8501/v1/models/indices:predict', body)
    assert 'predictions' in json.load(urllib.request.urlopen(request, timeout=10))
for left in range(60, -1, -1):  # policies may reach a new pod some seconds late
    try:
        ask()
        break
    except OSError:
        if not left:
            raise
        time.sleep(1)
print('the server answers', flush=True)
until, asked, failed = time.time() + float(sys.argv[1]), 0, []
while time.time() < until:
    asked += 1
    try:
        ask()
    except Exception as error:
        failed.append(str(error))
    time.sleep(0.05)
print(json.dumps({'asked': asked, 'failed': len(failed), 'reasons': sorted(set(failed))}))
"""
"""Each request once, on a connection of its own."""


def under_load(kubectl: Kubectl, seconds: int, change: Any) -> dict[str, Any]:
    """Ask for so long, and change something meanwhile."""
    name = f"asker-{uuid.uuid4().hex[:4]}"
    about = pod(name, verify.CLIENT, ["python3", "-c", ASKER, str(seconds)])
    kubectl("-n", NAMESPACE, "create", "-f", "-", stdin=json.dumps(about))
    kubectl("-n", NAMESPACE, "wait", f"pod/{name}", "--for=condition=Ready", "--timeout=120s")
    wait(lambda: "the server answers" in kubectl("-n", NAMESPACE, "logs", name), "the server does not answer")
    change()
    done = "--for=jsonpath={.status.phase}=Succeeded"
    kubectl("-n", NAMESPACE, "wait", f"pod/{name}", done, f"--timeout={seconds + 120}s")
    record: dict[str, Any] = json.loads(kubectl("-n", NAMESPACE, "logs", name).splitlines()[-1])
    kubectl("-n", NAMESPACE, "delete", "pod", name, "--wait=false")
    print(record)
    return record


def test_an_update_of_the_one_server_fails_no_request(kubectl: Kubectl, laptop: Laptop) -> None:
    """The claim is ReadWriteOnce and the node one: the new pod mounts it beside the old one."""
    kubectl("apply", "-k", str(laptop.folder))
    before = servers(kubectl)[0]["metadata"]["name"]

    def update() -> None:
        kubectl("-n", NAMESPACE, "rollout", "restart", "deployment/serving")
        ready(kubectl, 300)

    record = under_load(kubectl, 120, update)
    assert (record["failed"], record["asked"] > 200) == (0, True), record
    assert before not in {each["metadata"]["name"] for each in servers(kubectl)}


def test_a_server_that_was_killed_comes_back_ready_only_with_a_model(kubectl: Kubectl, laptop: Laptop) -> None:
    (before,) = servers(kubectl)
    name = before["metadata"]["name"]
    kubectl("-n", NAMESPACE, "delete", "pod", name, "--grace-period=0", "--force")
    wait(lambda: [each for each in servers(kubectl) if each["metadata"]["name"] != name], "no new pod comes")

    def is_ready() -> bool:
        status = servers(kubectl)[0]["status"].get("containerStatuses", [{}])[0]
        return bool(status.get("ready"))

    assert not is_ready()
    wait(is_ready, "it does not become ready", 180)
    assert ask(kubectl, laptop.day)["version"] == 1, "ready, and it answers at once"


def test_of_two_servers_one_may_go(kubectl: Kubectl, tmp_path: Path) -> None:
    folder = tree.with_components(tmp_path / "overlay", "with-autoscaling")
    kubectl("apply", "-k", str(folder))
    wait(lambda: len(servers(kubectl)) == 2, "the autoscaler makes no second server", 120)
    ready(kubectl)
    going = servers(kubectl)[0]["metadata"]["name"]
    record = under_load(kubectl, 60, lambda: kubectl("-n", NAMESPACE, "delete", "pod", going, "--wait=false"))
    assert (record["failed"], record["asked"] > 100) == (0, True), record
    kubectl("-n", NAMESPACE, "delete", "hpa/serving")
    kubectl("-n", NAMESPACE, "scale", "deployment/serving", "--replicas=1")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return certificates.made(tmp_path_factory.mktemp("authority"), NAMES)


def encrypt(kubectl: Kubectl, files: Files, namespace: str) -> None:
    """The Secret of with-tls."""
    given = [f"--from-file={path}" for path in (files.config, files.certificate, files.key)]
    kubectl("-n", namespace, "create", "secret", "generic", "serving-tls", *given)


def test_tls_of_both_apis(kubectl: Kubectl, laptop: Laptop, authority: Files, tmp_path: Path) -> None:
    encrypt(kubectl, authority, NAMESPACE)
    kubectl("apply", "-k", str(tree.with_components(tmp_path / "overlay", "with-tls")))
    ready(kubectl, 300)
    kubectl("apply", "-f", str(tree.short_template(tmp_path)))
    words = ["verify-cluster", f"namespace={NAMESPACE}", "template=indices-flat-cpu"]
    done = subprocess_tapeline(*words, cwd=tmp_path)
    assert (done.returncode, "add tls=ca.pem" in done.stderr or "tls=ca.pem" in done.stderr) == (2, True)
    done = subprocess_tapeline(*words, f"tls={authority.authority}", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "over TLS by REST and gRPC" in done.stdout
    wanted = {"serving:8500": True, "serving:8443": True, "serving:8501": False}
    assert reaches(kubectl, verify.CLIENT, wanted) == wanted
    kubectl("apply", "-k", str(laptop.folder))  # a patch of the overlay's goes, and so does TLS
    ready(kubectl, 300)


def test_models_from_the_object_store(kubectl: Kubectl, laptop: Laptop, tmp_path: Path) -> None:
    """The same cluster, turned to the other store; step by step, since a pod has the keys of data or of models."""
    url = f"s3://models/{uuid.uuid4().hex[:6]}"
    patch = yaml.safe_dump([{"op": "replace", "path": "/data/STORE", "value": url}])
    change = [{"target": {"kind": "ConfigMap", "name": "store"}, "patch": patch}]
    folder = tree.with_components(tmp_path / "overlay", "with-models-from-object-store", patches=change)
    kubectl("apply", "-k", str(folder))
    secrets = ("target.store_secret=models-write", "target.store_read_secret=models-read")
    stored = (f"serving.store={url}", *secrets, *QUICK, *OF_CSV)
    first = submit(kubectl, tmp_path, "model=flat", *stored, granularity="step")
    ready(kubectl)
    assert answer_of(kubectl, laptop.day, 1)["model_version"] == first["model_version"]
    second = submit(kubectl, tmp_path, "model=deep", *stored, granularity="step")
    assert answer_of(kubectl, laptop.day, 2)["model_version"] == second["model_version"]
    job(kubectl, "rollback", MODEL="indices")
    assert answer_of(kubectl, laptop.day, 1)["model_version"] == first["model_version"]


MONITOR = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
    "spec": {
        "group": "monitoring.coreos.com",
        "scope": "Namespaced",
        "names": {"kind": "ServiceMonitor", "plural": "servicemonitors"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}],
    },
}  # fmt: skip
"""Of the Prometheus operator, which production needs."""


def test_production_passes_verify_cluster(kubectl: Kubectl, tmp_path: Path) -> None:
    """With the overlay that replaces images, storage class, accounts and object store; tests/deploy lists the rest."""
    name = "tapeline-production"
    kubectl("-n", NAMESPACE, "scale", "deployment/serving", "deployment/object-store", "--replicas=0")
    kubectl("apply", "-f", "-", stdin=json.dumps(MONITOR))
    (tmp_path / "overlay").mkdir()
    (tmp_path / "authority").mkdir()
    folder = overlay(tmp_path / "overlay", base=TREE / "tests" / "production-on-a-test-cluster", namespace=name)
    files = certificates.made(tmp_path / "authority", ("serving", f"serving.{name}.svc"))
    kubectl("apply", "-k", str(folder))
    try:
        encrypt(kubectl, files, name)
        tree.keys(kubectl, name)
        tree.own_volumes(kubectl, name)
        kubectl("apply", "-f", str(tree.short_template(tmp_path, name)))
        words = ["verify-cluster", f"namespace={name}", "template=indices-flat-cpu", f"tls={files.authority}"]
        for said in ("is live as indices-simulated", "the live version stays"):
            done = subprocess_tapeline(*words, cwd=tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr
            assert said in done.stdout
    finally:
        volumes = tree.volumes(kubectl, name)
        kubectl("delete", "namespace", name, "--timeout=300s")
        kubectl("delete", "crd", MONITOR["metadata"]["name"])  # type: ignore[index]
        tree.free(kubectl, volumes)


def test_deletion_takes_all_but_the_models(kubectl: Kubectl, laptop: Laptop) -> None:
    claim = json.loads(kubectl("-n", NAMESPACE, "get", "pvc", "models", "-o", "json"))
    volume = claim["spec"]["volumeName"]
    volumes = tree.volumes(kubectl)
    kubectl("delete", "-k", str(laptop.folder), "--ignore-not-found", "--timeout=300s")
    assert kubectl("get", "namespace", NAMESPACE, "--ignore-not-found") == ""
    wait(
        lambda: kubectl("get", "pv", volume, "-o", "jsonpath={.status.phase}") == "Released",
        "the volume is not released",
    )

    # as the README shows: the volume again, in a new claim
    kubectl("patch", "pv", volume, "--type=json", '-p=[{"op":"remove","path":"/spec/claimRef"}]')
    kubectl("create", "namespace", NAMESPACE)
    spec = {
        **{key: claim["spec"][key] for key in ("accessModes", "resources", "storageClassName")},
        "volumeName": volume,
    }
    again = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"}, "spec": spec}
    kubectl("-n", NAMESPACE, "create", "-f", "-", stdin=json.dumps(again))
    reader = pod("reader", {}, ["cat", "/models/models.config"], restartPolicy="Never")
    reader["spec"]["containers"][0]["volumeMounts"].append({"name": "models", "mountPath": "/models", "readOnly": True})
    reader["spec"]["volumes"].append({"name": "models", "persistentVolumeClaim": {"claimName": "models"}})
    assert 'name: "indices"' in ended(kubectl, NAMESPACE, reader, seconds=60)
    kubectl("delete", "namespace", NAMESPACE, "--timeout=180s")
    tree.free(kubectl, volumes)
