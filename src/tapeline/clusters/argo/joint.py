"""Pods that train one model together: the step's own pod leads, and the others find it by a headless Service.

All are tried again as other pods are. A pod that loses the others ends with a code above 127, which `retries.py` takes
for a lost pod: so all of them begin again, and one that was replaced has its new address.
"""

from __future__ import annotations

from typing import Any

from tapeline import workers
from tapeline.clusters.plan import Task

LABEL, LEADS, JOINS = "tapeline.dev/workers", "leads", "joins"
"""The headless Service of deploy/kustomize/base selects pods that lead, and its NetworkPolicy both."""


def labels(task: Task) -> dict[str, str]:
    """What the pod has beside the labels of every pod."""
    return {LABEL: LEADS if task.makes else JOINS} if _joint(task) else {}


def identified(task: Task, container: dict[str, Any]) -> dict[str, Any]:
    """The container, with what its pod must know of the others: the run, so that pods of two runs do not mix."""
    if not _joint(task):
        return container
    role = {} if task.makes else {workers.ROLE: "worker"}
    own = [{"name": name, "value": value} for name, value in ({workers.JOB: "{{workflow.uid}}"} | role).items()]
    return {**container, "env": [*container["env"], *own]}


def _joint(task: Task) -> bool:
    return task.workers > 1 and any(step.joint for step in task.steps)
