"""The progress of a workflow: its nodes, and the pods behind them.

Argo looks at a run every DEFAULT_REQUEUE_TIME, ten seconds where nobody set it, and its nodes have the times of these
looks. The seconds of a task are those of its container, as long as its pod is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from tapeline.clusters import kubectl, pod_events
from tapeline.clusters.argo import retries
from tapeline.clusters.run_status import Part, Seen, State
from tapeline.errors import Refused

Object = Mapping[str, Any]

STATES: dict[str, State] = {
    "Pending": "waits",
    "Running": "runs",
    "Succeeded": "ran",
    "Skipped": "skipped",
    "Omitted": "skipped",
    "Failed": "failed",
    "Error": "failed",
}
"""Our status for each phase of a node."""
ENDS = {"Succeeded": "succeeded", "Failed": "failed", "Error": "failed"}
MAIN, POD_OF_NODE = "main", "workflows.argoproj.io/node-id"


@dataclass(frozen=True)
class Ran:
    """The container of a task that ended."""

    seconds: float
    image: str
    """Its name, and the digest of what ran under it."""


class Pods:
    """The pods of runs; those that ended are asked for once."""

    def __init__(self) -> None:
        self.ended: dict[str, Ran | None] = {}
        self.listed: dict[str, Object] = {}

    def look(self, namespace: str, run: str, nodes: Sequence[Object]) -> None:
        """List the pods of a run, if there is something new about one of its nodes."""
        tries = [node for node in nodes if node["type"] == "Pod"]
        pending = [node for node in tries if node["phase"] == "Pending"]
        ended = [node["id"] for node in tries if node["phase"] in ENDS and node["id"] not in self.ended]
        if not pending and not ended:
            return
        found = _allowed(kubectl.items, namespace, "pods", f"workflows.argoproj.io/workflow={run}")
        self.listed = {each["metadata"].get("annotations", {}).get(POD_OF_NODE, ""): each for each in found}
        self.ended |= {name: _ran(self.listed.get(name)) for name in ended}

    def waits(self, namespace: str, node: Object) -> str:
        """Why the pod of a node has not started; "" if it has, or will in a moment."""
        pod = self.listed.get(node["id"])
        if pod is None or pod_events.at_work(pod):
            return ""
        said = pod_events.waiting(pod)
        if not said:
            events = _allowed(kubectl.events, namespace, pod["metadata"]["name"])
            said = pod_events.from_events(pod, events)
        return pod_events.words(said)


def _allowed(ask: Callable[..., list[dict[str, Any]]], *words: str) -> list[dict[str, Any]]:
    """What the cluster answers, or nothing where this account may not ask: a run can be followed by its nodes alone."""
    try:
        return ask(*words, tries=kubectl.PATIENCE)
    except Refused as error:
        if "not allowed" in error.findings[0].problem:
            return []
        raise


def _ran(pod: Object | None) -> Ran | None:
    for each in (pod or {}).get("status", {}).get("containerStatuses", ()):
        ended = each.get("state", {}).get("terminated")
        if each["name"] == MAIN and ended and ended.get("startedAt") and ended.get("finishedAt"):
            return Ran(_between(ended), _image(each["image"].partition("@")[0], each.get("imageID", "")))
    return None


def _image(name: str, identity: str) -> str:
    """An image with its digest in the registry; one that was built on the node has an identity there instead."""
    _, at, digest = identity.rpartition("@")
    return f"{name}{at}{digest}" if at or not digest else f"{name} ({digest})"


def _between(times: Object) -> float:
    started, ended = (datetime.fromisoformat(times[key]) for key in ("startedAt", "finishedAt"))
    return (ended - started).total_seconds()


def seen(workflow: Object, namespace: str, pods: Pods, conditions: Mapping[str, str | None]) -> Seen:
    """The status of a run.

    Args:
        workflow: the object.
        namespace: of the workflow.
        pods: asked for more where the nodes do not say enough.
        conditions: by step, the output parameter on which it depends.
    """
    name, status = workflow["metadata"]["name"], workflow.get("status", {})
    nodes = sorted(status.get("nodes", {}).values(), key=lambda node: str(node.get("startedAt")))
    pods.look(namespace, name, nodes)
    tasks = [each for each in nodes if _is_task(each, name) and not each.get("nodeFlag", {}).get("retried")]
    parts = [part for each in tasks for part in _parts(each, nodes, workflow, namespace, pods, conditions)]
    images = {each["displayName"]: ran.image for each in tasks if (ran := _last(each, nodes, pods))}
    # the graph has ended before the pod of the exit handler has
    graph = status.get("nodes", {}).get(name, {})
    ended = ENDS.get(status.get("phase"), "") or ENDS.get(graph.get("phase"), "")
    if workflow.get("spec", {}).get("shutdown"):
        stopped = [part for part in parts if part.state != "failed"]
        return Seen(stopped, "failed" if ended else "", "was stopped" if ended else "", images)
    if any(part.state == "failed" for part in parts):
        ended = "failed"
    return Seen(parts, cast(Any, ended), pod_events.words(status.get("message", "")), images)


def _is_task(node: Object, run: str) -> bool:
    """Whether a node is of a task of the graph, or of the one pod of a workflow without a graph."""
    return node.get("boundaryID") == run or (node["id"] == run and node["type"] in ("Pod", "Retry"))


def _tries(task: Object, nodes: Sequence[Object]) -> list[Object]:
    """The nodes of the pods of a task."""
    return [each for each in nodes if each["type"] == "Pod" and each["id"] in (*task.get("children", ()), task["id"])]


def _inside(task: Object, nodes: Sequence[Object]) -> list[Object]:
    """The nodes of the pods of a task that is a graph of its own."""
    return [each for each in nodes if each["type"] == "Pod" and each.get("boundaryID") == task["id"]]


def _last(task: Object, nodes: Sequence[Object], pods: Pods) -> Ran | None:
    """The container of a task that ended; of a task with several pods, that of one of them."""
    if tries := _tries(task, nodes):
        return pods.ended.get(tries[-1]["id"])
    return next((ran for each in _inside(task, nodes) if (ran := pods.ended.get(each["id"]))), None)


def _parts(
    task: Object,
    nodes: Sequence[Object],
    workflow: Object,
    namespace: str,
    pods: Pods,
    conditions: Mapping[str, str | None],
) -> Iterator[Part]:
    """The status of a task, with its lost attempts."""
    name, state = task["displayName"], STATES.get(task["phase"], "runs")
    tries = _tries(task, nodes)
    inside = [each for each in _inside(task, nodes) if each["phase"] in ("Failed", "Error")]
    for each in filter(retries.again, inside):
        yield Part(name, "again", note=f"{each['displayName']} was lost: {retries.reason(each, workflow)}")
    failed = [each for each in tries if each["phase"] in ("Failed", "Error")]
    if tries and tries[-1] in failed and not retries.again(tries[-1]):
        state = "failed"  # Argo says so after the backoff
    for number, each in enumerate(failed[:-1] if state == "failed" else failed, start=1):
        yield Part(name, "again", note=f"try {number} was lost: {retries.reason(each, workflow)}")
    if state == "skipped":
        condition = conditions.get(name)
        why = f"{condition} is not true" if condition and task["phase"] == "Skipped" else "a step before it did not end"
        yield Part(name, state, note=why)
    elif state == "failed":
        final = [each for each in inside if not retries.again(each)] or inside
        yield Part(name, state, note=retries.reason([task, *final, *failed][-1], workflow))
    elif state == "ran":
        ran = pods.ended.get(tries[-1]["id"]) if tries else None
        yield Part(name, state, ran.seconds if ran else _between(task))
    else:
        note = _note(tries[-1] if tries else task, namespace, pods)
        yield Part(name, "waits" if note else "runs", note=note)


def _note(node: Object, namespace: str, pods: Pods) -> str:
    """Why a task does not run yet; "" if it does."""
    if node["phase"] != "Pending":
        return ""
    message = node.get("message", "")
    return pod_events.words(message) if message not in pod_events.NORMAL else pods.waits(namespace, node)
