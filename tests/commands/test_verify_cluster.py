"""What verify-cluster asks of a cluster, and what it says of the answers; tests/cluster does it on a real one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest

from tapeline import lookup
from tapeline.checks import before_run
from tapeline.clusters import kubectl
from tapeline.commands.verify_cluster import probes as verify
from tapeline.config.schema import Cluster
from tests.conftest import Tapeline

TEMPLATE = {"spec": {"arguments": {"parameters": [{"name": "gate_threshold"}, {"name": "model_steps"}]}}}
SERVING = {
    "spec": {
        "template": {
            "spec": {
                "initContainers": [{"image": "ghcr.io/tapeline/step:0.1.0"}],
                "containers": [{"readinessProbe": {"httpGet": {"path": "/v1/models/indices/metadata"}}}],
            }
        }
    },
}


class Answers:
    """kubectl's answers, and what was created."""

    def __init__(
        self, *, live: bool = True, run: str = "Succeeded", client: str = "Succeeded", other: str = "Succeeded"
    ):
        self.created: list[Mapping[str, Any]] = []
        self.deleted: list[str] = []
        self.live, self.phases = live, {"verify-": run, "verify-client-": client, "verify-other-": other}
        self.template: Any = TEMPLATE

    def need(self, namespace: str, wanted: Mapping[Any, Any]) -> None:
        assert (namespace, wanted) == ("tapeline", {})

    def get(self, namespace: str, kind: str, name: str) -> Any:
        if kind == "deployment":
            published = any(each["kind"] == "Workflow" for each in self.created)
            return {**SERVING, "status": {"readyReplicas": int(self.live or published)}}
        if kind == "service":
            return {"spec": {"clusterIP": "10.96.0.7"}}
        return (
            self.template if kind == "workflowtemplate" else {"status": {"phase": self.phases[name], "message": "no"}}
        )

    def create(self, namespace: str, what: Mapping[str, Any]) -> str:
        self.created.append(what)
        return str(what["metadata"]["generateName"])

    def run(self, *words: str) -> str:
        if "delete" in words:
            self.deleted.append(words[words.index("pod") + 1])
        return "noise\n" + json.dumps({"date": "2014-08-12", "version": 3})

    def parameters(self) -> dict[str, str]:
        (run,) = (each for each in self.created if each["kind"] == "Workflow")
        return {each["name"]: each["value"] for each in run["spec"]["arguments"]["parameters"]}


@pytest.fixture
def verified(tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(cluster: Answers) -> tuple[int, str, str]:
        for name in ("need", "get", "create", "run"):
            monkeypatch.setattr(kubectl, name, getattr(cluster, name))
        monkeypatch.setattr(verify, "SECONDS", 0)
        return tapeline("verify-cluster")

    return run


def test_what_is_live_is_not_replaced(verified: Any) -> None:
    cluster = Answers()
    code, out, err = verified(cluster)
    assert (code, err) == (0, "")
    assert [line for line in out.splitlines() if not line.startswith(" ")] == [
        "ok: verify- trained a model, which was rejected, as its gate.threshold demands; the live version stays",
        "ok: a client asked about 2014-08-12, and indices version 3 answered",
        "ok: a pod without the label tapeline.dev/client cannot connect",
    ]
    assert cluster.parameters() == {"gate_threshold": "0.9999", "model_steps": "100"}
    assert cluster.deleted == ["verify-client-", "verify-other-"]


def test_its_parameters_are_ones_that_a_run_takes() -> None:
    keys = {key.replace(".", "_"): key for key in cast(Cluster, lookup.configure(["target=argo"]).target).parameters}
    before_run(lookup.configure([f"{keys[name]}={value}" for name, value in verify.REJECTED.items()]))


def test_the_first_model_is_published(verified: Any) -> None:
    cluster = Answers(live=False)
    assert "which is live as indices" in verified(cluster)[1]
    assert cluster.parameters() == {}


def test_only_the_client_has_the_label_and_neither_has_rights(verified: Any) -> None:
    cluster = Answers()
    verified(cluster)
    client, other = (each for each in cluster.created if each["kind"] == "Pod")
    assert client["metadata"]["labels"] == verify.CLIENT
    assert other["metadata"]["labels"] == {}
    for each in (client, other):
        assert each["spec"]["automountServiceAccountToken"] is False
        assert each["spec"]["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert "sh" not in each["spec"]["containers"][0]["command"]


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
    assert "has no parameter gate_threshold, model_steps; choose a template that has it" in err
    assert not any(each["kind"] == "Workflow" for each in cluster.created)
