"""Base, components, overlays and combinations: kubectl renders them without a warning, and the schemas take them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.conftest import DATA
from tests.deploy.rendering import BASE, COMBINATIONS, COMPONENTS, OVERLAYS, TREE, Document, one, overlay, render

SCHEMAS = DATA.parent / "schemas"
OURS = {
    "WorkflowTemplate": "argo-workflows-4.1.2/argoproj.io_workflowtemplates.yaml",
    "CronWorkflow": "argo-workflows-4.1.2/argoproj.io_cronworkflows.yaml",
    "TFJob": "training-operator-1.9.4/kubeflow.org_tfjobs.yaml",
}
"""Custom kinds with a schema at hand."""
OTHERS = {"ServiceMonitor", "Notebook", "Pipeline", "PipelineVersion"}
"""Custom kinds without one: named, not checked."""
KUBERNETES = "1.32"


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


@pytest.fixture(params=cases())
def documents(request: pytest.FixtureRequest, tmp_path: Path) -> list[Document]:
    """The objects of each folder, of each component on the base, and of all components in either order."""
    folder, components = request.param
    return render(folder or overlay(tmp_path, components))


def test_the_schemas_take_what_is_rendered(documents: list[Document]) -> None:
    named = [f"{each['kind']}/{each['metadata']['name']}" for each in documents]
    assert len(named) == len(set(named)) > 15
    for each in documents:
        validate(each)
    assert {each["metadata"].get("namespace", "tapeline") for each in documents} == {"tapeline"}


def validate(document: Document) -> None:
    """Strictly: an unknown field is an error.

    Raises:
        Exception: the schema's own.
    """
    kind = document["kind"]
    if kind in OURS:
        schema(kind).validate(document)
    elif kind not in OTHERS:
        validate_built_in(json.dumps(document))


@cache
def validate_built_in(text: str) -> None:
    """Once for equal documents."""
    kubernetes_validate.validate(json.loads(text), KUBERNETES, strict=True)


@cache
def schema(kind: str) -> Any:
    path = SCHEMAS / OURS[kind]
    if not path.is_file():
        pytest.skip(f"the schemas of custom kinds are not here ({path}); set TAPELINE_DATA to the folder beside them")
    definition = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return jsonschema.Draft202012Validator(strict(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]))


def strict(node: Any) -> Any:
    """The schema with unknown fields refused, but for metadata, which a CRD does not spell out."""
    if isinstance(node, list):
        return [strict(each) for each in node]
    if not isinstance(node, dict):
        return node
    made = {key: strict(value) for key, value in node.items()}
    if made.get("x-kubernetes-int-or-string"):
        made = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    elif "properties" in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


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
    with pytest.raises(Exception, match=said):
        validate(document)


def test_the_default_overlay_is_the_laptops() -> None:
    assert render(TREE / "overlays") == render(TREE / "overlays" / "laptop")


def test_no_remote_bases_no_deprecated_fields_no_folder_without_a_readme() -> None:
    deprecated = {"bases", "commonLabels", "patchesStrategicMerge", "patchesJson6902", "vars", "imageTags"}
    for path in TREE.rglob("kustomization.yaml"):
        told = yaml.safe_load(path.read_text())
        assert not deprecated & set(told), path
        for each in (*told.get("resources", ()), *told.get("components", ())):
            assert (path.parent / each).exists(), f"{path}: {each}"
    for name in COMPONENTS:
        text = (TREE / "components" / name / "README.md").read_text()
        assert text.startswith(f"# {name}\n"), name
        assert all(word in text for word in ("Needs", "Add it", "Result:")) or name == "ready-with-indices", name


def test_names_prefixes_hashes_and_digests_reach_the_custom_resources(tmp_path: Path) -> None:
    pins = [{"name": "ghcr.io/tapeline/step", "newName": "registry.example.com/step", "digest": f"sha256:{'0' * 64}"}]
    folder = overlay(tmp_path, namespace="other", namePrefix="blue-", images=pins)
    documents = render(folder)
    assert one(documents, "Namespace", "other")
    assert {each["metadata"].get("namespace", "other") for each in documents} == {"other"}
    binding = one(documents, "RoleBinding", "blue-workflow-executor")
    assert {each["namespace"] for each in binding["subjects"]} == {"other"}
    assert {each["name"] for each in binding["subjects"]} == {"blue-tapeline-runner", "blue-tapeline-publisher"}
