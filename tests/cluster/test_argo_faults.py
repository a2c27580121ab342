"""What goes wrong before and in a run on a real Argo, and what `tapeline submit` says about it, and when."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tapeline import lookup
from tapeline.clusters.argo import preflight
from tapeline.clusters.argo import submit as on_argo
from tests.cluster.argo import LINE, prepared, store
from tests.cluster.conftest import Image, Kubectl
from tests.conftest import subprocess_tapeline

WITHIN = 30
"""Seconds in which a pod that cannot start must be explained."""


@pytest.fixture(scope="module")
def submit(kubectl: Kubectl, namespace: str, image: Image) -> tuple[str, ...]:
    """What is typed behind `tapeline submit`, but for the experiment."""
    return (*prepared(kubectl, namespace, image), "target.granularity=fused", store(namespace, "faults"), *LINE)


@pytest.fixture
def damaged(kubectl: Kubectl, namespace: str) -> Iterator[Any]:
    """Change an object for one test: damaged(kind, name, change); None deletes it."""
    before: list[str] = []

    def change(kind: str, name: str, change: dict[str, Any] | None) -> None:
        about = json.loads(kubectl("-n", namespace, "get", kind, name, "-ojson"))
        for key in ("resourceVersion", "uid", "creationTimestamp", "managedFields"):
            about["metadata"].pop(key, None)
        before.append(json.dumps(about))
        if change is None:
            kubectl("-n", namespace, "delete", kind, name)
        else:
            kubectl("-n", namespace, "patch", kind, name, "--type=merge", f"--patch={json.dumps(change)}")

    yield change
    for about in before:
        kubectl("-n", namespace, "replace", "--force", "-f", "-", stdin=about)


def refused(folder: Path, *words: str) -> str:
    """What submit says when it refuses."""
    shown = subprocess_tapeline("submit", *words, "apply=true", cwd=folder)
    assert shown.returncode == 2, shown.stdout + shown.stderr
    return str(shown.stderr)


@pytest.fixture
def waiting(kubectl: Kubectl, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Start a run whatever is missing, as somebody would who may not read Secrets; what is said, and after how long."""
    monkeypatch.setattr(preflight, "check", lambda *_: None)
    runs: list[str] = []

    def begin(*typed: str) -> str:
        config, begun = lookup.configure(typed), time.monotonic()
        runs.append(on_argo.begin(config, typed, apply=True))
        while time.monotonic() < begun + WITHIN:
            notes = [part.note for part in on_argo.look(config, runs[-1]).parts if part.state == "waits"]
            if notes:
                return notes[0]
            time.sleep(2)
        raise AssertionError(f"nothing is said within {WITHIN} s")

    yield begin
    for run in runs:
        kubectl("-n", namespace, "delete", "workflow", run, "--wait=false")


def test_the_secret_of_the_repository(
    folder: Path, submit: tuple[str, ...], kubectl: Kubectl, namespace: str, damaged: Any, waiting: Any
) -> None:
    damaged("secret", "object-store", None)
    before = kubectl("-n", namespace, "get", "workflows", "-oname")
    assert "secret object-store: is not in namespace" in refused(folder, *submit)
    assert kubectl("-n", namespace, "get", "workflows", "-oname") == before
    assert "there is no Secret object-store" in waiting(*submit)


def test_a_key_of_that_secret(folder: Path, submit: tuple[str, ...], damaged: Any, waiting: Any) -> None:
    damaged("secret", "object-store", {"data": {"accessKey": None}})
    assert "secret object-store: has no key accessKey" in refused(folder, *submit)
    assert "no key accessKey" in waiting(*submit)


def test_no_repository(folder: Path, submit: tuple[str, ...], damaged: Any) -> None:
    damaged("configmap", "artifact-repositories", None)
    assert "configmap artifact-repositories: is not in namespace" in refused(folder, *submit)


