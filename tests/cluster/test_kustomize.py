"""The overlays on a real cluster, in the order in which a person meets them: apply, train, serve, guard, delete."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tapeline.commands import images
from tapeline.commands.verify_cluster import probes as verify
from tests.cluster import tree
from tests.cluster.conftest import SECURITY, Image, Kubectl, ended
from tests.cluster.tree import CLOSES, KEYS, LAPTOP, NAMESPACE, ask, pod, reach, ready, servers, submit, wait
from tests.conftest import subprocess_tapeline
from tests.deploy.rendering import OVERLAYS, TREE, Document, overlay, render

SERVER = ["serving:8500", "serving:8501"]


@pytest.fixture(scope="module", autouse=True)
def laptop(
    kubectl: Kubectl, image: Image, closing_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """The overlay, applied to a cluster that has none, its Secret, and the original table in the store."""
    assert image("cpu") == images.tag("cpu")
    tree.build_stand_ins(tmp_path_factory.mktemp("stand_ins"))
    kubectl("apply", "-k", str(LAPTOP))
    secret = [f"--from-literal={key}={value}" for key, value in KEYS.items()]
    kubectl("-n", NAMESPACE, "create", "secret", "generic", "object-store", *secret)
    kubectl("-n", NAMESPACE, "create", "configmap", "closes", f"--from-file={closing_data}")
    tree.own_volumes(kubectl)
    with tree.store(kubectl) as objects:
        objects.mkdir("tapeline")
        objects.put(str(closing_data), CLOSES)
    yield
    volumes = tree.volumes(kubectl)
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=300s")
    tree.free(kubectl, volumes)


def test_a_second_apply_changes_nothing(kubectl: Kubectl) -> None:
    done = subprocess.run(["kubectl", "diff", "-k", str(LAPTOP)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_api_server_takes_each_overlay(kubectl: Kubectl, namespace: str, tmp_path: Path, name: str) -> None:
    documents = render(overlay(tmp_path, base=TREE / "overlays" / name, namespace=namespace))
    kinds = set(kubectl("api-resources", "--no-headers", "-o", "name").split())
    known = [each for each in documents if _resource(each) in kinds]
    assert len(known) > 25
    assert {each["kind"] for each in documents if each not in known} <= {"ServiceMonitor"}
    kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(known))


def _resource(document: Document) -> str:
    """As kubectl api-resources lists its kind: networkpolicies.networking.k8s.io."""
    kind, group = document["kind"].lower(), document["apiVersion"].rpartition("/")[0]
    plural = f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}es" if kind.endswith("ss") else f"{kind}s"
    return f"{plural}.{group}" if group else plural


def test_with_an_empty_store_the_server_is_alive_and_not_ready(kubectl: Kubectl) -> None:
    def started() -> Any:
        return [each for each in servers(kubectl) if each["status"].get("containerStatuses", [{}])[0].get("started")]

    (server,) = wait(started, "the server does not start", 180)
    time.sleep(30)  # three looks of the liveness probe
    (server,) = servers(kubectl)
    status = server["status"]["containerStatuses"][0]
    assert (status["started"], status["ready"], status["restartCount"]) == (True, False, 0)


def test_a_run_publishes_and_the_server_answers_without_a_restart(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("apply", "-k", str(tree.with_components(tmp_path / "overlay", "ready-with-indices")))
    first = submit(kubectl, tmp_path, "model=flat", "gate.threshold=0.5", "target.granularity=step")
    assert first["gate"]["accepted"]
    ready(kubectl)
    record = ask(kubectl, "asks-first")
    assert (record["date"], record["version"], record["model_version"]) == ("2014-08-12", 1, first["model_version"])

    before = [
        (each["metadata"]["name"], each["status"]["containerStatuses"][0]["restartCount"]) for each in servers(kubectl)
    ]
    second = submit(kubectl, tmp_path, "model=deep")
    assert second["gate"]["accepted"]
    assert second["test"]["overall"]["accuracy"] > first["test"]["overall"]["accuracy"]
    record = ask(kubectl, "asks-second")
    assert (record["version"], record["model_version"]) == (2, second["model_version"])
    assert sum(record["probability"]) == pytest.approx(1)

    rejected = submit(kubectl, tmp_path, "model=flat", "seed=1")
    assert not rejected["gate"]["accepted"]

    kubectl("-n", NAMESPACE, "create", "job", "--from=cronjob/rollback", "rollback-1")
    kubectl("-n", NAMESPACE, "wait", "job/rollback-1", "--for=condition=complete", "--timeout=120s")
    time.sleep(10)  # two looks of the server's
    record = ask(kubectl, "asks-third")
    assert (record["version"], record["model_version"]) == (1, first["model_version"])
    after = [
        (each["metadata"]["name"], each["status"]["containerStatuses"][0]["restartCount"]) for each in servers(kubectl)
    ]
    assert after == before


def test_who_reaches_whom(kubectl: Kubectl) -> None:
    api, s3, others = (
        "kubernetes.default.svc:443",
        "object-store:8333",
        ["s3.object-store.svc:7070", "kube-dns.kube-system.svc:53"],
    )
    places = [*SERVER, api, s3, others[0]]
    client = reach(kubectl, "client", verify.CLIENT, places)
    assert [place for place, open_to in client.items() if open_to] == SERVER
    assert not any(reach(kubectl, "other", {}, places).values())
    training = reach(kubectl, "training", {"tapeline.dev/role": "runner"}, places)
    assert [place for place, open_to in training.items() if open_to] == [api, s3]


def test_verify_cluster_reports(kubectl: Kubectl, tmp_path: Path) -> None:
    done = subprocess_tapeline("verify-cluster", "template=indices-flat-cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line[:3] for line in done.stdout.splitlines() if line[0] != " "] == ["ok:"] * 3
    assert "what is live stays live" in done.stdout

    kubectl("-n", NAMESPACE, "label", "networkpolicy", "default-deny", "x=y")
    open_door = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "open-door"},
        "spec": {"podSelector": {}, "ingress": [{}], "egress": [{}], "policyTypes": ["Ingress", "Egress"]},
    }
    kubectl("-n", NAMESPACE, "create", "-f", "-", stdin=json.dumps(open_door))
    done = subprocess_tapeline("verify-cluster", "template=indices-flat-cpu", cwd=tmp_path)
    kubectl("-n", NAMESPACE, "delete", "networkpolicy", "open-door")
    assert done.returncode == 2
    assert "can connect: port 8500 answers" in done.stderr


def test_a_privileged_pod_is_refused(kubectl: Kubectl) -> None:
    about = pod("privileged", {}, ["true"])
    about["spec"]["containers"][0]["securityContext"] = {
        **SECURITY,
        "privileged": True,
        "allowPrivilegeEscalation": True,
    }
    with pytest.raises(AssertionError, match=r'violates PodSecurity "restricted'):
        kubectl("-n", NAMESPACE, "create", "-f", "-", stdin=json.dumps(about))


def test_the_balancer_lets_its_range_in_and_nobody_else(kubectl: Kubectl, tmp_path: Path, closing_data: Path) -> None:
    folder = tree.with_components(tmp_path / "overlay", "ready-with-indices", "public-loadbalancer")
    kubectl("apply", "-k", str(folder))
    service = [
        "-n",
        NAMESPACE,
        "get",
        "service",
        "serving-public",
        "-o",
        "jsonpath={.status.loadBalancer.ingress[0].ip}",
    ]
    address = wait(lambda: kubectl(*service), "no address is given")
    own, others = sources(address)
    allow(folder, own)
    kubectl("apply", "-k", str(folder))
    wait(lambda: connects(address, own), "the range that is allowed cannot connect", 40)
    words = [
        "predict",
        "json=true",
        "date=2014-08-12",
        "dataset.source=csv",
        f"dataset.path={closing_data}",
        "api=grpc",
    ]
    done = subprocess_tapeline(*words, f"host={address}:9000", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["version"] == 1
    if not others:
        pytest.skip("this machine has one address only, which is in the range")
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
until, failed, again = time.time() + float(sys.argv[1]), 0, 0
body = json.dumps({'instances': [[0.0] * 24]}).encode()
while time.time() < until:
    for attempt in range(10):
        try:
            request = urllib.request.Request('http://serving:8501/v1/models/indices:predict', body)
            assert 'predictions' in json.load(urllib.request.urlopen(request, timeout=5))
            break
        except Exception:
            again += 1
            time.sleep(1)
    else:
        failed += 1
    time.sleep(0.1)
print(json.dumps({'failed': failed, 'again': again}))
"""


