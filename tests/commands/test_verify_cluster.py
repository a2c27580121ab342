"""What verify-cluster asks of a cluster, and what it says of the answers; tests/cluster does it on a real one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tapeline import lookup
from tapeline.checks import before_run
from tapeline.clusters import kubectl
from tapeline.commands.verify_cluster import probes as verify
from tapeline.config import compose as conf
from tests.conftest import Tapeline
from tests.serving import certificates

TEMPLATE = {"spec": {"arguments": {"parameters": [{"name": "gate_threshold"}, {"name": "model_steps"}]}}}
SERVING = {"spec": {"template": {"spec": {"initContainers": [{"image": "ghcr.io/tapeline/step:0.1.0"}]}}}}
PLAIN = [{"name": "grpc", "port": 8500}, {"name": "rest", "port": 8501}]
HTTPS = [*PLAIN, {"name": "https", "port": 8443}]


class Answers:
    """kubectl's answers, and what was created."""

    def __init__(
        self, *, live: bool = True, ready: bool = True, run: str = "Succeeded", client: str = "Succeeded",
        other: str = "Succeeded", ports: Any = PLAIN,
    ):  # fmt: skip
        self.created: list[Mapping[str, Any]] = []
        self.deleted: list[str] = []
        self.live, self.ready, self.ports, self.template = live, ready, ports, TEMPLATE
        self.phases = {"verify-": run, "verify-client-": client, "verify-other-": other, "verify-asks-": "Failed"}

    def need(self, namespace: str, wanted: Mapping[Any, Any]) -> None:
        assert (namespace, wanted) == ("tapeline", {})

    def ran(self) -> bool:
        return any(each["kind"] == "Workflow" for each in self.created)

    def get(self, namespace: str, kind: str, name: str) -> Any:
        if kind == "deployment":
            return {**SERVING, "status": {"readyReplicas": int(self.ready or self.ran())}}
        if kind == "service":
            return {"spec": {"clusterIP": "10.96.0.7", "ports": self.ports}}
        if kind == "workflowtemplate":
            return self.template if name in ("snp-deep-cpu", "bitcoin-dnn-cpu") else None
        return {"status": {"phase": self.phases[name], "message": "no"}}

    def create(self, namespace: str, what: Mapping[str, Any]) -> str:
        self.created.append(what)
        return str(what["metadata"]["generateName"])

    def run(self, *words: str) -> str:
        if "delete" in words:
            self.deleted.append(words[words.index("delete") + 2])
        if "verify-asks-" in words:
            return "live" if self.live or self.ran() else "absent"
        return "noise\n" + json.dumps({"date": "2014-08-12", "version": 3})

    def parameters(self) -> dict[str, str]:
        (run,) = (each for each in self.created if each["kind"] == "Workflow")
        return {each["name"]: each["value"] for each in run["spec"]["arguments"]["parameters"]}

    def commands(self, name: str) -> list[list[str]]:
        pods = [each for each in self.created if each["metadata"]["generateName"] == f"verify-{name}-"]
        return [each["spec"]["containers"][0]["command"] for each in pods]


