"""What a namespace needs for our workflows; deploy/kustomize has the same for people."""

from __future__ import annotations

import json
from typing import Any

import s3fs
import yaml

from tests.conftest import ROOT

Object = dict[str, Any]

REPOSITORY = {
    "endpoint": "s3.object-store.svc.cluster.local:7070",
    "insecure": True,
    "bucket": "tapeline",
    "region": "us-east-1",
    "accessKeySecret": {"name": "object-store", "key": "accessKey"},
    "secretKeySecret": {"name": "object-store", "key": "secretKey"},
}
"""Of ../shared/cluster, or of one that looks like it."""
ENDPOINT = {
    "AWS_ENDPOINT_URL": f"http://{REPOSITORY['endpoint']}",
    "AWS_DEFAULT_REGION": "us-east-1",
}
EXECUTOR = "tapeline-executor"
"""The account of Argo's own containers."""
OUTSIDE = {
    "AWS_ENDPOINT_URL": "http://10.250.0.1:7070",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "tapeline",
    "AWS_SECRET_ACCESS_KEY": "tapeline-local",
}
"""The same store as this machine reaches it."""
STORE = "s3://tapeline/stores"
"""Where tests publish: no claim there can be written by anyone but root."""


def object_store() -> s3fs.S3FileSystem:
    """The cluster's object store as this machine reaches it."""
    return s3fs.S3FileSystem(
        key=OUTSIDE["AWS_ACCESS_KEY_ID"],
        secret=OUTSIDE["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=OUTSIDE["AWS_ENDPOINT_URL"],
        client_kwargs={"region_name": OUTSIDE["AWS_DEFAULT_REGION"]},
        use_listings_cache=False,
    )


def workplace() -> Object:
    """Accounts, rights, secrets and the artifact repository, as one List."""
    accounts = [_object("v1", "ServiceAccount", name) for name in ("tapeline-runner", "tapeline-publisher", EXECUTOR)]
    subjects = [{"kind": "ServiceAccount", "name": EXECUTOR}]
    token = _object("v1", "Secret", f"{EXECUTOR}.service-account-token", type="kubernetes.io/service-account-token")
    token["metadata"]["annotations"] = {"kubernetes.io/service-account.name": EXECUTOR}
    rules = [{"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}]
    rbac, reference = "rbac.authorization.k8s.io", {"kind": "Role", "name": "tapeline"}
    repositories = _object("v1", "ConfigMap", "artifact-repositories", data={"s3": json.dumps({"s3": REPOSITORY})})
    repositories["metadata"]["annotations"] = {"workflows.argoproj.io/default-artifact-repository": "s3"}
    keys = {"accessKey": "tapeline", "secretKey": "tapeline-local"}
    store = {"AWS_ACCESS_KEY_ID": "tapeline", "AWS_SECRET_ACCESS_KEY": "tapeline-local", **ENDPOINT}
    items = [
        *accounts,
        token,
        _object(f"{rbac}/v1", "Role", "tapeline", rules=rules),
        _object(f"{rbac}/v1", "RoleBinding", "tapeline", roleRef={"apiGroup": rbac, **reference}, subjects=subjects),
        _object("v1", "Secret", "object-store", stringData=keys),
        _object("v1", "Secret", "store", stringData=store),
        repositories,
        _object("v1", "ConfigMap", "gpu-limits", data={"gpu": "1"}),
        yaml.safe_load((ROOT / "deploy" / "kustomize" / "base" / "workers.yaml").read_text()),
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _object(version: str, kind: str, name: str, **more: Any) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}
