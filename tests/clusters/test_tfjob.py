from __future__ import annotations

from typing import Any

import pytest
import yaml

from tapeline import lookup
from tapeline.checks.fields import fields_fit_their_schema
from tapeline.checks.nodes import Node
from tapeline.clusters import emit as build

TYPED = [
    ("target=tfjob",),
    ("target=tfjob", "experiment=snp_deep", "hw=gpu", "target.pull_secret=registry"),
    ("target=tfjob", "dataset.source=csv", "dataset.path=/data/closes.csv", "serving.store=s3://bucket/models"),
]


def _job(*typed: str) -> dict[str, Any]:
    [text] = build.emit(lookup.configure(typed), typed).values()
    job: dict[str, Any] = yaml.safe_load(text)
    return job


def _pod(*typed: str) -> dict[str, Any]:
    pod: dict[str, Any] = _job(*typed)["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("typed", TYPED, ids=" ".join)
def test_the_job_is_one_that_the_operator_knows(typed: tuple[str, ...]) -> None:
    assert list(fields_fit_their_schema(Node(_job(*typed), "job.yaml"))) == []


def test_one_worker_runs_the_whole_graph_as_the_publisher() -> None:
    job, pod = _job(*TYPED[1]), _pod(*TYPED[1])
    [container] = pod["containers"]
    assert container["name"] == "tensorflow"
    assert container["command"] == ["python3", "-m", "tapeline"]
    assert container["args"][:-1] == ["run", "experiment=snp_deep", "hw=gpu", "serving.store=/models"]
    assert container["args"][-1].startswith("built={")
    assert container["image"].startswith("ghcr.io/tapeline/step-k80:")
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["serviceAccountName"] == "tapeline-publisher"
    assert job["spec"]["tfReplicaSpecs"]["Worker"]["replicas"] == 1
    assert {"name": "models", "mountPath": "/models", "readOnly": False} in container["volumeMounts"]


@pytest.mark.parametrize("typed", TYPED, ids=" ".join)
def test_the_pod_meets_restricted(typed: tuple[str, ...]) -> None:
    pod = _pod(*typed)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in pod["containers"]:
        context = each["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert context["capabilities"] == {"drop": ["ALL"]}
    kinds = {next(kind for kind in volume if kind != "name") for volume in pod["volumes"]}
    assert kinds <= {"emptyDir", "persistentVolumeClaim"}


def test_data_and_store_lie_where_the_overrides_say() -> None:
    pod = _pod(*TYPED[2])
    assert "serving.store=s3://bucket/models" in pod["containers"][0]["args"]
    assert [each["name"] for each in pod["volumes"]] == ["work", "tmp", "data"]
