"""Base, components, overlays and combinations: kubectl renders them without a warning, and the schemas take them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tapeline.checks import kustomize
from tapeline.checks.fields import fields_fit_their_schema
from tapeline.checks.nodes import Node
from tapeline.clusters.kfp import needs
from tapeline.config import compose as conf
from tapeline.lookup import configure as compose
from tests.deploy.rendering import BASE, COMBINATIONS, COMPONENTS, OVERLAYS, TREE, Document, one, overlay, render


def cases() -> Iterator[Any]:
    yield pytest.param((BASE, None), id="base")
    for name in OVERLAYS:
        yield pytest.param((TREE / "overlays" / name, None), id=name)
    for name in COMBINATIONS:
        yield pytest.param((TREE / "tests" / name, None), id=name)
    for name in COMPONENTS:
        yield pytest.param((None, [name]), id=name)
    yield pytest.param((None, COMPONENTS), id="all components")
    yield pytest.param((None, COMPONENTS[::-1]), id="all components, backwards")


@pytest.fixture(params=cases(), scope="module")
def documents(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    """The objects of each folder, of each component on the base, and of all components in either order."""
    folder, components = request.param
    return render(folder or overlay(tmp_path_factory.mktemp("overlay"), components))


def test_the_schemas_take_what_is_rendered(documents: list[Document]) -> None:
    named = [f"{each['kind']}/{each['metadata']['name']}" for each in documents]
    assert len(named) == len(set(named)) > 15
    assert [line for each in documents for line in found(json.dumps(each))] == []
    assert {each["metadata"].get("namespace", "tapeline") for each in documents} == {"tapeline"}


CHECKED: set[str] = set()
"""Objects as JSON, which most folders share; each is checked once."""


def test_the_policies_hold(documents: list[Document]) -> None:
    outside = yaml.safe_load((TREE / kustomize.OUTSIDE).read_text())
    assert [str(finding) for finding in kustomize.policies(documents, "rendered", outside, CHECKED)] == []


@cache
def found(text: str) -> list[str]:
    """What the schemas find wrong; once for equal documents."""
    return [str(each) for each in fields_fit_their_schema(Node(json.loads(text), "x"))]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dota": {}}, "dota"),
        ({"apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowTemplate", "metadata": {}, "spec": {"entrypont": "x"}},
         "entrypont"),
        ({"apiVersion": "kubeflow.org/v1", "kind": "TFJob", "metadata": {}, "spec": {"runPolicy": {"backofLimit": 1}}},
         "backofLimit"),
    ],
)  # fmt: skip
def test_a_misspelt_field_is_refused(document: Document, said: str) -> None:
    assert any(f"{said}: there is no such field" in line for line in found(json.dumps(document)))


def test_the_default_overlay_is_the_laptops() -> None:
    assert render(TREE / "overlays") == render(TREE / "overlays" / "laptop")


def test_no_remote_bases_no_deprecated_fields_no_folder_without_a_readme() -> None:
    deprecated = {"bases", "commonLabels", "patchesStrategicMerge", "patchesJson6902", "vars", "imageTags"}
    for path in TREE.rglob("kustomization.yaml"):
        record = yaml.safe_load(path.read_text())
        assert not deprecated & set(record), path
        for each in (*record.get("resources", ()), *record.get("components", ())):
            assert (path.parent / each).exists(), f"{path}: {each}"
    for name in COMPONENTS:
        text = (TREE / "components" / name / "README.md").read_text()
        assert text.startswith(f"# {name}\n"), name
        assert all(word in text for word in ("Needs", "Add it", "Result:")) or name == "ready-with-indices", name


def test_a_digest_reaches_every_pod_templates_of_workflows_included(tmp_path: Path) -> None:
    pins = [{"name": f"ghcr.io/tapeline/{name}", "digest": f"sha256:{'0' * 64}"} for name in ("step", "step-k80")]
    pins += [{"name": "tensorflow/serving", "digest": f"sha256:{'1' * 64}"}]
    images = list(_images(render(overlay(tmp_path, ["with-models-from-object-store"], images=pins))))
    assert len(images) > 40
    assert {name for name in images if "@sha256:" not in name} == set()


def test_one_component_pins_what_the_others_brought(tmp_path: Path) -> None:
    listed = yaml.safe_load((TREE / "components" / "with-pinned-images" / "kustomization.yaml").read_text())["images"]
    known = {each["name"] for each in listed}
    assert {image.partition(":")[0] for image in _images(render(overlay(tmp_path, COMPONENTS)))} <= known


def _images(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "image" and isinstance(value, str))
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _images(each)


def test_another_namespace_reaches_accounts_and_workflows(tmp_path: Path) -> None:
    documents = render(overlay(tmp_path, namespace="other"))
    assert one(documents, "Namespace", "other")
    assert {each["metadata"].get("namespace", "other") for each in documents} == {"other"}
    assert {each["namespace"] for each in one(documents, "RoleBinding", "workflow-executor")["subjects"]} == {"other"}


def test_a_prefix_reaches_what_workflow_templates_refer_to(tmp_path: Path) -> None:
    documents = render(overlay(tmp_path, namePrefix="blue-"))
    accounts = {each["metadata"]["name"] for each in documents if each["kind"] == "ServiceAccount"}
    claims = {each["metadata"]["name"] for each in documents if each["kind"] == "PersistentVolumeClaim"}
    template = one(documents, "WorkflowTemplate", "blue-snp-deep-gpu")["spec"]
    named = {each.get("serviceAccountName", template["serviceAccountName"]) for each in template["templates"]}
    volumes = [volume for each in template["templates"] for volume in each.get("volumes", ())]
    mounted = {each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each}
    assert named == {"blue-tapeline-runner", "blue-tapeline-publisher"}
    assert named <= accounts
    assert mounted == claims == {"blue-models"}
    semaphores = [lock["configMapKeyRef"]["name"] for each in template["templates"] if "synchronization" in each
                  for lock in each["synchronization"]["semaphores"]]  # fmt: skip
    assert set(semaphores) == {"blue-gpu-limits"}


def test_changed_monitoring_is_a_rollout_and_a_changed_limit_is_not() -> None:
    documents = render(BASE)
    volumes = one(documents, "Deployment", "serving")["spec"]["template"]["spec"]["volumes"]
    (name,) = (each["configMap"]["name"] for each in volumes if "configMap" in each)
    assert name.startswith("serving-")
    assert one(documents, "ConfigMap", name)
    assert one(documents, "ConfigMap", "gpu-limits"), "two names would be two semaphores"


def test_every_profile_with_a_card_has_a_component_and_they_stand_beside_each_other() -> None:
    profiles = [name for name in conf.options("hw") if compose([f"hw={name}"]).hw.accelerator]
    limits = one(render(TREE / "tests" / "all-cards"), "ConfigMap", "gpu-limits")["data"]
    assert limits == dict.fromkeys(profiles, "1")


def test_kfp_gets_the_rights_of_its_driver_and_launcher_and_nothing_else(tmp_path: Path) -> None:
    rendered = render(overlay(tmp_path, ["with-kfp"]))
    role, binding = one(rendered, "Role", "kfp-runs"), one(rendered, "RoleBinding", "kfp-runs")
    named = {(rule["resources"][0], *rule["resourceNames"], *rule["verbs"]) for rule in role["rules"]}
    rights = {(resource, name, verb) for verb, _, resource, name in needs.RIGHTS if name}
    assert named == rights == {("configmaps", "kfp-launcher", "get"), ("secrets", "mlpipeline-minio-artifact", "get")}
    (account,) = binding["subjects"]
    assert account == {"kind": "ServiceAccount", "name": "tapeline-publisher", "namespace": "tapeline"}
    executor = one(rendered, "RoleBinding", "workflow-executor")["subjects"]
    assert account in executor, "it reports results, too"
    assert {each["kind"] for each in rendered} >= {"Pipeline", "PipelineVersion"}