@pytest.fixture
def verified(tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(cluster: Answers, *words: str) -> tuple[int, str, str]:
        for name in ("need", "get", "create", "run"):
            monkeypatch.setattr(kubectl, name, getattr(cluster, name))
        monkeypatch.setattr(verify, "SECONDS", 0)
        return tapeline("verify-cluster", *words)

    return run


def test_what_is_live_is_not_replaced(verified: Any) -> None:
    cluster = Answers()
    code, out, err = verified(cluster)
    assert (code, err) == (0, "")
    assert [line for line in out.splitlines() if not line.startswith(" ")] == [
        "ok: verify- trained a model, which was rejected, as its gate.threshold demands; the live version stays",
        "ok: a client asked by REST and gRPC, and indices-simulated version 3 answered",
        "ok: a pod without the label tapeline.dev/client cannot connect",
    ]
    assert cluster.parameters() == {"gate_threshold": "0.9999", "model_steps": "100"}
    assert cluster.deleted == ["verify-asks-", "verify-client-", "verify-client-", "verify-other-"]


@pytest.mark.parametrize("experiment", conf.options("experiment"))
def test_a_run_takes_the_threshold_that_no_model_meets(experiment: str) -> None:
    config = lookup.configure([f"experiment={experiment}"])
    (value,) = verify.rejecting(config).values()
    before_run(lookup.configure([f"experiment={experiment}", f"gate.threshold={value}"]))


@pytest.mark.parametrize("ready", [True, False])
def test_the_first_model_is_published(verified: Any, ready: bool) -> None:
    """Also where the server has models already, but not this one."""
    cluster = Answers(live=False, ready=ready)
    assert "which is live as indices-simulated" in verified(cluster)[1]
    assert cluster.parameters() == {}


def test_another_model_is_asked_for_by_its_experiment(verified: Any) -> None:
    cluster = Answers()
    code, out, _ = verified(cluster, "experiment=bitcoin_dnn")
    assert code == 0
    assert "bitcoin-simulated version 3 answered" in out
    assert all("experiment=bitcoin_dnn" in words for words in cluster.commands("client"))
    (run,) = (each for each in cluster.created if each["kind"] == "Workflow")
    assert run["spec"]["workflowTemplateRef"]["name"] == "bitcoin-dnn-cpu"


def test_an_encrypted_server_is_asked_with_the_authority(verified: Any, tmp_path: Path) -> None:
    authority = certificates.made(tmp_path).authority
    cluster = Answers(ports=HTTPS)
    code, out, err = verified(cluster, f"tls={authority}")
    assert (code, err) == (0, "")
    assert "over TLS" in out
    assert [word for words in cluster.commands("client") for word in words if word.startswith("host=")] == [
        "host=serving:8443",
        "host=serving:8500",
    ]
    assert all(f"tls={verify.AUTHORITY}" in words for words in cluster.commands("client"))
    (config,) = (each for each in cluster.created if each["kind"] == "ConfigMap")
    assert config["data"] == {"ca.pem": Path(authority).read_text()}
    assert cluster.deleted[-1] == "verify-authority-"


def test_tls_that_does_not_fit_the_server_is_refused(verified: Any, tmp_path: Path) -> None:
    for ports, words, said in (
        (HTTPS, [], "tls: is not given, and the server of namespace tapeline encrypts"),
        (PLAIN, [f"tls={certificates.made(tmp_path).authority}"], "does not encrypt; leave it out"),
        (HTTPS, [f"tls={tmp_path}/none.pem"], "none.pem: cannot be read"),
    ):
        cluster = Answers(ports=ports)
        code, _, err = verified(cluster, *words)
        assert code == 2
        assert said in err
        assert cluster.created == []


def test_only_the_client_has_the_label_and_neither_has_rights(verified: Any) -> None:
    cluster = Answers()
    verified(cluster)
    pods = [each for each in cluster.created if each["kind"] == "Pod"]
    assert [each["metadata"]["labels"] for each in pods] == [verify.CLIENT] * 3 + [{}]
    for each in pods:
        assert each["spec"]["automountServiceAccountToken"] is False
        assert each["spec"]["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "sh" not in each["spec"]["containers"][0]["command"]


def test_each_port_of_the_service_is_tried_without_the_label(verified: Any) -> None:
    cluster = Answers()
    verified(cluster)
    assert cluster.commands("other")[0][-3:] == ["10.96.0.7", "8500", "8501"]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"run": "Failed"}, "verify-: no; see kubectl"),
        ({"client": "Failed"}, "service/serving: does not answer a client"),
        ({"other": "Failed"}, "networkpolicies: a pod without the label tapeline.dev/client can connect"),
    ],
)
def test_what_does_not_work_is_said_and_the_rest_still_tried(verified: Any, answers: dict[str, str], said: str) -> None:
    code, out, err = verified(Answers(**answers))  # type: ignore[arg-type]
    assert code == 2
    assert said in err
    assert (out.count("ok: "), out.count("no: ")) == (2, 1)


def test_a_template_that_could_replace_what_is_live_is_refused(verified: Any) -> None:
    cluster = Answers()
    cluster.template = {"spec": {}}
    code, _, err = verified(cluster)
    assert code == 2
    assert "has no parameter gate_threshold; choose a template that has it" in err
    assert not cluster.ran()