def test_a_wrong_key_ends_the_run_at_the_first_try(folder: Path, submit: tuple[str, ...], damaged: Any) -> None:
    damaged("secret", "object-store", {"stringData": {"secretKey": "wrong"}})
    begun = time.monotonic()
    shown = subprocess_tapeline("submit", *submit, "apply=true", cwd=folder)
    assert shown.returncode == 2
    assert "the artifact repository refuses it" in shown.stderr
    assert "Secret object-store" in shown.stderr
    assert " again " not in shown.stdout
    assert time.monotonic() - begun < 200
    assert list((folder / "runs").iterdir()) == []


def test_out_of_memory_ends_the_run_at_the_first_try(folder: Path, submit: tuple[str, ...]) -> None:
    limits = ("hw.limits={cpu:'2',memory:200Mi}", "hw.requests={cpu:100m,memory:100Mi}")
    said = refused(folder, *submit, *limits)
    assert "run: its memory limit of 200Mi is used up; set hw.limits.memory" in said


def test_an_image_that_is_not_there(submit: tuple[str, ...], waiting: Any) -> None:
    image = "hw.image=localhost/nobody/has-this:1"
    assert "image" in waiting(*submit, image)


@contextmanager
def changed(
    folder: Path, typed: Sequence[str], kubectl: Kubectl, namespace: str, change: tuple[str, str]
) -> Iterator[None]:
    """The template of these overrides on the cluster, with one text in the place of another."""
    built = subprocess_tapeline("build", *typed, "target.folder=out", cwd=folder)
    assert built.returncode == 0, built.stderr
    path = folder / "out" / "snp-flat-cpu.yaml"
    path.write_text(path.read_text().replace(*change))
    kubectl("apply", "-f", str(path))
    try:
        yield
    finally:
        kubectl("-n", namespace, "delete", "workflowtemplate", "snp-flat-cpu")


def test_an_image_that_an_overlay_changed_is_what_runs(
    folder: Path, submit: tuple[str, ...], kubectl: Kubectl, namespace: str, waiting: Any
) -> None:
    typed = [text for text in submit if "image=" not in text]
    with changed(
        folder, typed, kubectl, namespace, ("image: ghcr.io/tapeline/step:0.1.0", "image: localhost/overlay/step:9")
    ):
        assert "image" in waiting(*typed), "that of the build is there and would start"


@pytest.mark.parametrize("limit", [{"gpu": "0"}, {"gpu": None}])
def test_no_run_may_have_a_gpu(folder: Path, submit: tuple[str, ...], damaged: Any, limit: dict[str, Any]) -> None:
    damaged("configmap", "gpu-limits", {"data": limit})
    said = refused(folder, *submit, "hw=gpu")
    assert "hw=gpu: ConfigMap gpu-limits" in said
    assert "with-gpu-k80" in said


def test_no_node_has_the_gpu(submit: tuple[str, ...], waiting: Any) -> None:
    assert "no node has" in waiting(*submit, "hw=gpu")


def test_a_claim_without_a_volume(submit: tuple[str, ...], kubectl: Kubectl, namespace: str, waiting: Any) -> None:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "nobody-has-this",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"}, "spec": spec}
    kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(claim))
    typed = [*(text for text in submit if not text.startswith("serving.store")), "serving.store=/models"]
    assert "claim" in waiting(*typed)
    kubectl("-n", namespace, "delete", "persistentvolumeclaim", "models", "--wait=false")


def test_a_quota_that_is_used_up(submit: tuple[str, ...], kubectl: Kubectl, namespace: str, waiting: Any) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(quota))
    try:
        assert "quota none" in waiting(*submit)
    finally:
        kubectl("-n", namespace, "delete", "resourcequota", "none")


def test_a_template_that_somebody_changed_is_not_this_one(
    folder: Path, submit: tuple[str, ...], kubectl: Kubectl, namespace: str
) -> None:
    """In a field that no overlay changes; an annotation would not know."""
    with changed(folder, submit, kubectl, namespace, ("runAsNonRoot: true", "runAsNonRoot: false")):
        shown = subprocess_tapeline("submit", *submit, cwd=folder)
        assert shown.returncode == 2
        assert "another (" in shown.stderr
        assert "securityContext" in shown.stderr
