"""Argo's artifact repository: what is known about it before a run, and its files without a pod."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import yaml

from tapeline.clusters import kubectl
from tapeline.errors import Finding, Refused
from tapeline.objects import DRIVERS

Object = Mapping[str, Any]

CONFIG_MAP, DEFAULT = "artifact-repositories", "workflows.argoproj.io/default-artifact-repository"
CONTROLLER = "workflow-controller-configmap"
"""The ConfigMap of Argo's controller, which may have a repository for all namespaces."""
AMAZON = ("s3.amazonaws.com", ".amazonaws.com")


def findings(namespace: str) -> Iterator[Finding]:
    """Findings about the namespace's repository: its ConfigMap, and the Secrets that this names, with their keys."""
    config_map = kubectl.readable(namespace, "configmap", CONFIG_MAP)
    where = f"configmap {CONFIG_MAP}"
    if config_map == {}:
        return  # this account may not read it
    name = (config_map or {}).get("metadata", {}).get("annotations", {}).get(DEFAULT, "")
    text = (config_map or {}).get("data", {}).get(name)
    if text is None:
        if not _everywhere():
            problem = (
                f"is not in namespace {namespace}" if config_map is None else f"has no default, which {DEFAULT} names"
            )
            yield Finding(where, f"{problem}, and Argo's controller has no repository of its own", kubectl.OVERLAY)
        return
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        content = None
    if not isinstance(content, dict):
        yield Finding(f"{where}: {name}", "is not a mapping in YAML", kubectl.OVERLAY)
        return
    for secret, keys in secrets(content).items():
        yield from _secret(namespace, secret, keys)


def secrets(repository: Any) -> dict[str, list[str]]:
    """The keys of Secrets that a repository names, by Secret."""
    found: dict[str, list[str]] = {}
    if isinstance(repository, dict):
        for key, each in repository.items():
            if key.endswith("Secret") and isinstance(each, dict) and {"name", "key"} <= set(each):
                found.setdefault(each["name"], []).append(each["key"])
            for name, keys in secrets(each).items():
                found.setdefault(name, []).extend(keys)
    return found


def _secret(namespace: str, name: str, keys: list[str]) -> Iterator[Finding]:
    there = kubectl.readable(namespace, "secret", name)
    example = (
        f"kubectl -n {namespace} create secret generic {name} {' '.join(f'--from-literal={key}=...' for key in keys)}"
    )
    if there is None:
        problem = f"is not in namespace {namespace}, and ConfigMap {CONFIG_MAP} names it"
        yield Finding(f"secret {name}", problem, f"create it, as {example}")
    elif there:
        for key in keys:
            if key not in there["data"]:
                problem = f"has no key {key}, which ConfigMap {CONFIG_MAP} names"
                yield Finding(f"secret {name}", problem, f"create it again, as {example}")


def _everywhere() -> bool:
    """Whether the controller has a repository, or this account cannot know."""
    which = f"--field-selector=metadata.name={CONTROLLER}"
    try:
        found = json.loads(kubectl.run("get", "configmaps", "--all-namespaces", which, "-o=json"))["items"]
    except Refused:
        return True
    return any("artifactRepository" in json.dumps(each.get("data", {})) for each in found)


def roots(workflow: Object, configured: str | None) -> list[tuple[str, dict[str, Any]]]:
    """Where a run's files may be read from here, as URL and arguments of its file system.

    Args:
        workflow: the object; its status names the repository, whose store may be a public one.
        configured: an address of the same repository that is reached from here; None: there is none.
    """
    if configured:
        return [(configured.rstrip("/"), {})]
    repository = workflow.get("status", {}).get("artifactRepositoryRef", {}).get("artifactRepository", {})
    if bucket := repository.get("gcs", {}).get("bucket"):
        return [(f"gs://{bucket}", {})]
    s3 = repository.get("s3", {})
    if s3.get("bucket") and s3.get("endpoint", AMAZON[0]).partition(":")[0].endswith(AMAZON):
        return [(f"s3://{s3['bucket']}", {"client_kwargs": {"region_name": s3["region"]}} if s3.get("region") else {})]
    return []


def keys(workflow: Object, names: Mapping[str, str]) -> dict[str, str]:
    """The keys of a run's artifacts, by file; artifacts that were not made have none.

    Args:
        workflow: the object.
        names: the file of each artifact.
    """
    found: dict[str, str] = {}
    for node in workflow.get("status", {}).get("nodes", {}).values():
        for each in node.get("outputs", {}).get("artifacts", ()) if node["phase"] == "Succeeded" else ():
            place: Object = next((each[kind] for kind in ("s3", "gcs", "azure", "oss") if kind in each), {})
            if each["name"] in names and (key := place.get("key") or place.get("blob")):
                found[names[each["name"]]] = key
    return found


def read(root: str, options: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, bytes] | str:
    """The files, by name, or why they cannot be read.

    Args:
        root: URL of the repository.
        options: of its file system.
        files: key of each.
    """
    import fsspec

    driver = DRIVERS.get(urlsplit(root).scheme)
    try:
        system, path = fsspec.core.url_to_fs(root, **{**(driver.options if driver else {}), **options})
        return {name: system.cat_file(f"{path}/{key}") for name, key in files.items()}
    except Exception as error:  # each file system raises its own kinds
        return " ".join(str(error).split()) or type(error).__name__
