"""What make submit target=kfp asks the cluster of kubectl's context before a run is created."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from tapeline import lookup
from tapeline.clusters import emit, kubectl
from tapeline.clusters.kfp import needs
from tapeline.config.schema import Kfp
from tapeline.errors import Refused, refuse

PLAIN = {("service", "kubeflow"): ["ml-pipeline"], ("deployment", "kubeflow"): ["ml-pipeline"]}


@dataclass
class Cluster:
    """Names of objects by kind and namespace, and what the account of a run may not do."""

    objects: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    fs_group: bool = True
    away: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, *words: str, stdin: str | None = None, tries: int = 1) -> str:
        if self.away:
            raise refuse("kubectl", "has no context (current-context is not set)", "set KUBECONFIG")
        if "create" in words:
            review = json.loads(stdin or "")["spec"]
            self.asked.append(review)
            return json.dumps({"status": {"allowed": review["resourceAttributes"]["resource"] not in self.lacks}})
        if "--all-namespaces" in words:
            found = [where for (kind, where), names in self.objects.items() if kind == "service" and names]
            return json.dumps({"items": [{"metadata": {"namespace": where}} for where in found]})
        namespace = words[words.index("-n") + 1] if "-n" in words else ""
        kind, name = words[words.index("get") + 1 :][:2]
        if kind == "secret":
            return "secret " if name in self.objects.get((kind, namespace), ()) else ""
        if kind == "namespace":
            return json.dumps({"metadata": {}}) if name in {where for _, where in self.objects} else ""
        content = [{"name": "COMPILED_PIPELINE_SPEC_PATCH", "value": "fsGroup"}] if self.fs_group else []
        spec = {"spec": {"template": {"spec": {"containers": [{"env": content}]}}}}
        return json.dumps(spec) if name in self.objects.get((kind, namespace), ()) else ""


def _check(monkeypatch: pytest.MonkeyPatch, cluster: Cluster, *typed: str, many_users: bool = False) -> list[str]:
    monkeypatch.setattr(kubectl, "run", cluster)
    overrides = ["target=kfp", *typed]
    config = lookup.configure(overrides)
    assert isinstance(config.target, Kfp)
    return needs.check(emit.laid_out(config, overrides), needs.place(config.target, many_users=many_users))


def _refused(monkeypatch: pytest.MonkeyPatch, cluster: Cluster, *typed: str, many_users: bool = False) -> list[str]:
    with pytest.raises(Refused) as shown:
        _check(monkeypatch, cluster, *typed, many_users=many_users)
    return [str(each) for each in shown.value.findings]


def test_a_plain_kfp_needs_what_the_pods_mount_in_its_own_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _refused(monkeypatch, Cluster(PLAIN | {("serviceaccount", "kubeflow"): ["pipeline-runner"]}))
    assert lines == [
        "persistentvolumeclaim models: is not in namespace kubeflow, where KFP runs; set "
        "serving.store=s3://bucket/models, or create it there, or name another with target.models_claim"
    ]
    typed = ("serving.store=s3://b/m", "target.store_secret=keys", "target.account=mine", "target.pull_secret=registry")
    found = _refused(monkeypatch, Cluster(PLAIN), *typed)
    assert [line.partition(":")[0] for line in found[:3]] == ["serviceaccount mine", "secret keys", "secret registry"]


def test_nothing_is_said_where_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {("serviceaccount", "kubeflow"): ["pipeline-runner"], ("secret", "kubeflow"): ["keys"]}
    cluster = Cluster(PLAIN | there)
    assert _check(monkeypatch, cluster, "serving.store=s3://b/m", "target.store_secret=keys") == []
    assert cluster.asked == [], "KFP's own account has its rights"


def test_a_plain_kfp_runs_nothing_in_another_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = _refused(monkeypatch, Cluster(PLAIN), "target.namespace=tapeline")
    assert line == (
        "target.namespace=tapeline: this KFP runs everything in its own namespace, kubeflow; "
        "set target.namespace=kubeflow"
    )


def test_many_users_run_nothing_in_the_namespace_of_kfp(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = _refused(monkeypatch, Cluster(PLAIN), many_users=True)
    assert line.startswith("target.namespace=kubeflow: this KFP has many users, and runs nothing in its own namespace;")


PROFILE = {
    ("serviceaccount", "tapeline"): ["tapeline-publisher", "default-editor"],
    ("persistentvolumeclaim", "tapeline"): ["models"],
    ("secret", "tapeline"): ["mlpipeline-minio-artifact"],
}
OURS = ("target.namespace=tapeline", "target.account=tapeline-publisher")


def test_an_account_without_the_rights_of_driver_and_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(PLAIN | PROFILE, lacks=("configmaps", "secrets"))
    lines = _refused(monkeypatch, cluster, *OURS, many_users=True)
    assert lines == [
        f"target.account=tapeline-publisher: may not get {what} in namespace tapeline; add "
        "deploy/kustomize/components/with-kfp, which has the Role, or set target.account=null"
        for what in ("configmaps kfp-launcher", "secrets mlpipeline-minio-artifact")
    ]
    assert {each["user"] for each in cluster.asked} == {"system:serviceaccount:tapeline:tapeline-publisher"}
    assert _check(monkeypatch, Cluster(PLAIN | PROFILE), *OURS, many_users=True) == []


def test_a_claim_that_may_not_be_writable_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(PLAIN | PROFILE, fs_group=False)
    (sentence,) = _check(monkeypatch, cluster, *OURS, many_users=True)
    assert sentence.startswith("pods of this KFP have no fsGroup, so claim models may not be writable: set COMPILED_PI")
    assert _check(monkeypatch, cluster, *OURS, "serving.store=s3://b/m", many_users=True) == []


def test_what_cannot_be_checked_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    (away,) = _check(monkeypatch, Cluster(away=True))
    assert away.startswith(
        "not checked whether namespace kubeflow has serviceaccount pipeline-runner, persistentvolumeclaim models (has"
    )
    (elsewhere,) = _check(monkeypatch, Cluster(PROFILE))
    assert elsewhere.startswith("the cluster of kubectl's context has no namespace kubeflow, so it was not checked")
