"""Mistakes in the Kustomize tree: in what is rendered, and in its files."""

from __future__ import annotations

import json
import random
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tapeline import files
from tapeline.checks import kustomize
from tapeline.checks.exposure import INTERNAL
from tests.checks.planting import DROP, WRONG_TYPES, Planted, forget, paths, plant, replaced
from tests.conftest import ROOT

TREE = ROOT / "deploy" / "kustomize"
S, D = "deploy/kustomize/x: Service/serving-public: spec", "deploy/kustomize/x: Deployment/serving: spec.template.spec"
BOX = "spec template spec containers [serving]"

RENDERED = [
    ("Deployment/serving", Planted(
        "references.names_are_found", "spec template spec volumes [models] persistentVolumeClaim claimName", "model",
        f"{D}.volumes[models].persistentVolumeClaim.claimName: there is no PersistentVolumeClaim model; did you mean models?")),
    ("Deployment/serving", Planted(
        "references.names_are_found", "spec template spec serviceAccountName", "tapeline-server",
        f"{D}.serviceAccountName: there is no ServiceAccount tapeline-server; did you mean tapeline-serving?")),
    ("Deployment/serving", Planted(
        "references.names_are_found", f"{BOX} envFrom", [{"secretRef": {"name": "objectstore"}}],
        f"{D}.containers[serving].envFrom[0].secretRef.name: there is no Secret objectstore; did you mean object-store?")),
    ("Deployment/serving", Planted(
        "references.names_are_found", f"{BOX} env",
        [{"name": "ID", "valueFrom": {"secretKeyRef": {"name": "models-read", "key": "AWS_ACCESS_KEY"}}}],
        f"{D}.containers[serving].env[ID].valueFrom.secretKeyRef.key: Secret models-read has no key AWS_ACCESS_KEY; "
        "did you mean AWS_ACCESS_KEY_ID?")),
    ("ConfigMap/artifact-repositories", Planted(
        "references.names_are_found", "data default", lambda text: text.replace("name: artifacts", "name: minio", 1),
        "deploy/kustomize/x: ConfigMap/artifact-repositories: data.default.s3.accessKeySecret.name: "
        "there is no Secret minio; declare it in outside.yaml")),
    ("RoleBinding/workflow-executor", Planted(
        "references.bindings_find_their_roles", "roleRef name", "workflow-executer",
        "deploy/kustomize/x: RoleBinding/workflow-executor: roleRef.name: there is no Role workflow-executer; "
        "did you mean workflow-executor?")),
    ("Service/serving", Planted(
        "references.selectors_match", "spec selector", {"app.kubernetes.io/name": "server"},
        "deploy/kustomize/x: Service/serving: spec.selector: selects no pod; write the labels that it has")),
    ("Service/train-workers", Planted(
        "references.selectors_match", "spec selector tapeline.dev/workers", "lead",
        "deploy/kustomize/x: Service/train-workers: spec.selector: selects no pod; write the labels that it has")),
    ("Service/serving", Planted(
        "references.ports_are_named", "spec ports [grpc] targetPort", "grcp",
        "deploy/kustomize/x: Service/serving: spec.ports[grpc].targetPort: no container has a port with the name grcp; "
        "did you mean grpc?")),
    ("Service/serving-public", Planted(
        "exposure.balancers_name_their_clients", "spec loadBalancerSourceRanges", DROP,
        f"{S}.loadBalancerSourceRanges: is missing, so every address may connect; list the address ranges of the clients, for example 203.0.113.0/24")),
    ("Service/serving-public", Planted(
        "exposure.balancers_name_their_clients", "spec externalTrafficPolicy", "Cluster",
        f"{S}.externalTrafficPolicy: pods would not get the clients' addresses; set it to Local")),
    ("Service/serving-public", Planted(
        "exposure.balancers_name_their_clients", "spec loadBalancerSourceRanges", ["198.51.100.0/24"],
        f"{S}.loadBalancerSourceRanges: no NetworkPolicy of its pods allows the same ranges; write the same ranges in both")),
    ("Role/workflow-executor", Planted(
        "exposure.roles_are_minimal", "rules [0] verbs", ["*"],
        "deploy/kustomize/x: Role/workflow-executor: rules[0].verbs: * allows everything; "
        "list only what is needed")),
    ("Role/workflow-executor", Planted(
        "exposure.roles_are_minimal", "rules [0] resources", ["secrets"],
        "deploy/kustomize/x: Role/workflow-executor: rules[0].resources: access to secrets allows privilege escalation; remove it")),
    ("Namespace/tapeline", Planted(
        "exposure.namespaces_enforce_restricted", "metadata labels pod-security.kubernetes.io/enforce", "baseline",
        "deploy/kustomize/x: Namespace/tapeline: metadata.labels.pod-security.kubernetes.io/enforce: "
        "pods without the Pod Security Standard restricted may run; set it to restricted")),
    ("NetworkPolicy/default-deny", Planted(
        "exposure.traffic_is_denied_by_default", "spec policyTypes", ["Ingress"],
        "deploy/kustomize/x: Namespace/tapeline: no NetworkPolicy denies all traffic by default; "
        "add one with podSelector {} and both policyTypes")),
    ("Deployment/serving", Planted(
        "exposure.servers_are_probed", f"{BOX} readinessProbe", DROP,
        f"{D}.containers[serving].readinessProbe: is missing; add a probe, for example httpGet with a path and a port")),
    ("Deployment/serving", Planted(
        "exposure.servers_are_probed", f"{BOX} livenessProbe", {"tcpSocket": {"port": "grpc"}, "timeoutSeconds": 5},
        f"{D}.containers[serving].livenessProbe.tcpSocket: does not ask the server, only whether its port is open; "
        "use httpGet with a path")),
    ("Deployment/serving", Planted(
        "exposure.servers_cannot_write_the_store", "spec template spec volumes [models] persistentVolumeClaim readOnly", False,
        f"{D}.volumes[models].persistentVolumeClaim.readOnly: the server could write the store; set it to true")),
    ("Namespace/tapeline", Planted(
        "exposure.images_are_digests", "metadata labels tapeline.dev/images", "digests",
        "deploy/kustomize/x: Namespace/tapeline: metadata.labels.tapeline.dev/images: these images have none: "
        "ghcr.io/tapeline/step:0.1.0, tensorflow/serving:2.20.0; "
        "set their digests in components/with-pinned-images, which must be the last component")),
    ("Service/serving-public", Planted(
        "exposure.internal_balancers_stay_internal", "metadata annotations",
        {key: value for key, value in INTERNAL.items() if key != "service.beta.kubernetes.io/aws-load-balancer-scheme"},
        "deploy/kustomize/x: Service/serving-public: metadata.annotations.service.beta.kubernetes.io/aws-load-balancer-scheme: "
        "is not internal, so a cloud may give a public address; write 'internal'")),
    ("Deployment/serving", Planted(
        "identities.tokens_are_not_mounted", "spec template spec automountServiceAccountToken", True,
        f"{D}.automountServiceAccountToken: the container would get a token of the API server; set it to false")),
    ("Deployment/serving", Planted(
        "resources.image_is_fixed", f"{BOX} image", "tensorflow/serving:latest",
        f"{D}.containers[serving].image: tensorflow/serving:latest has the mutable tag latest; "
        "use a version or a digest, for example :1.2.3")),
    ("Deployment/serving", Planted(
        "restricted.runs_as_non_root", f"{BOX} securityContext runAsNonRoot", False,
        f"{D}.containers[serving].securityContext.runAsNonRoot: the container may run as root; set it to true")),
    ("Service/serving", Planted(
        "names.ports_exist", "spec ports [grpc] port", 85000,
        "deploy/kustomize/x: Service/serving: spec.ports[grpc].port: 85000 is not a valid port; choose one from 1 to 65535")),
    ("Service/serving", Planted(
        "names.annotations_are_text", "metadata annotations", {"prometheus.io/scrape": True},
        "deploy/kustomize/x: Service/serving: metadata.annotations.prometheus.io/scrape: True is not text; put it in quotes")),
    ("Deployment/serving", Planted(
        "fields.fields_fit_their_schema", f"{BOX} readinesProbe", {},
        f"{D}.containers[serving].readinesProbe: there is no such field; did you mean readinessProbe?")),
    ("Service/serving", Planted(
        "fields.fields_fit_their_schema", "spec sessionAffinity", 7,
        "deploy/kustomize/x: Service/serving: spec.sessionAffinity: must be of type string or null, and is 7; write a string")),
    ("Secret/kaggle", Planted(
        "names.no_secret_is_inside", "stringData", {"key": "0123456789abcdef"},
        "deploy/kustomize/x: Secret/kaggle: stringData.key: contains a secret in plain text; "
        "refer to a Secret that is created outside")),
    ("CronWorkflow/nightly", Planted(
        "argo.schedules_are_valid", "spec schedules", ["30 17 * * 1-9"],
        "deploy/kustomize/x: CronWorkflow/nightly: spec.schedules[0]: '30 17 * * 1-9' has 1-9, but values from 0 to 6 are allowed there; "
        "write minute, hour, day, month, weekday: 30 17 * * 1-5")),
]  # fmt: skip
# ruff: noqa: E501  # a line that a person reads stays one line

