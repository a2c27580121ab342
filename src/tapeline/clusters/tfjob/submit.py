"""Runs as a TFJob, by kubectl. The job contains the whole configuration: there is no template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from tapeline.clusters import emit as build
from tapeline.clusters import kubectl
from tapeline.clusters import run_status as outcome
from tapeline.clusters.argo.preflight import needs
from tapeline.clusters.plan import whole
from tapeline.clusters.run_status import Part, Seen, State
from tapeline.clusters.tfjob import job as tfjob
from tapeline.config.schema import Cluster, Config
from tapeline.errors import Refused, refuse

LINE = re.compile(r"^  (\w+) +(ran|cached|skipped) +(.*)$", re.MULTILINE)
"""The log line of `tapeline run` about a step."""


def check(config: Config, overrides: Sequence[str]) -> list[str]:
    """Where a run would be; nothing is started.

    Raises:
        Refused: something is missing there.
    """
    plan = build.laid_out(config, overrides)
    kubectl.need(plan.target.namespace, needs([whole(plan)], plan))
    return [f"namespace {plan.target.namespace} lacks nothing that the run needs"]


def begin(config: Config, overrides: Sequence[str], *, apply: bool) -> str:
    """Create the job."""
    plan = build.laid_out(config, overrides)
    kubectl.need(plan.target.namespace, needs([whole(plan)], plan))
    return kubectl.create(plan.target.namespace, tfjob.job(plan, "files=true"))


def look(config: Config, run: str) -> Seen:
    """From the job's conditions and the worker's log."""
    namespace = _namespace(config)
    job = kubectl.get(namespace, "tfjob", run, kubectl.PATIENCE) or {}
    content = job.get("status", {}).get("conditions", [])
    true = {each["type"]: each.get("message", "") for each in content if each["status"] == "True"}
    if not job or "Failed" in true:
        return Seen([], "failed", _reason(namespace, run) or true.get("Failed", "the job is gone"))
    parts = [_part(*found) for found in LINE.findall(_log(namespace, run))]
    return Seen(parts, "succeeded" if "Succeeded" in true else "")


def _part(name: str, how: str, detail: str) -> Part:
    if how == "ran":
        return Part(name, "ran", float(detail.partition(" ")[0]))
    return Part(name, cast(State, how), note=detail)


def fetch(config: Config, run: str) -> dict[str, bytes]:
    """The files at the end of the worker's log."""
    return outcome.unpack(_log(_namespace(config), run), run)


def hint(config: Config, run: str) -> str:
    """The worker's log."""
    return f"kubectl -n {_namespace(config)} logs -f -l {_label(run)}"


def stop(config: Config, run: str) -> None:
    """Delete the job: a TFJob has nothing else that ends it.

    Raises:
        Refused: there is none.
    """
    if kubectl.get(_namespace(config), "tfjob", run) is None:
        raise refuse(run, "the TFJob does not exist", "see kubectl get tfjobs")
    kubectl.delete(_namespace(config), "tfjob", run)


def _namespace(config: Config) -> str:
    return cast(Cluster, config.target).namespace


def _label(run: str) -> str:
    return f"training.kubeflow.org/job-name={run}"


def _log(namespace: str, run: str) -> str:
    try:
        return kubectl.logs(namespace, _label(run), "tensorflow")
    except Refused as error:
        # its container has not started, or is being replaced
        if re.search("waiting to start|not found|is not available|previous terminated", str(error)):
            return ""
        raise


def _reason(namespace: str, run: str) -> str:
    """The last message of the worker's container."""
    pods = kubectl.items(namespace, "pods", _label(run))
    states = [status.get("state", {}) for pod in pods for status in pod["status"].get("containerStatuses", [])]
    ended: list[dict[str, Any]] = [state["terminated"] for state in states if "terminated" in state]
    return outcome.reason(ended[-1].get("message", "")) if ended else ""