def test_a_server_that_was_killed_comes_back_ready_only_with_a_model(kubectl: Kubectl) -> None:
    (before,) = servers(kubectl)
    name = before["metadata"]["name"]
    kubectl("-n", NAMESPACE, "delete", "pod", name, "--grace-period=0", "--force")
    wait(lambda: [each for each in servers(kubectl) if each["metadata"]["name"] != name], "no new pod comes")

    def is_ready() -> bool:
        status = servers(kubectl)[0]["status"].get("containerStatuses", [{}])[0]
        return bool(status.get("ready"))

    assert not is_ready()
    wait(is_ready, "it does not become ready", 180)
    assert ask(kubectl, "asks-the-new-one")["version"] == 1, "ready, and it answers at once"


def test_of_two_servers_one_may_be_killed(kubectl: Kubectl, tmp_path: Path) -> None:
    folder = tree.with_components(tmp_path / "overlay", "ready-with-indices", "with-autoscaling")
    kubectl("apply", "-k", str(folder))
    wait(lambda: len(servers(kubectl)) == 2, "the autoscaler makes no second server", 120)
    ready(kubectl)
    asker = pod("asker", verify.CLIENT, ["python3", "-c", ASKER, "60"])
    kubectl("-n", NAMESPACE, "create", "-f", "-", stdin=json.dumps(asker))
    kubectl("-n", NAMESPACE, "wait", "pod/asker", "--for=condition=Ready", "--timeout=60s")
    time.sleep(20)
    kubectl("-n", NAMESPACE, "delete", "pod", servers(kubectl)[0]["metadata"]["name"], "--wait=false")
    kubectl("-n", NAMESPACE, "wait", "pod/asker", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=180s")
    record = json.loads(kubectl("-n", NAMESPACE, "logs", "pod/asker").splitlines()[-1])
    assert record["failed"] == 0, record
    kubectl("-n", NAMESPACE, "delete", "hpa/serving", "pod/asker")
    kubectl("-n", NAMESPACE, "scale", "deployment/serving", "--replicas=1")


def test_models_from_the_object_store(kubectl: Kubectl, tmp_path: Path) -> None:
    """The same cluster, turned to the other store."""
    url = f"s3://tapeline/models-{uuid.uuid4().hex[:6]}"
    patch = yaml.safe_dump([{"op": "replace", "path": "/data/url", "value": url}])
    change = [{"target": {"kind": "ConfigMap", "name": "model-store"}, "patch": patch}]
    names = ("with-models-from-object-store", "ready-with-indices")
    folder = tree.with_components(tmp_path / "overlay", *names, patches=change)
    kubectl("apply", "-k", str(folder))
    stored = (f"serving.store={url}", "target.store_secret=object-store")
    first = submit(kubectl, tmp_path, "model=flat", "gate.threshold=0.5", *stored)
    ready(kubectl)
    record = ask(kubectl, "asks-mirror-first")
    assert (record["version"], record["model_version"]) == (1, first["model_version"])
    before = servers(kubectl)[0]["metadata"]["name"]
    second = submit(kubectl, tmp_path, "model=deep", *stored)
    time.sleep(20)  # a look of the mirror's, and one of the server's
    record = ask(kubectl, "asks-mirror-second")
    assert (record["version"], record["model_version"]) == (2, second["model_version"])
    kubectl("-n", NAMESPACE, "create", "job", "--from=cronjob/rollback", "rollback-2")
    kubectl("-n", NAMESPACE, "wait", "job/rollback-2", "--for=condition=complete", "--timeout=120s")
    time.sleep(20)
    assert ask(kubectl, "asks-mirror-third")["model_version"] == first["model_version"]
    assert servers(kubectl)[0]["metadata"]["name"] == before


def test_deletion_takes_all_but_the_models(kubectl: Kubectl) -> None:
    claim = json.loads(kubectl("-n", NAMESPACE, "get", "pvc", "models", "-o", "json"))
    volume = claim["spec"]["volumeName"]
    volumes = tree.volumes(kubectl)
    kubectl("delete", "-k", str(LAPTOP), "--ignore-not-found", "--timeout=300s")
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