MORE = """
{apiVersion: v1, kind: ConfigMap, metadata: {name: serving}, data: {monitoring.config: x}}
---
{apiVersion: v1, kind: Secret, metadata: {name: kaggle}}
---
{apiVersion: argoproj.io/v1alpha1, kind: WorkflowTemplate, metadata: {name: nightly}, spec: {}}
---
{apiVersion: argoproj.io/v1alpha1, kind: CronWorkflow, metadata: {name: nightly},
 spec: {schedules: [30 17 * * 1-5], timezone: Europe/London, workflowSpec: {workflowTemplateRef: {name: nightly}}}}
"""


@cache
def documents() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The base with a balancer, without kubectl; and what people create."""
    paths = [path for path in sorted((TREE / "base").glob("*.yaml")) if "kustomiz" not in path.name]
    paths.append(TREE / "components" / "public-loadbalancer" / "loadbalancer.yaml")
    texts = [*(path.read_text() for path in paths), MORE]
    # as rendered, without YAML's aliases
    found = json.loads(json.dumps([each for text in texts for each in files.yaml_documents(text)]))
    (quota,) = (each for each in found if each["kind"] == "ResourceQuota")
    quota["spec"]["hard"]["services.loadbalancers"] = "1"  # as the component of the balancer does
    return found, yaml.safe_load((TREE / "outside.yaml").read_text())


def lines(found: list[dict[str, Any]], known: set[str] | None = None) -> list[str]:
    return list(dict.fromkeys(map(str, kustomize.policies(found, "deploy/kustomize/x", documents()[1], known))))


def test_the_base_is_right() -> None:
    assert lines(documents()[0]) == []


def right() -> set[str]:
    """Objects that need no check by themselves, as JSON."""
    return {json.dumps(each, default=str) for each in documents()[0]}


@pytest.mark.parametrize("case", RENDERED, ids=lambda case: case[1].rule)
def test_a_mistake_in_rendered_objects_is_one_line(case: tuple[str, Planted], monkeypatch: pytest.MonkeyPatch) -> None:
    name, planted = case
    wrong = [
        plant(each, planted.path, planted.value) if f"{each['kind']}/{each['metadata']['name']}" == name else each
        for each in documents()[0]
    ]
    assert lines(wrong, right()) == [planted.line]
    forget(planted.rule, monkeypatch)
    assert lines(wrong, right()) == []


def _copy(folder: Path) -> Path:
    """The tree in a folder of its own, beside the templates that it takes in."""
    for name in ("deploy/kustomize", "workflows"):
        shutil.copytree(ROOT / name, folder / name)
    return folder / "deploy" / "kustomize"


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("commonLabels", {"a": "b"}, "commonLabels: is deprecated in kustomize; use labels"),
        ("resource", ["x.yaml"], "resource: is not a field of kustomize; did you mean resources?"),
        ("resources []", "https://example.com/x.yaml",
         "resources[8]: https://example.com/x.yaml would be downloaded; keep a copy in the tree"),
        ("resources [0]", "namespaces.yaml", "resources[0]: namespaces.yaml does not exist; did you mean namespace.yaml?"),
        ("namePrefix", "blue-",
         "namePrefix: would rename what Argo, TF Serving's clients and tapeline's commands look for by its name; "
         "use a namespace of your own instead, for example namespace: blue"),
        ("secretGenerator", [{"name": "kaggle", "literals": ["key=0123"]}],
         "secretGenerator[kaggle].literals: contains a secret in plain text; use envs with a file that Git ignores"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_kustomization_is_one_line(path: str, value: Any, line: str, tmp_path: Path) -> None:
    tree = _copy(tmp_path)
    file = tree / "base" / "kustomization.yaml"
    right = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(plant(right, path, value)))
    record = [str(each) for each in kustomize.check_files(tree, "deploy/kustomize")]
    where = "deploy/kustomize/base/kustomization.yaml: "
    assert record == [where + line.replace("[8]", f"[{len(right['resources'])}]")]


def test_a_component_without_a_readme_and_a_file_that_is_no_yaml_are_found(tmp_path: Path) -> None:
    tree = _copy(tmp_path)
    (tree / "components" / "with-tls" / "README.md").unlink()
    (tree / "base" / "models.yaml").write_text("kind: [\n")
    record = [str(each) for each in kustomize.check_files(tree, "deploy/kustomize")]
    assert len(record) == 2
    assert record[0].startswith("deploy/kustomize/base/models.yaml, line 2: is not valid YAML: ")
    assert record[1].endswith("kustomization.yaml: the component has no README.md; "
                            "write one: what it does, what it needs, and one command")  # fmt: skip


def test_a_wrong_type_in_a_rendered_object_is_a_finding_and_no_traceback() -> None:
    """Two wrong types, drawn with a seed, in the place of every fourth value of the base."""
    found, known, draw = documents()[0], right(), random.Random(0)
    places = [(number, path) for number, each in enumerate(found) for path in paths(each)]
    for number, path in places[draw.randrange(4) :: 4]:
        wrong = [replaced(found[number], path, value) for value in draw.sample(WRONG_TYPES, 2)]
        tree = [*found[:number], *wrong, *found[number + 1 :]]
        lines(tree, set(known))
    selector = {**next(each for each in found if each["kind"] == "Service")}
    selector["spec"] = {**selector["spec"], "selector": ["serving"]}
    assert any(": spec.selector: must be of type object" in line for line in lines([*found, selector]))
