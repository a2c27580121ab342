"""Runs of a pipeline in Kubeflow Pipelines.

The states of tasks come from KFP's present API. When one of them changes, or none does for a while, the Argo Workflow
of the run is read as well: it alone has attempts, results from the cache, and the reasons of waiting and failing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, cast

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from tapeline import files
from tapeline.clusters import emit, plan
from tapeline.clusters.kfp import api, artifacts, needs
from tapeline.clusters.kfp import pipeline as emitter
from tapeline.clusters.kfp.workflow import Workflow, reason
from tapeline.clusters.run_status import SECONDS, Part, Seen, State
from tapeline.config.overrides import parse
from tapeline.config.schema import Config
from tapeline.errors import refuse
from tapeline.lookup import configure as compose
from tapeline.pipeline.graph import FETCHED, pipeline

STATES: dict[str, State] = {
    "SUCCEEDED": "ran",
    "SKIPPED": "skipped",
    "FAILED": "failed",
    "CANCELED": "failed",
}
"""Our status for each final state of a task."""
ENDS = {"SUCCEEDED": "succeeded", "FAILED": "failed", "CANCELED": "failed"}
"""Our status for each final state of a run."""
TRIES = 5
"""Failed status requests, with a doubled pause each time, before following ends."""
STILL = 15.0
"""Seconds without a change after which the reason is asked for."""
LOOKS = 30
"""Further status requests after the end of a run, until its tasks have ended, too: KFP stores them later."""


def begin(config: Config, overrides: Sequence[str], *, apply: bool) -> str:
    """Start a run; the request contains the pipeline, so there is nothing to apply.

    Raises:
        Refused: KFP does not answer, does not let us in or takes no such pipeline, its namespace lacks something,
            the artifacts cannot be read, or a parameter is not plain.
    """
    target = api.section(config)
    built, submitted = plan.split(parse(overrides), target.parameters)
    general = emit.laid_out(compose(built), built)
    names = {each.key: each.name for each in general.parameters}
    spec, *platform = files.yaml_documents(emitter.text(general))
    where, sentences = _ready(config, general)
    print(*(f"kfp: {sentence}" for sentence in sentences), sep="\n")
    client = api.client(config)
    run = client.api_models.V2beta1Run(
        experiment_id=api.experiment(config, multi_user=where.many_users),
        display_name=general.name,
        pipeline_spec={"pipeline_spec": spec, "platform_spec": platform[0]},
        runtime_config=client.api_models.V2beta1RuntimeConfig(
            parameters={names[key]: value for key, value in submitted.items()}
        ),
        service_account=target.account,
    )
    try:
        return str(api.ask(config, client.runs.run_service_create_run, run).run_id)
    except api.Lost as error:
        found = error.findings[0]
        fix = f"look at {target.address.rstrip('/')}/#/runs before you submit again: the run may have been created"
        raise refuse(found.where, found.problem, fix) from None


def check(config: Config, overrides: Sequence[str]) -> list[str]:
    """Where a run would be, and what is not certain there; nothing is started.

    Raises:
        Refused: as `begin`, but for what KFP says to the pipeline.
    """
    built, _ = plan.split(parse(overrides), api.section(config).parameters)
    return _ready(config, emit.laid_out(compose(built), built))[1]


def _ready(config: Config, general: plan.Plan) -> tuple[needs.Place, list[str]]:
    """Where a run will be, and sentences about it.

    Raises:
        Refused: it cannot start there, or its files could not be read.
    """
    where = needs.place(api.section(config), many_users=api.many_users(config))
    sentences = [str(where), *needs.check(general, where)]
    artifacts.try_root(config)
    if api.section(config).artifacts is None:
        sentences.append("target.artifacts is not set: when the run ends, its files can be seen on KFP's page only")
    return where, sentences


@dataclass
class Watch:
    """What is known of a run that is followed."""

    states: Any = None
    """Of the run and its tasks, when they were last seen."""
    asked: float = 0.0
    """When the workflow was read."""
    workflow: Workflow | None = None
    late: int = 0
    """Looks since the end of the run while tasks had not ended."""
    reasons: dict[str, str] = field(default_factory=dict)
    """By the name of a task that failed."""


@cache
def _watch(address: str, run: str) -> Watch:
    return Watch()


def look(config: Config, run: str) -> Seen:
    """The status of each task.

    Raises:
        Refused: KFP does not answer for a while; the run goes on.
    """
    watch = _watch(api.section(config).address, run)
    content = _patient(config, run, api.client(config).runs.run_service_get_run, run)
    details = (content.run_details and content.run_details.task_details) or []
    states = content.state, sorted((str(each.display_name), str(each.state), str(each.start_time)) for each in details)
    if states != watch.states or time.monotonic() - watch.asked > STILL:
        watch.states, watch.asked, watch.workflow = states, time.monotonic(), _workflow(config, run)
    ended = ENDS.get(content.state or "", "")
    parts = _parts(config, watch.workflow, details, ended)
    if ended and not _settled(config, parts, ended) and watch.late < LOOKS:
        watch.late, ended, watch.states = watch.late + 1, "", None
        parts = _parts(config, watch.workflow, details, ended)
    explained = [_with_reason(config, run, watch, part) for part in parts]
    return Seen(explained, cast(Any, ended), _message(watch.workflow))


def _patient(config: Config, run: str, call: Any, *arguments: Any) -> Any:
    """An answer of the API, which may be away for a moment."""
    tries = Retrying(
        retry=retry_if_exception_type(api.Lost),
        wait=wait_exponential(multiplier=SECONDS),
        stop=stop_after_attempt(TRIES),
        reraise=True,
    )
    try:
        return tries(api.ask, config, call, *arguments)
    except api.Missing:
        raise refuse(f"run={run}", "KFP has no such run", "write the ID that make submit printed") from None


def _workflow(config: Config, run: str) -> Workflow | None:
    """The workflow, or None as long as KFP has none or where it does not return it."""
    try:
        return Workflow.read(api.manifest(config, run))
    except (api.Lost, api.Missing):
        return None


def tasks(config: Config) -> dict[str, str | None]:
    """The tasks of the graph in KFP, each with its condition."""
    groups = plan.grouped(pipeline(config), fused=emit.fused(config))
    return {plan.task_name(steps): steps[0].when for steps in groups}


def _parts(config: Config, workflow: Workflow | None, details: Sequence[Any], ended: str) -> list[Part]:
    names = tasks(config)
    if workflow is not None and workflow.nodes:
        found = [part for name, when in names.items() for part in workflow.parts(name, when, ended)]
        return [*found, *workflow.others(names, ended)]
    newest = {each.display_name: each for each in sorted(details, key=lambda each: str(each.start_time))}
    found = [part for name, when in names.items() if (part := _part(name, when, newest.get(name), ended))]
    drivers = (newest.get(f"{name}-driver") for name in names)
    return found + [Part(each.display_name, "failed") for each in drivers if each and each.state == "FAILED"]


def _part(name: str, condition: str | None, detail: Any, ended: str) -> Part | None:
    """The status of a task by its record in KFP; a task that never ran is of no state."""
    if detail is None or detail.state in (None, "RUNTIME_STATE_UNSPECIFIED"):
        skipped = condition and ended == "succeeded"
        return Part(name, "skipped", note=f"{condition} is not true") if skipped else None
    started, done = detail.start_time or detail.create_time, detail.end_time
    return Part(name, STATES.get(detail.state, "runs"), (done - started).total_seconds() if started and done else 0.0)


def _settled(config: Config, parts: Sequence[Part], ended: str) -> bool:
    """Whether the tasks say how the run ended, too."""
    if ended == "failed":
        return any(part.state == "failed" for part in parts)
    done = {part.name for part in parts if part.state in ("ran", "cached", "skipped")}
    return set(tasks(config)) <= done


def _with_reason(config: Config, run: str, watch: Watch, part: Part) -> Part:
    if part.state != "failed":
        return part
    if watch.workflow and watch.workflow.stopped:
        return replace(part, note="the run was stopped")
    if part.name not in watch.reasons:
        node = watch.workflow.failed(part.name) if watch.workflow else None
        text = api.log(config, run, watch.workflow.pod(node)) if watch.workflow and node else ""
        text = text or artifacts.log(config, run, part.name)
        message = (node.message if node else "") or part.note
        watch.reasons[part.name] = reason(message, text) or "KFP has no reason, and its pod no log any more"
    return replace(part, note=watch.reasons[part.name])


def _message(workflow: Workflow | None) -> str:
    if workflow is None:
        return ""
    return "the run was stopped" if workflow.stopped else " ".join(workflow.message.split())


def fetch(config: Config, run: str) -> dict[str, bytes]:
    """Each file, from the artifacts of its task.

    Raises:
        Refused: they are not to be had.
    """
    parts = look(config, run).parts
    ran = {part.name for part in parts if part.state == "ran"}
    if api.section(config).artifacts is None:
        accepted = all(name in ran for name, when in tasks(config).items() if when)
        problem = f"it succeeded, and the model was {'accepted' if accepted else 'rejected'}, but KFP returns no files"
        fix = (
            "set target.artifacts to the root of its artifacts, for example s3://mlpipeline/v2/artifacts, and add run="
        )
        raise refuse(run, problem, fix + run)
    groups = plan.grouped(pipeline(config), fused=emit.fused(config))
    makers = {made.name: plan.task_name(steps) for steps in groups for step in steps for made in step.makes}
    wanted = {made: makers[made.name] for made in FETCHED if makers[made.name] in ran}
    return {made.file: artifacts.read(config, run, task, made.name) for made, task in wanted.items()}


def stop(config: Config, run: str) -> None:
    """End a run.

    Raises:
        Refused: KFP does not answer, has no such run, or says no.
    """
    _patient(config, run, api.client(config).runs.run_service_terminate_run, run)


def hint(config: Config, run: str) -> str:
    """The run's page in KFP."""
    return f"{api.section(config).address.rstrip('/')}/#/runs/details/{run}"
