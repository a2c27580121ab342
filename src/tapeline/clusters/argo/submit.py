"""Runs of a WorkflowTemplate, by kubectl.

The template must be in the cluster, and be this very one. Keys of `target.parameters` may differ: they go
along with the run.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from tapeline.clusters import emit as build
from tapeline.clusters import kubectl
from tapeline.clusters import pod_spec as pods
from tapeline.clusters import run_status as outcome
from tapeline.clusters.argo import template as argo
from tapeline.clusters.plan import Plan, Task, split
from tapeline.clusters.run_status import SECONDS, Part, Seen, State
from tapeline.config.overrides import parse
from tapeline.config.schema import Argo, Config
from tapeline.errors import refuse
from tapeline.lookup import configure as compose
from tapeline.pipeline.graph import pipeline

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
STARTING = ("", "PodInitializing", "ContainerCreating")


def begin(config: Config, overrides: Sequence[str], *, apply: bool) -> str:
    """Start a run of the template of these overrides, with some of them as parameters.

    Raises:
        Refused: the template or what it needs is not in the cluster, or a parameter is not plain.
    """
    exact = build.laid_out(config, overrides)
    kubectl.need(exact.target.namespace, needs(exact.tasks, exact))
    if _there(exact)[0]:
        return _create(exact, {})
    built, submitted = split(parse(overrides), exact.target.parameters)
    general = build.laid_out(compose(built), built)
    kubectl.need(general.target.namespace, needs(general.tasks, general))
    same, which = _there(general)
    if not same and not apply:
        problem = f"the cluster has {which} template of that name in namespace {general.target.namespace}"
        raise refuse(general.name, problem, f"add apply=true, or: {_by_hand(general, built)}")
    if not same:
        kubectl.apply(general.target.namespace, argo.template(general).to_dict())
    return _create(general, submitted)


def _there(plan: Plan) -> tuple[bool, str]:
    """Whether the cluster has this template, another one of its name, or none."""
    there = kubectl.get(plan.target.namespace, "workflowtemplate", plan.name)
    if there is None:
        return False, "no"
    digest = (argo.template(plan).annotations or {})[argo.DIGEST]
    return there["metadata"].get("annotations", {}).get(argo.DIGEST) == digest, "another"


def needs(tasks: Iterable[Task], plan: Plan) -> dict[tuple[str, str], str]:
    """Objects that the namespace needs, with the key of the configuration that names each."""
    target, wanted = plan.target, dict[tuple[str, str], str]()
    names = {
        target.models_claim: "models_claim",
        target.data_claim: "data_claim",
        target.store_secret: "store_secret",
        **({target.store_read_secret: "store_read_secret"} if target.store_read_secret else {}),
        target.data_secret: "data_secret",
        target.runner: "runner",
        target.publisher: "publisher",
    }
    for task in tasks:
        wanted |= {("persistentvolumeclaim", each.claim): f"target.{names[each.claim]}" for each in task.mounts}
        wanted |= {("secret", each.name): f"target.{names[each.name]}" for each in task.secrets}
        wanted[("serviceaccount", task.account)] = f"target.{names[task.account]}"
    if target.pull_secret:
        wanted[("secret", target.pull_secret)] = "target.pull_secret"
    if isinstance(target, Argo):
        wanted[("serviceaccount", target.executor)] = "target.executor"
    if isinstance(target, Argo) and plan.config.hw.accelerator:
        wanted[("configmap", target.semaphore)] = "target.semaphore"
    return wanted


def look(config: Config, run: str) -> Seen:
    """From the workflow's nodes: one for each task, with a child node for each attempt."""
    workflow = kubectl.get(_namespace(config), "workflow", run, kubectl.PATIENCE)
    if workflow is None:
        raise refuse(
            run, "the workflow does not exist any more", "it was deleted, or it ended long ago; submit it again"
        )
    conditions = {step.name: step.when for step in pipeline(config)}
    status = workflow.get("status", {})
    nodes = sorted(status.get("nodes", {}).values(), key=lambda node: str(node.get("startedAt")))
    parts = [part for node in nodes if node["type"] in ("Retry", "Skipped") for part in _parts(node, nodes, conditions)]
    ended = {"Succeeded": "succeeded", "Failed": "failed", "Error": "failed"}.get(status.get("phase"), "")
    return Seen(parts, cast(Any, ended), status.get("message", ""))


def _parts(
    node: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], conditions: Mapping[str, str | None]
) -> Iterator[Part]:
    """The status of a task, with its lost attempts."""
    name, state = node["displayName"], STATES.get(node["phase"], "runs")
    tries = [each for each in nodes if each["type"] == "Pod" and each["id"] in node.get("children", [])]
    lost = [outcome.reason(each.get("message", "")) for each in tries if each["phase"] in ("Failed", "Error")]
    for number, reason in enumerate(lost[:-1] if state == "failed" else lost, start=1):
        yield Part(name, "again", note=f"try {number} was lost: {reason}")
    note = tries[-1].get("message", "") if tries else node.get("message", "")
    if state == "skipped":
        yield Part(name, state, note=f"{conditions.get(name)} is not true")
    elif state == "failed":
        yield Part(name, state, note=lost[-1] if lost else node.get("message", ""))
    elif state == "ran":
        yield Part(name, state, _seconds(node))
    elif note not in STARTING and (not tries or tries[-1]["phase"] == "Pending"):
        yield Part(name, "waits", note=note)
    else:
        yield Part(name, "runs")


def _seconds(node: Mapping[str, Any]) -> float:
    begun, ended = (datetime.fromisoformat(node[key]) for key in ("startedAt", "finishedAt"))
    return (ended - begun).total_seconds()


def fetch(config: Config, run: str) -> dict[str, bytes]:
    """Files by a pod that reads them from the artifact repository and writes them to its log."""
    namespace = _namespace(config)
    pod = kubectl.create(namespace, argo.handover(cast(Argo, config.target), run).to_dict())
    while not (seen := look(config, pod)).ended:
        time.sleep(SECONDS)
    if seen.ended == "failed":
        place = f"{namespace}/{run}/ in the artifact repository"
        raise refuse(
            run, f"succeeded, but its files cannot be copied: {seen.message}", f"read metrics.json from {place}"
        )
    return outcome.unpack(kubectl.logs(namespace, f"workflows.argoproj.io/workflow={pod}", "main"), run)


def hint(config: Config, run: str) -> str:
    """Wait until one of its conditions changes."""
    return f"kubectl -n {_namespace(config)} get workflow {run} --watch"


def _namespace(config: Config) -> str:
    return cast(Argo, config.target).namespace


def _by_hand(plan: Plan, overrides: Sequence[str]) -> str:
    line = shlex.join(["make", "build", *overrides])
    return f"{line} && kubectl apply -f {plan.target.folder}/{plan.name}.yaml"


def _create(plan: Plan, submitted: Mapping[str, str]) -> str:
    from hera.workflows import Workflow
    from hera.workflows import models as m

    names = {each.key: each.name for each in plan.parameters}
    given = {names[key]: value for key, value in submitted.items()}
    run = Workflow(
        generate_name=f"{plan.name}-",
        labels=pods.LABELS,
        workflow_template_ref=m.WorkflowTemplateRef(name=plan.name),
        arguments=m.Arguments(parameters=[m.Parameter(name=name, value=value) for name, value in given.items()]),
    )
    return kubectl.create(plan.target.namespace, run.to_dict())
