"""Base, components, overlays and combinations: kubectl renders them without a warning, and the schemas take them."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator, Sequence
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

PINNED = "with-pinned-images"
"""The component that must be the last one."""
ALL = [*(name for name in COMPONENTS if name != PINNED), PINNED]


def cases() -> Iterator[Any]:
    yield pytest.param((BASE, None), id="base")
    for name in OVERLAYS:
        yield pytest.param((TREE / "overlays" / name, None), id=name)
    for name in COMBINATIONS:
        yield pytest.param((TREE / "tests" / name, None), id=name)
    for name in COMPONENTS:
        yield pytest.param((None, [name]), id=name, marks=pytest.mark.long)
    yield pytest.param((None, ALL), id="all components")
    yield pytest.param((None, [*ALL[-2::-1], PINNED]), id="all components, backwards")


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
        assert all(word in text for word in ("Needs", "Add it", "Result:")), name


def test_a_digest_reaches_every_pod_templates_of_workflows_included(tmp_path: Path) -> None:
    pins = [{"name": f"ghcr.io/tapeline/{name}", "digest": f"sha256:{'0' * 64}"} for name in ("step", "step-k80")]
    pins += [{"name": "tensorflow/serving", "digest": f"sha256:{'1' * 64}"}]
    images = list(_images(render(overlay(tmp_path, ["with-models-from-object-store"], images=pins))))
    assert len(images) > 40
    assert {name for name in images if "@sha256:" not in name} == set()


def test_one_component_pins_what_the_others_brought(tmp_path: Path) -> None:
    listed = yaml.safe_load((TREE / "components" / "with-pinned-images" / "kustomization.yaml").read_text())["images"]
    known = {each["name"] for each in listed}
    assert {re.split("[:@]", image)[0] for image in _images(render(overlay(tmp_path, ALL)))} <= known


def _images(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "image" and isinstance(value, str))
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _images(each)


def test_the_claim_of_the_object_store_has_room_for_volumes_of_every_bucket(tmp_path: Path) -> None:
    """SeaweedFS gives a bucket 7 volumes when it is first written; if they do not fit, it answers with an error."""
    documents = render(overlay(tmp_path, ["with-object-store"]))
    claim = one(documents, "PersistentVolumeClaim", "object-store")["spec"]["resources"]["requests"]["storage"]
    (container,) = one(documents, "Deployment", "object-store")["spec"]["template"]["spec"]["containers"]
    given = dict(each.split("=", 1) for each in container["args"] if "=" in each)
    identities = runpy.run_path(str(TREE / "components" / "with-object-store" / "keys.py"))["IDENTITIES"]
    buckets = {action.partition(":")[2] for actions in identities.values() for action in actions if ":" in action}
    assert len(buckets) >= 3
    assert int(claim.removesuffix("Gi")) * 1024 // int(given["-master.volumeSizeLimitMB"]) >= 7 * 3 * len(buckets)


def test_another_namespace_reaches_accounts_and_workflows(tmp_path: Path) -> None:
    documents = render(overlay(tmp_path, namespace="other"))
    assert one(documents, "Namespace", "other")
    assert {each["metadata"].get("namespace", "other") for each in documents} == {"other"}
    assert {each["namespace"] for each in one(documents, "RoleBinding", "workflow-executor")["subjects"]} == {"other"}


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


ALLOWED = (
    (r".*/image", r"image"),
    (r"Namespace//tapeline/metadata/labels/tapeline\.dev/images", "image"),
    (r"StorageClass//tapeline-models", "storage class"),
    (r"PersistentVolumeClaim/tapeline/models/spec/storageClassName", "storage class"),
    (r"ServiceAccount/tapeline/tapeline-(runner|publisher)/metadata/annotations", "account"),
    (r"ConfigMap/tapeline/artifact-repositories/data/default", "object store"),
    (r"NetworkPolicy/tapeline/workflow-to-aws", "object store"),
    (r"\w+/tapeline/(tapeline-|workflow-to-)?object-store", "object store"),
)
"""Paths in which the test overlay may differ from production, and what each is."""


def test_production_on_a_test_cluster_is_production_but_for_four_things() -> None:
    production, here = (_by_name(render(TREE / folder)) for folder in (
        "overlays/production", "tests/production-on-a-test-cluster"))  # fmt: skip
    paths = set(_differences(production, here))
    kinds = {
        path: next((kind for pattern, kind in ALLOWED if re.fullmatch(pattern, path)), "not allowed") for path in paths
    }
    assert {path: kind for path, kind in kinds.items() if kind == "not allowed"} == {}
    assert set(kinds.values()) == {kind for _, kind in ALLOWED}


def _by_name(documents: Sequence[Document]) -> dict[str, Document]:
    places = (
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"], each) for each in documents
    )
    return {f"{kind}/{namespace}/{name}": each for kind, namespace, name, each in places}


def _differences(one_: Any, other: Any, path: str = "") -> Iterator[str]:
    """Paths at which two values differ."""
    if isinstance(one_, dict) and isinstance(other, dict):
        for key in one_.keys() | other.keys():
            yield from _differences(one_.get(key), other.get(key), f"{path}/{key}" if path else key)
    elif isinstance(one_, list) and isinstance(other, list) and len(one_) == len(other):
        for number, (left, right) in enumerate(zip(one_, other, strict=True)):
            yield from _differences(left, right, f"{path}/{number}")
    elif one_ != other:
        yield path


def test_no_step_has_a_token_and_no_account_of_a_step_has_rights() -> None:
    documents = render(BASE)
    templates = [each["spec"] for each in documents if each["kind"] == "WorkflowTemplate"]
    assert len(templates) > 10
    accounts = {each["serviceAccountName"] for spec in templates for each in [spec, *spec["templates"]]
                if "serviceAccountName" in each}  # fmt: skip
    executors = {spec["executor"]["serviceAccountName"] for spec in templates}
    with_rights = {
        each["name"] for binding in documents if binding["kind"] == "RoleBinding" for each in binding["subjects"]
    }
    assert {spec["automountServiceAccountToken"] for spec in templates} == {False}
    assert executors == with_rights
    assert not accounts & with_rights
    secret = one(documents, "Secret", f"{executors.pop()}.service-account-token")
    assert (secret["type"], secret.get("data")) == ("kubernetes.io/service-account-token", None)


def test_no_container_of_the_server_writes_the_store(tmp_path: Path) -> None:
    for components in ([], ["with-models-from-object-store", "with-object-store"]):
        pod = one(render(overlay(tmp_path, components)), "Deployment", "serving")["spec"]["template"]["spec"]
        claims = [each["persistentVolumeClaim"] for each in pod["volumes"] if "persistentVolumeClaim" in each]
        assert all(each["readOnly"] for each in claims)
        secrets = {source["secretRef"]["name"] for each in (*pod["initContainers"], *pod["containers"])
                   for source in each.get("envFrom", ())}  # fmt: skip
        assert (len(claims), secrets) == ((0, {"models-read"}) if components else (1, set()))


def test_each_identity_of_the_object_store_has_one_bucket(tmp_path: Path) -> None:
    made = runpy.run_path(str(TREE / "components" / "with-object-store" / "keys.py"))["made"]()
    content = {each["metadata"]["name"]: each["stringData"] for each in made["items"]}
    identities = {each["name"]: each for each in json.loads(content["object-store"]["s3.json"])["identities"]}
    assert identities.keys() == content.keys()
    buckets = {name: {action.partition(":")[2] for action in each["actions"]} for name, each in identities.items()}
    assert {name: found.pop() for name, found in buckets.items() if len(found) == 1 and name != "object-store"} == {
        "artifacts": "artifacts", "models-read": "models", "models-write": "models", "data": "data"}  # fmt: skip
    assert not [action for action in identities["models-read"]["actions"] if not action.startswith(("Read:", "List:"))]
    for name, each in identities.items():
        assert each["credentials"][0]["secretKey"] == content[name]["AWS_SECRET_ACCESS_KEY"]
    assert len({each["AWS_SECRET_ACCESS_KEY"] for each in content.values()}) == len(content)
    outside = yaml.safe_load((TREE / kustomize.OUTSIDE).read_text())
    listed = [each for each in outside if "with-object-store" in each.get("readme", "")]
    assert all(set(each["keys"]) <= content[each["name"]].keys() for each in listed)
    assert len(listed) == len(content)


def test_a_search_finds_the_database_that_the_component_runs(tmp_path: Path) -> None:
    """The words of its README are those of its objects; the password is in none of them."""
    documents = render(overlay(tmp_path, ["with-study-database"]))
    text = (TREE / "components" / "with-study-database" / "README.md").read_text()
    (server,) = one(documents, "StatefulSet", "study-database")["spec"]["template"]["spec"]["containers"]
    env = {each["name"]: each["value"] for each in server["env"]}
    service = one(documents, "Service", "study-database")
    assert service["spec"]["selector"].items() <= one(documents, "StatefulSet", "study-database")["spec"]["template"][
        "metadata"]["labels"].items()  # fmt: skip
    url = f"postgresql://{env['POSTGRES_USER']}@{service['metadata']['name']}/{env['POSTGRES_DB']}"
    assert f"tune.storage={url} " in text
    assert [each["port"] for each in service["spec"]["ports"]] == [5432]
    (listed,) = [each for each in yaml.safe_load((TREE / kustomize.OUTSIDE).read_text()) if
                 each["name"] == "study-database"]  # fmt: skip
    (key,) = listed["keys"]
    assert f"tune.password_env={key} target.data_secret={listed['name']}\n" in text
    assert f"generic {listed['name']} --from-literal={key}=" in text
    assert env["POSTGRES_PASSWORD_FILE"].endswith(f"/{key}")
    assert not [each for each in documents if (each["kind"], each["metadata"]["name"]) == ("Secret", "study-database")]
    (way_in,) = one(documents, "NetworkPolicy", "study-database")["spec"]["ingress"]
    (way_out,) = one(documents, "NetworkPolicy", "workflow-to-study-database")["spec"]["egress"]
    assert [each["podSelector"]["matchLabels"] for each in way_in["from"]] == [{"tapeline.dev/role": "runner"}]
    assert [each["podSelector"]["matchLabels"] for each in way_out["to"]] == [service["spec"]["selector"]]


def test_the_notebook_is_open_to_the_gateway_and_its_controller_only(tmp_path: Path) -> None:
    policy = one(render(overlay(tmp_path, ["with-notebook"])), "NetworkPolicy", "notebook-from-kubeflow")
    (rule,) = policy["spec"]["ingress"]
    assert all(each["podSelector"]["matchLabels"] and each["namespaceSelector"] for each in rule["from"])


def test_an_update_starts_the_new_server_before_it_stops_the_old_one() -> None:
    spec = one(render(BASE), "Deployment", "serving")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert spec["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]


def test_tls_closes_what_is_not_encrypted(tmp_path: Path) -> None:
    documents = render(overlay(tmp_path, ["with-tls"]))
    ports = {each["port"] for rule in one(documents, "NetworkPolicy", "serving-from-clients")["spec"]["ingress"]
             for each in rule["ports"]}  # fmt: skip
    assert ports == {8500, 8443}
    assert {each["name"]: each["port"] for each in one(documents, "Service", "serving")["spec"]["ports"]}[
        "https"
    ] == 8443


def test_kfp_gets_the_rights_of_its_driver_and_launcher_and_nothing_else(tmp_path: Path) -> None:
    rendered = render(overlay(tmp_path, ["with-kfp"]))
    role, binding = one(rendered, "Role", "kfp-runs"), one(rendered, "RoleBinding", "kfp-runs")
    named = {(rule["resources"][0], *rule["resourceNames"], *rule["verbs"]) for rule in role["rules"]}
    rights = {(resource, name, verb) for verb, _, resource, name in needs.RIGHTS if name}
    assert named == rights == {("configmaps", "kfp-launcher", "get"), ("secrets", "mlpipeline-minio-artifact", "get")}
    (account,) = binding["subjects"]
    assert account == {"kind": "ServiceAccount", "name": "tapeline-kfp", "namespace": "tapeline"}
    assert one(rendered, "RoleBinding", "kfp-results")["subjects"] == [account], "it reports results, too"
    templates = [each["spec"] for each in rendered if each["kind"] == "WorkflowTemplate"]
    assert "tapeline-kfp" not in json.dumps(templates), "no step of Argo's has its rights"
    assert {each["kind"] for each in rendered} >= {"Pipeline", "PipelineVersion"}
