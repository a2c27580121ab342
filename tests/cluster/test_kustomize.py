"""The overlays on a real cluster, in the order in which a person meets them: apply, train, serve, guard, delete."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tapeline.commands.verify_cluster import probes as verify
from tests.cluster import tree
from tests.cluster.conftest import SECURITY, Kubectl
from tests.cluster.tree import (
    CLOSES,
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
    restarts,
    servers,
    submit,
    wait,
)  # fmt: skip
from tests.conftest import subprocess_tapeline
from tests.deploy.rendering import OVERLAYS, TREE, Document, overlay, render

SERVER = ["serving:8500", "serving:8501"]
pytestmark = pytest.mark.usefixtures("laptop")


def test_a_second_apply_changes_nothing(laptop: Laptop) -> None:
    done = subprocess.run(["kubectl", "diff", "-k", str(laptop.folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", [*(f"overlays/{name}" for name in OVERLAYS), "tests/models-from-object-store"])
def test_the_api_server_takes_each_overlay(kubectl: Kubectl, namespace: str, tmp_path: Path, name: str) -> None:
    documents = render(overlay(tmp_path, base=TREE / name, namespace=namespace))
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


def test_with_an_empty_store_the_server_waits_for_the_first_model(kubectl: Kubectl) -> None:
    def says() -> bool:
        names = [each["metadata"]["name"] for each in servers(kubectl)]
        words = ["kubectl", "-n", NAMESPACE, "logs", names[0], "-c", "store"]
        logs = subprocess.run(words, capture_output=True, text=True, check=False)
        return "waiting for the first model" in logs.stdout + logs.stderr

    wait(says, "it does not say what it waits for", 180)
    (server,) = servers(kubectl)
    assert server["status"]["phase"] == "Pending"
    assert [each["restartCount"] for each in server["status"]["initContainerStatuses"]] == [0]


def test_a_run_publishes_and_the_server_answers_without_a_restart(
    kubectl: Kubectl, laptop: Laptop, tmp_path: Path
) -> None:
    first = submit(kubectl, tmp_path, "model=flat", *QUICK, *OF_CSV)
    assert first["gate"]["accepted"]
    ready(kubectl)
    record = ask(kubectl, laptop.day)
    assert (record["date"], record["version"], record["model_version"]) == (laptop.day, 1, first["model_version"])

    before = restarts(kubectl)
    second = submit(kubectl, tmp_path, "model=deep", *QUICK, *OF_CSV)
    assert second["gate"]["accepted"]
    assert answer_of(kubectl, laptop.day, 2)["model_version"] == second["model_version"]

    job(kubectl, "rollback", MODEL="indices")
    assert answer_of(kubectl, laptop.day, 1)["model_version"] == first["model_version"]
    job(kubectl, "promote", MODEL="indices", VERSION="2", WHY="the rollback was wrong")
    answer_of(kubectl, laptop.day, 2)
    job(kubectl, "canary", MODEL="indices", VERSION="1")
    job(kubectl, "promote", MODEL="indices")
    answer_of(kubectl, laptop.day, 1)
    listed = [line.split() for line in job(kubectl, "versions", MODEL="indices").splitlines()]
    assert {"1", "2"} <= {line[0] for line in listed if line}
    assert restarts(kubectl) == before


def test_a_steps_container_has_no_token(kubectl: Kubectl) -> None:
    """Of the pods of the runs before: Argo keeps them for an hour."""
    found = json.loads(kubectl("-n", NAMESPACE, "get", "pods", "-l", "workflows.argoproj.io/workflow", "-o", "json"))
    pods = [each["spec"] for each in found["items"]]
    assert pods
    for spec in pods:
        assert spec["automountServiceAccountToken"] is False
        assert spec["serviceAccountName"] in ("tapeline-runner", "tapeline-publisher")
        have = {each["name"] for each in (*spec["initContainers"], *spec["containers"])
                if any("serviceaccount" in mount["mountPath"] for mount in each["volumeMounts"])}  # fmt: skip
        assert have == {"init", "wait"}
    for account in ("tapeline-runner", "tapeline-publisher", "tapeline-serving"):
        who = f"--as=system:serviceaccount:{NAMESPACE}:{account}"
        done = subprocess.run(
            ["kubectl", "-n", NAMESPACE, "auth", "can-i", "create", "workflowtaskresults.argoproj.io", who],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stdout.strip() == "no", account


def test_the_server_cannot_write_the_store(kubectl: Kubectl) -> None:
    name = servers(kubectl)[0]["metadata"]["name"]
    program = "open('/models/models.config', 'a')"
    words = ["-n", NAMESPACE, "exec", name, "-c", "serving", "--", "python3", "-c", program]
    done = subprocess.run(["kubectl", *words], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Read-only file system" in done.stderr


def test_each_key_of_the_object_store_opens_one_bucket(kubectl: Kubectl, laptop: Laptop) -> None:
    def may(identity: str, action: str, *words: Any) -> bool:
        with tree.store(kubectl, laptop.keys[identity]) as objects:
            try:
                getattr(objects, action)(*words)
            except PermissionError:
                return False
            return True

    assert may("data", "cat_file", CLOSES)
    assert not may("data", "pipe_file", CLOSES, b"x")
    assert not may("artifacts", "cat_file", CLOSES)
    assert may("models-write", "pipe_file", "s3://models/x", b"x")
    assert may("models-read", "cat_file", "s3://models/x")
    assert not may("models-read", "pipe_file", "s3://models/x", b"y")


def test_who_reaches_whom(kubectl: Kubectl) -> None:
    api, s3 = "kubernetes.default.svc:443", "object-store:8333"
    none = dict.fromkeys([*SERVER, api, s3, "s3.object-store.svc:7070"], False)
    for labels, places in ((verify.CLIENT, SERVER), ({}, []), ({"tapeline.dev/role": "runner"}, [api, s3])):
        wanted = none | dict.fromkeys(places, True)
        assert reaches(kubectl, labels, wanted) == wanted, labels


def test_verify_cluster_publishes_a_second_name_and_reports(kubectl: Kubectl, tmp_path: Path) -> None:
    before = restarts(kubectl)
    kubectl("apply", "-n", NAMESPACE, "-f", str(tree.short_template(tmp_path)))
    words = ["verify-cluster", f"namespace={NAMESPACE}", "template=indices-flat-cpu"]
    for said in ("is live as indices-simulated", "the live version stays"):
        done = subprocess_tapeline(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [line[:3] for line in done.stdout.splitlines() if line[0] != " "] == ["ok:"] * 3
        assert said in done.stdout
    assert restarts(kubectl) == before, "a second name needs no restart"


def test_verify_cluster_finds_an_open_door(kubectl: Kubectl, tmp_path: Path) -> None:
    open_door = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "open-door"},
        "spec": {"podSelector": {}, "ingress": [{}], "egress": [{}], "policyTypes": ["Ingress", "Egress"]},
    }
    kubectl("-n", NAMESPACE, "create", "-f", "-", stdin=json.dumps(open_door))
    done = subprocess_tapeline("verify-cluster", f"namespace={NAMESPACE}", "template=indices-flat-cpu", cwd=tmp_path)
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
