"""Runs of a WorkflowTemplate, by kubectl.

The template must be in the cluster, and be this very one. Keys of `target.parameters` may differ: they go
along with the run.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from tapeline.config import Config, compose
from tapeline.errors import refuse
from tapeline.graph import step
from tapeline.targets import argo, build, outcome, pods
from tapeline.targets.plan import Plan, Task, plain
from tapeline.targets.submit import SECONDS, Part, Seen, State, kubectl

if TYPE_CHECKING:
    from hera.workflows import WorkflowTemplate

STATES: dict[str, State] = {
    "Pending": "waits",
    "Running": "runs",
    "Succeeded": "ran",
    "Skipped": "skipped",
    "Omitted": "skipped",
    "Failed": "failed",
    "Error": "failed",
}
"""Of a node, in our words."""
STARTING = ("PodInitializing", "ContainerCreating")


def begin(config: Config, overrides: Sequence[str], *, apply: bool) -> str:
    """Start a run of the template that these overrides build, or of the one that takes some as parameters.

    Raises:
        Refused: the template or what it needs is not in the cluster, or a parameter is not plain.
    """
    exact = build.laid_out(config, overrides)
    built = [text for text in overrides if _key(text) not in exact.target.parameters]
    values = [text for text in overrides if text not in built]
    general = build.laid_out(compose(built), built)
    namespace = exact.target.namespace
    kubectl.need(namespace, needs(exact.tasks, exact))
    for plan, given in ((exact, []), (general, values)):
        made = argo.template(plan)
        there = kubectl.get(namespace, "workflowtemplate", plan.name)
        if there and there["metadata"].get("annotations", {}).get(argo.DIGEST) == _digest(made):
            return _create(plan, given)
    if not apply:
        problem = f"the cluster has {'another' if there else 'no'} template of that name in namespace {namespace}"
        raise refuse(general.name, problem, f"add apply=true, or: {_by_hand(general, built)}")
    kubectl.apply(namespace, made.to_dict())
    return _create(general, values)


def needs(tasks: Iterable[Task], plan: Plan) -> dict[tuple[str, str], str]:
    """What must be in the namespace, and the key of the configuration that names it."""
    target, wanted = plan.target, dict[tuple[str, str], str]()
    names = {
        target.models_claim: "models_claim",
        target.data_claim: "data_claim",
        target.store_secret: "store_secret",
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
    if isinstance(target, argo.Section) and plan.config.hw.accelerator:
        wanted[("configmap", target.semaphore)] = "target.semaphore"
    return wanted


def look(config: Config, run: str) -> Seen:
    """By the workflow's nodes: each task has one, with a node for each try below."""
    workflow = kubectl.get(_namespace(config), "workflow", run, kubectl.PATIENCE)
    if workflow is None:
        raise refuse(run, "the workflow is gone", "someone deleted it, or it ended long ago")
    status = workflow.get("status", {})
    nodes = sorted(status.get("nodes", {}).values(), key=lambda node: str(node.get("startedAt")))
    parts = [_part(node, nodes) for node in nodes if node["type"] in ("Retry", "Skipped")]
    ended = {"Succeeded": "succeeded", "Failed": "failed", "Error": "failed"}.get(status.get("phase"), "")
    return Seen(parts, cast(Any, ended), status.get("message", ""))


def _part(node: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> Part:
    name, state = node["displayName"], STATES.get(node["phase"], "runs")
    tries = [each for each in nodes if each["type"] == "Pod" and each["id"] in node.get("children", [])]
    if state == "skipped":
        return Part(name, state, note=f"{step(name).when} is not true")
    last = tries[-1] if tries else node
    note = last.get("message", "")
    if state == "failed":
        return Part(name, state, note=outcome.reason(note))
    if state == "ran":
        return Part(name, state, _seconds(node))
    if last["phase"] in ("Failed", "Error"):
        return Part(name, "again", note=f"try {len(tries)} was lost: {outcome.reason(note)}")
    if last["phase"] == "Pending" and note and note not in STARTING:
        return Part(name, "waits", note=note)
    return Part(name, "runs")


def _seconds(node: Mapping[str, Any]) -> float:
    begun, ended = (datetime.fromisoformat(node[key]) for key in ("startedAt", "finishedAt"))
    return (ended - begun).total_seconds()


def fetch(config: Config, run: str) -> dict[str, bytes]:
    """By a pod that takes them from the artifact repository and writes them to its log."""
    namespace = _namespace(config)
    pod = kubectl.create(namespace, argo.handover(cast(argo.Section, config.target), run).to_dict())
    while not (seen := look(config, pod)).ended:
        time.sleep(SECONDS)
    if seen.ended == "failed":
        place = f"{namespace}/{run}/ in the artifact repository"
        raise refuse(run, f"succeeded, but cannot be fetched: {seen.message}", f"take metrics.json from {place}")
    return outcome.unpack(kubectl.logs(namespace, f"workflows.argoproj.io/workflow={pod}", "main"), run)


def hint(config: Config, run: str) -> str:
    """As its conditions change."""
    return f"kubectl -n {_namespace(config)} get workflow {run} --watch"


def _namespace(config: Config) -> str:
    return cast(argo.Section, config.target).namespace


def _key(text: str) -> str:
    return text.lstrip("+").partition("=")[0]


def _digest(made: WorkflowTemplate) -> str:
    return (made.annotations or {})[argo.DIGEST]


def _by_hand(plan: Plan, overrides: Sequence[str]) -> str:
    line = shlex.join(["make", "build", *overrides])
    return f"{line} && kubectl apply -f {plan.target.folder}/{plan.name}.yaml"


def _create(plan: Plan, values: Sequence[str]) -> str:
    from hera.workflows import Workflow
    from hera.workflows import models as m

    names = {each.key: each.name for each in plan.parameters}
    told = [plain(text).lstrip("+").partition("=") for text in values]
    run = Workflow(
        generate_name=f"{plan.name}-",
        labels=pods.LABELS,
        workflow_template_ref=m.WorkflowTemplateRef(name=plan.name),
        arguments=m.Arguments(parameters=[m.Parameter(name=names[key], value=value) for key, _, value in told]),
    )
    return kubectl.create(plan.target.namespace, run.to_dict())
