"""The Argo Workflow into which KFP compiles a run: what its nodes say of each task.

For a task `train` it has a pod `train-driver`, a DAG `train`, and in it `executor`, which is skipped where KFP's cache
has the result, with a pod `executor(0)` for each attempt. A task with a condition is in a DAG of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tapeline.clusters.run_status import Part, State

LOST = ("Failed", "Error")
SKIPPED = ("Skipped", "Omitted")
STARTING = ("", "PodInitializing", "ContainerCreating")
BLAND = re.compile(r"(main: )?Error \(exit code \d+\)|No more retries left|child '.*' failed|")
"""Messages of nodes that say no reason."""
LAUNCHER = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\S* +\d+ \S+\] ")
"""The start of a log line of KFP's driver and launcher."""
OURS = "tapeline: "
KEYS = ("id", "displayName", "type", "phase", "message", "templateName", "boundaryID", "startedAt", "finishedAt")
"""Of a node in Argo, in the order of ours."""


@dataclass(frozen=True)
class Node:
    """A node of the workflow."""

    id: str
    name: str
    kind: str
    phase: str
    message: str
    template: str
    within: str
    """The id of the DAG that it is in."""
    started: str
    done: str

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Node:
        """Of a node's status."""
        return cls(*(str(record.get(key) or "") for key in KEYS))

    @property
    def waits(self) -> bool:
        """Whether its pod has not started, with a reason."""
        return self.phase == "Pending" and self.message not in STARTING

    @property
    def seconds(self) -> float:
        """From start to end."""
        if not (self.started and self.done):
            return 0.0
        return (datetime.fromisoformat(self.done) - datetime.fromisoformat(self.started)).total_seconds()


@dataclass(frozen=True)
class Workflow:
    """The workflow of a run."""

    name: str
    namespace: str
    message: str
    stopped: bool
    """Whether someone ended it."""
    nodes: Sequence[Node]
    """The oldest first."""

    @classmethod
    def read(cls, manifest: str) -> Workflow | None:
        """Of the text that KFP stores; None where it stores none yet."""
        if not manifest:
            return None
        record = json.loads(manifest)
        about, status = record["metadata"], record.get("status", {})
        nodes = sorted(map(Node.read, (status.get("nodes") or {}).values()), key=lambda node: node.started)
        # KFP ends a run by setting its time limit to 0
        stopped = record.get("spec", {}).get("activeDeadlineSeconds") == 0
        return cls(str(about["name"]), str(about["namespace"]), status.get("message", ""), stopped, nodes)

    def pod(self, node: Node) -> str:
        """The name of a node's pod."""
        return f"{self.name}-{node.template}-{node.id.rpartition('-')[2]}"

    def attempts(self, task: str) -> list[Node]:
        """The pods of a task in their order, without its driver's."""
        dag = self._dag(task)
        return [each for each in self.nodes if dag and each.kind == "Pod" and each.within == dag.id]

    def failed(self, name: str) -> Node | None:
        """The pod that made a task fail, its last attempt or its driver; or the failed pod of this name."""
        pods = [*self._drivers(name), *self.attempts(name), *(each for each in self.nodes if each.name == name)]
        lost = [each for each in pods if each.kind == "Pod" and each.phase in LOST]
        return lost[-1] if lost else None

    def others(self, tasks: Iterable[str], ended: str) -> list[Part]:
        """Pods that wait or made the run fail, and are of none of these tasks: the driver of the whole graph is one."""
        known = {pod.id for task in tasks for pod in (*self._drivers(task), *self.attempts(task))}
        pods = [each for each in self.nodes if each.kind == "Pod" and each.id not in known]
        found = [Part(each.name, "waits", note=each.message) for each in pods if each.waits]
        lost = [each for each in pods if each.phase in LOST and ended == "failed"]
        return found + [Part(each.name, "failed", note=each.message) for each in lost]

    def parts(self, task: str, condition: str | None, ended: str) -> list[Part]:
        """The status of a task: lost attempts, then the present state; nothing before KFP comes to it."""
        dag, pods, drivers = self._dag(task), self.attempts(task), self._drivers(task)
        if dag is None and not drivers:
            skipped = condition and ended == "succeeded"
            return [Part(task, "skipped", note=f"{condition} is not true")] if skipped else []
        state = self._state(dag, drivers)
        if state is None:
            return []
        lost = [each for each in pods if each.phase in LOST]
        parts = [
            Part(task, "again", note=f"try {number} was lost: {each.message or each.phase}")
            for number, each in enumerate(lost[:-1] if state == "failed" else lost, start=1)
        ]
        if state == "ran":
            return [*parts, Part(task, state, pods[-1].seconds if pods else 0.0)]
        if state == "skipped":
            return [*parts, Part(task, state, note=f"{condition} is not true" if condition else "")]
        last = [*drivers, *pods][-1:]
        if state == "runs" and last and last[0].waits:
            return [*parts, Part(task, "waits", note=last[0].message)]
        return [*parts, Part(task, state)]

    def _state(self, dag: Node | None, drivers: Sequence[Node]) -> State | None:
        """None where it never ran, since an earlier task failed."""
        if dag is None or dag.phase in SKIPPED:
            if drivers and drivers[-1].phase in LOST:
                return "failed"
            return "runs" if dag is None else "skipped" if dag.phase == "Skipped" else None
        if dag.phase in LOST:
            return "failed"
        inner = [each for each in self.nodes if each.within == dag.id and each.name == "executor"]
        if inner and inner[-1].phase in SKIPPED:
            return "cached"
        return "ran" if dag.phase == "Succeeded" else "runs"

    def _dag(self, task: str) -> Node | None:
        """The newest one of a task."""
        found = [each for each in self.nodes if each.name == task and each.kind != "Pod"]
        return found[-1] if found else None

    def _drivers(self, task: str) -> list[Node]:
        """Its pods that are drivers: one for each try."""
        pods = (each for each in self.nodes if each.kind == "Pod")
        return [each for each in pods if re.fullmatch(rf"{re.escape(task)}-driver(\(\d+\))?", each.name)]


def reason(message: str, log: str) -> str:
    """Why a pod failed: what tapeline said, or else the cluster, or else the last line of its log."""
    if "OOMKilled" in message:
        return f"{message}; its memory is hw.limits.memory for tune and train, target.limits.memory for other steps"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    said = [line.partition(OURS)[2] for line in lines if OURS in line]
    if said:
        return "; ".join(dict.fromkeys(said))
    if not BLAND.fullmatch(message):
        return message
    program = [line for line in lines if not LAUNCHER.match(line)]
    launcher = [LAUNCHER.sub("", line) for line in lines if LAUNCHER.match(line)]
    return next((each[-1] for each in (program, launcher) if each), message)
