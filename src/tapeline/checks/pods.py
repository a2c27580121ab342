"""Pods of Kubernetes objects and Argo templates, as the rules about pods get them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from tapeline.checks.nodes import Node, read
from tapeline.errors import Finding

WORKFLOWS = ("Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow")
"""Argo's kinds."""


@dataclass(frozen=True)
class Pod:
    """A pod as its object declares it."""

    levels: tuple[Node, ...]
    """Where keys of the pod are set, by precedence: an Argo template, then its workflow."""
    containers: tuple[Node, ...]

    def key(self, *names: str) -> Node:
        """A key of the pod."""
        found = [level.at(*names) for level in self.levels]
        return next((node for node in found if node.value is not None), found[0])

    def all(self, name: str) -> list[Node]:
        """The items of a list from all levels, for example volumes."""
        return [item for level in self.levels for item in level.at(name).each()]

    def security(self, container: Node, *names: str) -> Node:
        """A key of the container's security context, or else of the pod's."""
        own = container.at("securityContext", *names)
        return own if own.value is not None else self.key("securityContext", *names)


Rule = Callable[[Pod], Iterable[Finding]]


def pods(document: Node) -> Iterator[Pod]:
    """The pods of an object of Kubernetes, Argo or another operator."""
    if document.at("kind").value in WORKFLOWS:
        yield from _of_workflow(document)
        return
    # its claims are beside the pod
    above = (document.at("spec"),) if document.at("kind").value == "StatefulSet" else ()
    for node in document.walk():
        if isinstance(node.at("containers").value, list):
            yield Pod((node, *above), (*node.at("initContainers").each(), *node.at("containers").each()))


@lru_cache(maxsize=64)
def workflow(document: Node) -> Node:
    """The spec of a workflow or of a CronWorkflow's runs; cached, so that it is walked once."""
    inner = document.at("spec", "workflowSpec")
    return inner if document.at("kind").value == "CronWorkflow" else document.at("spec")


def _of_workflow(document: Node) -> Iterator[Pod]:
    spec = workflow(document)
    for template in spec.at("templates").each():
        alone = [template.at(key) for key in ("container", "script")]
        listed = [template.at(*keys) for keys in (("containerSet", "containers"), ("initContainers",), ("sidecars",))]
        containers = [node for node in alone if isinstance(node.value, dict)]
        containers += [node for several in listed for node in several.each()]
        if containers:
            yield Pod((template, spec), tuple(containers))
        yield from _of_manifest(template.at("resource", "manifest"))


def _of_manifest(manifest: Node) -> Iterator[Pod]:
    found = read(manifest.text, manifest.file) if manifest.text else []
    for document in found if isinstance(found, list) else ():
        yield from pods(Node(document.value, manifest.file, manifest.keys))
