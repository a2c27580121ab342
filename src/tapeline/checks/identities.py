"""The token of the API server: no container that runs our code has one."""

from __future__ import annotations

from collections.abc import Iterator

from tapeline.checks.nodes import Node
from tapeline.checks.pods import WORKFLOWS, pods, workflow
from tapeline.errors import Finding

KEY = "automountServiceAccountToken"


def tokens_are_not_mounted(document: Node) -> Iterator[Finding]:
    """Pods mount no token; in a workflow, Argo's own containers get that of the executor's account."""
    for pod in pods(document):
        level = pod.key(KEY)
        if level.value is not False:
            where = level if level.value is not None else pod.levels[-1].at(KEY)
            yield where.wrong("the container would get a token of the API server", "set it to false")
    spec = workflow(document) if document.at("kind").value in WORKFLOWS else Node(None, document.file)
    if spec.at(KEY).value is False and not spec.at("executor", "serviceAccountName").text:
        yield spec.at("executor", "serviceAccountName").wrong(
            "is missing, and Argo runs no pod without a token then", "name the account of Argo's own containers"
        )


ABOUT = "object"
RULES = (tokens_are_not_mounted,)
