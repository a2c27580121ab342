"""A sweep's workflow on the cluster: it is started or found, looked at, and its results are copied."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from tapeline.clusters import kubectl
from tapeline.clusters.argo import preflight, status, submit
from tapeline.clusters.argo import sweep as argo
from tapeline.clusters.run_status import Part
from tapeline.clusters.sweep import Sweep
from tapeline.config import secrets

Object = Mapping[str, Any]

_PODS = status.Pods()
_ITEM = re.compile(r"([\w-]+)\(\d+:(\w+)\)")
"""The name of a node that was made from an item of a list."""


@dataclass(frozen=True)
class Look:
    """The status of a sweep."""

    ended: Literal["", "succeeded", "failed"]
    parts: Sequence[Part]
    """Of pods that belong to no job."""
    jobs: Sequence[Part]
    """Of the jobs' pods, by the names of the jobs."""
    said: Mapping[str, str]
    """By job: its result in one line."""
    missing: frozenset[str] | None
    """The jobs without a result when it began; None: not known yet."""
    files: int
    """The number of files with packed results."""
    message: str = ""


def check(sweep: Sweep) -> None:
    """Check what its pods need in the namespace.

    Raises:
        Refused: all that is missing.
    """
    preflight.check(sweep.plan, argo.workflow(sweep, {})["spec"])


def running(sweep: Sweep) -> str | None:
    """The newest workflow of this sweep that has not ended."""
    found = kubectl.items(sweep.target.namespace, "workflows", f"{argo.SWEEP}={sweep.name}")
    own = [each for each in found if each["metadata"].get("labels", {}).get(argo.SWEEP) == sweep.name]
    live = [each for each in own if each.get("status", {}).get("phase") not in status.ENDS and not _stops(each)]
    names = sorted((each["metadata"]["creationTimestamp"], each["metadata"]["name"]) for each in live)
    return names[-1][1] if names else None


def _stops(workflow: Object) -> bool:
    return bool(workflow.get("spec", {}).get("shutdown"))


def begin(sweep: Sweep, overrides: Sequence[str]) -> str:
    """Start the workflow; return its name."""
    typed = json.dumps([secrets.written(text) for text in overrides])
    return kubectl.create(sweep.target.namespace, argo.workflow(sweep, {submit.OVERRIDES: typed}))


def look(sweep: Sweep, run: str) -> Look:
    """From the workflow's nodes and pods.

    Raises:
        Refused: it does not exist any more.
    """
    workflow = submit.found(sweep.plan.config, run)
    nodes = workflow.get("status", {}).get("nodes", {})
    groups = {node["displayName"] for node in nodes.values() if node["type"] == "TaskGroup"}
    seen = status.seen(workflow, sweep.target.namespace, _PODS, {})
    parts = [part for part in seen.parts if part.name not in groups]
    named = {part.name: _job(part.name) for part in parts}
    # the phase of the workflow, not that of its graph: outputs of the last pod may come after its end
    return Look(
        cast(Any, status.ENDS.get(workflow.get("status", {}).get("phase"), "")),
        [part for part in parts if not named[part.name]],
        [Part(named[part.name], part.state, part.seconds, part.note) for part in parts if named[part.name]],
        _said(nodes),
        _missing(nodes),
        int(_output(nodes, argo.LEADERBOARD, argo.PARTS) or 0),
        "was stopped" if _stops(workflow) else seen.message,
    )


def _job(node: str) -> str:
    """The job of a node's name; "" for others."""
    found = _ITEM.fullmatch(node)
    return found[2] if found and re.fullmatch(rf"{argo.JOBS}(-\d+)?", found[1]) else ""


def _said(nodes: Mapping[str, Object]) -> dict[str, str]:
    names = {node["displayName"]: _job(node["displayName"]) for node in nodes.values()}
    return {name: line for node, name in names.items() if name and (line := _output(nodes, node, argo.SAID))}


def _missing(nodes: Mapping[str, Object]) -> frozenset[str] | None:
    """The jobs in the lists that the pod `find` made."""
    lists = [
        json.loads(each["value"])
        for node in nodes.values()
        if node["displayName"] == argo.FIND and node["phase"] == "Succeeded"
        for each in node.get("outputs", {}).get("parameters", ())
        if each["name"].startswith(argo.JOBS)
    ]
    return frozenset(name for each in lists for name in each) if lists else None


def _output(nodes: Mapping[str, Object], name: str, parameter: str) -> str:
    """An output parameter of a task that has succeeded; "" if there is none."""
    for node in nodes.values():
        if node["displayName"] == name and node["phase"] == "Succeeded":
            for each in node.get("outputs", {}).get("parameters", ()):
                if each["name"] == parameter:
                    return str(each.get("value", ""))
    return ""


def fetch(sweep: Sweep, run: str, number: int) -> list[bytes]:
    """The files with packed results.

    Raises:
        Refused: they cannot be copied in time.
    """
    workflow, config = submit.found(sweep.plan.config, run), sweep.plan.config
    names = [argo.part(at) for at in range(number)]
    where = f"{argo.prefix(sweep.name)}/files"
    return [submit.copied(config, run, workflow, {each: f"{where}/{each}"}, each)[each] for each in names]


def hint(sweep: Sweep, run: str) -> str:
    """The command that shows its progress."""
    return submit.hint(sweep.plan.config, run)
