"""References between objects: the named objects exist, and selectors match."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tapeline.checks.nodes import Node, includes, read
from tapeline.checks.pods import WORKFLOWS, workflow
from tapeline.clusters import pod_spec
from tapeline.clusters.argo import joint
from tapeline.errors import Finding, nearest
from tapeline.pipeline.graph import STEPS

OBJECTS = {
    **dict.fromkeys(
        ("secretKeyRef", "secretRef", "accessKeySecret", "secretKeySecret", "sessionTokenSecret"), "Secret"
    ),
    "serviceAccountKeySecret": "Secret",
    **dict.fromkeys(("configMapKeyRef", "configMapRef", "configMap"), "ConfigMap"),
    "workflowTemplateRef": "WorkflowTemplate",
}
"""Mappings with the name of an object, and often one of its keys."""
NAMES = {"serviceAccountName": "ServiceAccount", "secretName": "Secret", "claimName": "PersistentVolumeClaim"}
"""Keys whose value is the name."""
REPOSITORY = "workflows.argoproj.io/default-artifact-repository"


@dataclass(frozen=True)
class Tree:
    """Objects that are applied together, and those that exist already."""

    documents: Sequence[Node]
    outside: Sequence[Mapping[str, Any]] = ()
    """For example {kind: Secret, name: kaggle, keys: [KAGGLE_KEY]}."""

    def of(self, *kinds: str) -> list[Node]:
        """The objects of these kinds."""
        return [each for each in self.documents if each.at("kind").value in kinds]

    def names(self, kind: str) -> list[str]:
        """Names of the objects of a kind, in the tree and outside."""
        inside = [str(each.at("metadata", "name").value) for each in self.of(kind)]
        return inside + [str(each.get("name")) for each in self.outside if each.get("kind") == kind]

    def keys(self, kind: str, name: str) -> list[str] | None:
        """The keys of a ConfigMap or Secret; None where they are not known."""
        for each in self.of(kind):
            if each.at("metadata", "name").value == name:
                return [*each.at("data").mapping, *each.at("binaryData").mapping]
        for content in self.outside:
            if content.get("kind") == kind and content.get("name") == name and content.get("keys"):
                return [str(key) for key in content["keys"]]
        return None

    def labels(self) -> list[dict[str, Any]]:
        """The labels of all pods, and of those that runs create."""
        found: list[dict[str, Any]] = []
        for step in STEPS:
            leads = {joint.LABEL: joint.LEADS} if step.joint else {}
            found.append({**pod_spec.labels([step], step.name), **leads})
        for document in self.documents:
            # the controller of notebooks copies the labels to the pods
            own = document.at("metadata", "labels").mapping if document.at("kind").value == "Notebook" else {}
            found += [{**own, **each.at("metadata", "labels").mapping} for each in Tree([document]).templates]
        for spec in (workflow(each) for each in self.of(*WORKFLOWS)):
            shared = spec.at("podMetadata", "labels").mapping
            found += [{**shared, **each.at("metadata", "labels").mapping} for each in spec.at("templates").each()]
        return found

    @cached_property
    def templates(self) -> list[Node]:
        """Pod templates: labels and a spec."""
        found = (node for document in self.documents for node in document.walk())
        specs = ((node, node.value.get("spec")) for node in found if isinstance(node.value, dict))
        return [node for node, spec in specs if isinstance(spec, dict) and isinstance(spec.get("containers"), list)]


Rule = Callable[[Tree], Iterable[Finding]]


def names_are_found(tree: Tree) -> Iterator[Finding]:
    """ConfigMaps, Secrets, claims and accounts exist; a pod would wait for a missing one."""
    for document in tree.documents:
        for node in (*document.walk(), *_repositories(document)):
            if not isinstance(node.value, dict) or node.value.get("optional"):
                continue
            for key in NAMES.keys() & node.value.keys():
                if node.at(key).text:
                    yield from _absent(tree, NAMES[key], node.at(key))
            if node.key in OBJECTS and node.at("name").text:
                yield from _absent(tree, OBJECTS[node.key], node.at("name"))
                yield from _absent_key(tree, OBJECTS[node.key], node)
            for each in node.at("imagePullSecrets").each() if "imagePullSecrets" in node.value else ():
                yield from _absent(tree, "Secret", each.at("name"))


def _repositories(document: Node) -> Iterator[Node]:
    """The content of ConfigMaps of Argo's artifact repositories."""
    if document.at("metadata", "annotations", REPOSITORY).value is not None:
        for entry in document.at("data").each():
            content = read(entry.text, document.file)
            for inner in content if isinstance(content, list) else ():
                yield from Node(inner.value, document.file, entry.keys).walk()


