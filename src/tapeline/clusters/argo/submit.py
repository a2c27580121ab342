"""Runs on Argo Workflows, by kubectl.

Each run has the whole spec in itself: that of the WorkflowTemplate on the cluster, if it is the one that was built
here, or else the one that was built here. So nobody can change what a run does once it was compared.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from tapeline.clusters import emit as build
from tapeline.clusters import kubectl
from tapeline.clusters import pod_spec as pods
from tapeline.clusters import run_status as outcome
from tapeline.clusters.argo import handover, live, preflight, repository, status
from tapeline.clusters.argo import template as argo
from tapeline.clusters.plan import Plan, split
from tapeline.clusters.run_status import SECONDS, Seen
from tapeline.config import secrets
from tapeline.config.overrides import parse
from tapeline.config.schema import Argo, Config
from tapeline.console import LOG
from tapeline.errors import refuse
from tapeline.lookup import configure as compose
from tapeline.pipeline.graph import FETCHED, METRICS, pipeline

Object = Mapping[str, Any]

OVERRIDES = "tapeline.dev/overrides"
"""Annotation of a run: the overrides with which it was submitted, as JSON."""
LIMIT = 300
"""Seconds in which a pod must have copied the files of a run."""
_PODS = status.Pods()


def check(config: Config, overrides: Sequence[str]) -> list[str]:
    """Where a run would be; nothing is started.

    Raises:
        Refused: something is missing there.
    """
    plan = build.laid_out(config, overrides)
    preflight.check(plan, argo.template(plan).to_dict()["spec"])
    return [f"namespace {plan.target.namespace} lacks nothing that the run needs"]


def begin(config: Config, overrides: Sequence[str], *, apply: bool) -> str:
    """Start a run of the template of these overrides, with some of them as parameters.

    Raises:
        Refused: neither the cluster has the template nor `apply` allows to run without it, something is missing in
            the namespace, or a parameter is not plain.
    """
    exact = build.laid_out(config, overrides)
    there, other = _on_cluster(exact, overrides)
    if there is not None:
        return _create(exact, there, {}, overrides)
    built, submitted = split(parse(overrides), exact.target.parameters)
    general = build.laid_out(compose(built), built)
    there, other = _on_cluster(general, built)
    if there is not None:
        return _create(general, there, submitted, overrides)
    if not apply:
        problem = f"the cluster has {other} template of that name in namespace {general.target.namespace}"
        fix = f"add apply=true, which changes no template of the cluster, or: {_by_hand(general, built)}"
        raise refuse(general.name, problem, fix)
    return _create(exact, argo.template(exact).to_dict()["spec"], {}, overrides)


def _on_cluster(plan: Plan, overrides: Sequence[str]) -> tuple[Object | None, str]:
    """The spec of the cluster's template, if it is this one; else what it has instead."""
    there = kubectl.get(plan.target.namespace, "workflowtemplate", plan.name)
    if there is None:
        kubectl.need(plan.target.namespace, {})
        return None, "no"
    paths = live.differences(there["spec"], argo.template(plan).to_dict()["spec"], parse(overrides))
    if not paths:
        return there["spec"], ""
    shown = ", ".join(paths[:3]) + (f", and {len(paths) - 3} more" if len(paths) > 3 else "")
    return None, f"another ({shown})"


def _by_hand(plan: Plan, overrides: Sequence[str]) -> str:
    line = shlex.join(["make", "build", *overrides])
    return f"{line} && kubectl apply -f {plan.target.folder}/{argo.folder(plan)}{plan.name}.yaml"


def _create(plan: Plan, spec: Object, submitted: Mapping[str, str], overrides: Sequence[str]) -> str:
    """Create the workflow with this spec, and these parameters by key."""
    preflight.check(plan, spec)
    names = {each.name: each.key for each in plan.parameters}
    parameters = [
        {**each, "value": submitted.get(names.get(each["name"], ""), each.get("value", ""))}
        for each in spec.get("arguments", {}).get("parameters", ())
    ]
    about = {
        "generateName": f"{plan.name}-",
        "labels": pods.LABELS,
        "annotations": {OVERRIDES: json.dumps([secrets.written(text) for text in overrides])},
    }
    run = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": about,
        "spec": {**spec, "arguments": {"parameters": parameters}} if parameters else dict(spec),
    }
    return kubectl.create(plan.target.namespace, run)


