"""Which failures of a pod are worth a retry, and what the others mean.

Argo evaluates `EXPRESSION` after the backoff; `make submit` asks `again` and says a final failure at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tapeline.clusters import run_status as outcome
from tapeline.clusters.argo import repository
from tapeline.clusters.pod_events import words

Object = Mapping[str, Any]

STORAGE = (
    r"access ?denied|forbidden|unauthorized|bucket does not exist|no ?such ?bucket|access ?key ?id|"
    r"signature we calculated|invalid credentials|error 40[13]"
)
"""What object stores say that they will say again."""
FINAL = (
    rf"(?is)^(main: OOMKilled|(init|wait): .*({STORAGE})|failed to initialize semaphore|admission webhook|"
    r"pods .* is forbidden|failed to find any artifact repository)"
)
"""The start of a node's message after which a retry would fail again. Of what the container `main` printed nothing
counts: a log may contain any word."""
EXPRESSION = (
    '(lastRetry.status == "Error" || asInt(lastRetry.exitCode) < 0 || asInt(lastRetry.exitCode) > 127) && '
    f'!(lastRetry.message matches "{FINAL}")'
)
"""Retry pods that were lost or killed by a signal; exit codes 1 and 2 of tapeline are final."""


def again(node: Object) -> bool:
    """The same as `EXPRESSION`, for a node that failed."""
    code = int(node.get("outputs", {}).get("exitCode", -1))
    lost = node["phase"] == "Error" or code < 0 or code > 127
    return lost and not re.search(FINAL, node.get("message", ""))


def reason(node: Object, workflow: Object) -> str:
    """Why a pod failed, in words; where a key of the configuration helps, the key.

    Args:
        node: of the pod.
        workflow: with the template of the pod, and in its status the artifact repository.
    """
    message = node.get("message", "")
    if message.startswith("main: OOMKilled"):
        return _memory(node, workflow)
    if re.match(r"init|wait", message) and re.search(STORAGE, message, re.IGNORECASE):
        said = re.sub(r"^\w+: \w+ \(exit code \d+\): ", "", message.strip().splitlines()[0])
        return f"the artifact repository refuses it ({said}); {_credentials(workflow)}"
    if found := re.match(r"failed to initialize semaphore (\S+)", message):
        *_, name, key = found[1].split("/")
        return f"ConfigMap {name} allows no run with hw={key}; add the component of this GPU to the overlay"
    return words(outcome.reason(message)) if not message.startswith("main: ") else outcome.reason(message)


def _memory(node: Object, workflow: Object) -> str:
    template = next((each for each in templates(workflow) if each["name"] == node.get("templateName")), {})
    limit = template.get("container", {}).get("resources", {}).get("limits", {}).get("memory", "unknown")
    key = "hw.limits.memory" if node.get("templateName") in ("train", "tune", "run") else "target.limits.memory"
    return f"its memory limit of {limit} is used up; set {key} to more"


def _credentials(workflow: Object) -> str:
    """Where the credentials of the repository are, and what else may be wrong."""
    content = workflow.get("status", {}).get("artifactRepositoryRef", {}).get("artifactRepository", {})
    place = next((each for each in content.values() if isinstance(each, dict)), {})
    named = [f"{', '.join(keys)} in Secret {name}" for name, keys in repository.secrets(place).items()]
    bucket = [f"bucket {place['bucket']}"] if "bucket" in place else []
    checked = " and ".join([*bucket, *(named or ["the rights of its service account"])])
    return f"check {checked}, which ConfigMap {repository.CONFIG_MAP} names"


def templates(workflow: Object) -> list[Object]:
    """Templates of a workflow: its own, or those of the WorkflowTemplate that it names."""
    stored = workflow.get("status", {}).get("storedWorkflowTemplateSpec", {})
    return list(workflow.get("spec", {}).get("templates") or stored.get("templates") or ())