def _absent(tree: Tree, kind: str, name: Node) -> Iterator[Finding]:
    known = tree.names(kind)
    if name.value not in known and not (kind == "ServiceAccount" and name.value == "default"):
        otherwise = "declare it in outside.yaml" if kind == "Secret" else "add it"
        yield name.wrong(f"there is no {kind} {name.value}", nearest(str(name.value), known, otherwise=otherwise))


def _absent_key(tree: Tree, kind: str, node: Node) -> Iterator[Finding]:
    key, known = node.at("key"), tree.keys(kind, str(node.at("name").value))
    if key.value is not None and known is not None and key.value not in known:
        fix = nearest(str(key.value), known, otherwise="add it")
        yield key.wrong(f"{kind} {node.at('name').value} has no key {key.value}", fix)


def bindings_find_their_roles(tree: Tree) -> Iterator[Finding]:
    """Bindings name roles and accounts that exist, and autoscalers an existing target."""
    for binding in tree.of("RoleBinding", "ClusterRoleBinding"):
        role = binding.at("roleRef")
        if role.at("kind").value == "Role" or role.at("name").value not in ("view", "edit", "admin"):
            yield from _absent(tree, str(role.at("kind").value), role.at("name"))
        for subject in binding.at("subjects").each():
            if subject.at("kind").value == "ServiceAccount":
                yield from _absent(tree, "ServiceAccount", subject.at("name"))
    for scaler in tree.of("HorizontalPodAutoscaler"):
        target = scaler.at("spec", "scaleTargetRef")
        yield from _absent(tree, str(target.at("kind").value), target.at("name"))


def selectors_match(tree: Tree) -> Iterator[Finding]:
    """Selectors of Services, budgets, NetworkPolicies, Deployments and monitors match."""
    pods = tree.labels()
    services = [each.at("metadata", "labels").mapping for each in tree.of("Service")]
    for document in tree.documents:
        kind, spec = document.at("kind").value, document.at("spec")
        if kind == "Service" and spec.at("selector").value:
            yield from _unmatched(spec.at("selector"), pods, "pod")
        elif kind == "PodDisruptionBudget":
            yield from _unmatched(spec.at("selector", "matchLabels"), pods, "pod")
        elif kind == "ServiceMonitor":
            yield from _unmatched(spec.at("selector", "matchLabels"), services, "Service")
        elif kind == "NetworkPolicy" and spec.at("podSelector", "matchLabels", "app.kubernetes.io/name").value:
            yield from _unmatched(spec.at("podSelector", "matchLabels"), pods, "pod")
        elif kind in ("Deployment", "StatefulSet", "DaemonSet"):
            own = spec.at("template", "metadata", "labels").mapping
            yield from _unmatched(spec.at("selector", "matchLabels"), [own], "pod of its own")


def _unmatched(selector: Node, labels: Sequence[Mapping[str, Any]], what: str) -> Iterator[Finding]:
    wanted = selector.mapping
    if not wanted or not any(includes(each, wanted) for each in labels):
        yield selector.wrong(f"selects no {what}", "write the labels that it has")


def ports_are_named(tree: Tree) -> Iterator[Finding]:
    """Named ports of Services and probes are names of container ports."""
    for service in tree.of("Service"):
        wanted = service.at("spec", "selector").mapping
        matched = [each for each in tree.templates if includes(each.at("metadata", "labels").mapping, wanted)]
        known = [
            name for each in matched for box in each.at("spec", "containers").each() for name in box.at("ports").names()
        ]
        for port in service.at("spec", "ports").each() if matched else ():
            yield from _unnamed(port.at("targetPort"), known)
    for template in tree.templates:
        for container in template.at("spec", "containers").each():
            for node in container.walk():
                if node.key == "port" and any("Probe" in key for key in node.keys):
                    yield from _unnamed(node, container.at("ports").names())


def _unnamed(port: Node, known: list[str]) -> Iterator[Finding]:
    if port.text and port.text not in known:
        yield port.wrong(
            f"no container has a port with the name {port.value}", nearest(port.text, known, otherwise="add one")
        )


ABOUT = "tree"
RULES: tuple[Rule, ...] = (names_are_found, bindings_find_their_roles, selectors_match, ports_are_named)