def look(config: Config, run: str) -> Seen:
    """From the workflow's nodes and pods."""
    conditions = {step.name: step.when for step in pipeline(config)}
    return status.seen(found(config, run), _namespace(config), _PODS, conditions)


def found(config: Config, run: str) -> Object:
    """The workflow of a run.

    Raises:
        Refused: it does not exist any more.
    """
    there = kubectl.get(_namespace(config), "workflow", run, kubectl.PATIENCE)
    if there is None:
        raise refuse(
            run, "the workflow does not exist any more", "it was deleted, or it ended long ago; submit it again"
        )
    return there


def fetch(config: Config, run: str) -> dict[str, bytes]:
    """Files from the artifact repository, if it can be reached, or else by a pod that writes them to its log.

    Raises:
        Refused: there are none, or they cannot be copied in time.
    """
    workflow = found(config, run)
    keys = repository.keys(workflow, {made.name: made.file for made in FETCHED})
    if METRICS.file not in keys:
        raise refuse(run, "has no metrics.json in the artifact repository", f"see {hint(config, run)}")
    return copied(config, run, workflow, keys, METRICS.file)


def copied(config: Config, run: str, workflow: Object, keys: Mapping[str, str], needed: str) -> dict[str, bytes]:
    """Files of the artifact repository, by name.

    Args:
        config: of the run.
        run: its name.
        workflow: the object.
        keys: the key of each file.
        needed: the file without which the others are of no use.

    Raises:
        Refused: they cannot be copied in time.
    """
    target = cast(Argo, config.target)
    for root, options in repository.roots(workflow, target.artifacts):
        content = repository.read(root, options, keys)
        if not isinstance(content, str):
            return content
        if target.artifacts:
            LOG.info("target.artifacts=%s: cannot be read (%s); a pod copies the files", root, content)
    return _by_pod(config, run, workflow, keys, needed)


def _by_pod(config: Config, run: str, workflow: Object, keys: Mapping[str, str], needed: str) -> dict[str, bytes]:
    namespace = _namespace(config)
    pod = kubectl.create(namespace, handover.workflow(run, workflow, keys, cast(Argo, config.target), LIMIT))
    deadline, waits = time.monotonic() + LIMIT, ""
    while not (seen := look(config, pod)).ended:
        for part in seen.parts:
            if part.note and part.note != waits:
                waits = part.note
                LOG.info("  the pod that copies the files: %s", waits)
        if time.monotonic() > deadline:
            kubectl.delete(namespace, "workflow", pod)
            problem = f"succeeded, but its files were not copied in {LIMIT} s" + (f": {waits}" if waits else "")
            raise refuse(run, problem, _another_way(run, keys[needed]))
        time.sleep(SECONDS)
    if seen.ended == "failed":
        reasons = [part.note for part in seen.parts if part.state == "failed"] or [seen.message]
        raise refuse(run, f"succeeded, but its files cannot be copied: {reasons[0]}", _another_way(run, keys[needed]))
    return outcome.unpack(kubectl.logs(namespace, f"workflows.argoproj.io/workflow={pod}", "main"), run, needed)


def _another_way(run: str, key: str) -> str:
    return (
        f"try again (submit: with run={run}), read {key} in the artifact repository, or set target.artifacts to an "
        "address of it that is reached from here"
    )


def stop(config: Config, run: str) -> None:
    """Stop a run; its exit handler still runs.

    Raises:
        Refused: it does not exist, or has ended.
    """
    phase = found(config, run).get("status", {}).get("phase", "")
    if phase in status.ENDS:
        raise refuse(run, f"has ended already ({phase})", f"copy its files with run={run}, without stop")
    kubectl.patch(_namespace(config), "workflow", run, {"spec": {"shutdown": "Stop"}})


def hint(config: Config, run: str) -> str:
    """Wait until one of its conditions changes."""
    return f"kubectl -n {_namespace(config)} get workflow {run} --watch"


def _namespace(config: Config) -> str:
    return cast(Argo, config.target).namespace
