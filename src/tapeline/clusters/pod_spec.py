"""A task's container and volumes as Kubernetes objects, for Argo and TFJob.

Pods meet the Pod Security Standard `restricted`, and write to two empty folders only: /tmp and /workspace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tapeline.clusters.plan import Task
from tapeline.config.schema import Cluster
from tapeline.errors import refuse
from tapeline.pipeline.graph import Step

Object = dict[str, Any]

COMMAND = ("python3", "-m", "tapeline")
WORK = "/workspace"
USER = 10001
"""User and group of the images."""

POD_SECURITY: Object = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
SECURITY: Object = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
LABELS = {"app.kubernetes.io/name": "tapeline", "app.kubernetes.io/managed-by": "tapeline"}
"""Labels of every object."""
FOLDERS = {"work": WORK, "tmp": "/tmp"}  # noqa: S108 (an emptyDir of the pod's own)


def container(task: Task, target: Cluster, arguments: Sequence[str]) -> Object:
    """The container that runs tapeline for a task."""
    return {
        "image": task.image,
        "imagePullPolicy": target.pull_policy,
        "command": list(COMMAND),
        "args": list(arguments),
        "workingDir": WORK,
        "env": [{"name": "HOME", "value": FOLDERS["tmp"]}, *_secrets(task)],
        "resources": _resources(task),
        "securityContext": SECURITY,
        # what tapeline refused is then said by the pod's status, without its log
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            *({"name": name, "mountPath": path} for name, path in FOLDERS.items()),
            *({"name": each.claim, "mountPath": each.path, "readOnly": each.read_only} for each in task.mounts),
        ],
    }


def labels(steps: Sequence[Step], component: str) -> dict[str, str]:
    """Labels that NetworkPolicies select: the role, and whether the pod may download data."""
    writes = any(step.store == "write" for step in steps)
    fetches = any(step.world == "watched" for step in steps)
    return {
        **LABELS,
        "app.kubernetes.io/component": component,
        "tapeline.dev/role": "publisher" if writes else "runner",
        **({"tapeline.dev/data": "read"} if fetches else {}),
    }


def volumes(task: Task) -> list[Object]:
    """Two emptyDir volumes, and the volume claims of a task."""
    claims = (
        {"name": each.claim, "persistentVolumeClaim": {"claimName": each.claim, "readOnly": each.read_only}}
        for each in task.mounts
    )
    return [*({"name": name, "emptyDir": {}} for name in FOLDERS), *claims]


def scheduling(task: Task, target: Cluster) -> Object:
    """The nodes of the target, with the GPU of the task, which may have a taint; and the priority."""
    card = task.accelerator
    of_card = [{"key": card.resource, "operator": "Exists", "effect": "NoSchedule"}] if card else []
    made = {
        "nodeSelector": {**target.node_selector, **(card.node_selector if card else {})},
        "tolerations": [*(each.model_dump(exclude_none=True) for each in target.tolerations), *of_card],
        "priorityClassName": target.priority_class,
    }
    return {key: value for key, value in made.items() if value}


def literal(text: str) -> str:
    """The text as an argument in a manifest, with $ escaped: the kubelet would replace $(NAME).

    Raises:
        Refused: it holds a tag of Argo's, which cannot be written literally.
    """
    if "{{" in text:
        raise refuse(text, "contains {{, which a cluster would replace", "write it without braces")
    return text.replace("$", "$$")


def _resources(task: Task) -> Object:
    cards = {task.accelerator.resource: str(task.accelerator.count)} if task.accelerator else {}
    return {"requests": {**task.requests, **cards}, "limits": {**task.limits, **cards}}


def _secrets(task: Task) -> list[Object]:
    return [
        {
            "name": f"{secret.prefix}{key}",
            "valueFrom": {"secretKeyRef": {"name": secret.name, "key": key, "optional": True}},
        }
        for secret in task.secrets
        for key in secret.keys
    ]
