"""The graph as a WorkflowTemplate of Argo Workflows, with a Workflow and a CronWorkflow that run it.

    make build target=argo experiment=snp_deep        workflows/argo/snp-deep-cpu.yaml and its two companions

Artifacts have keys in the namespace's default artifact repository, whatever that is: `s3` names no
more than the key. Nothing reads an output of publish, which may be skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tapeline.clusters import pod_spec as pods
from tapeline.clusters.argo import fan_out, joint, retries, stored
from tapeline.clusters.plan import Plan, Task
from tapeline.config.schema import Argo
from tapeline.pipeline.graph import METRICS, Artifact

if TYPE_CHECKING:
    from hera.workflows import WorkflowTemplate
    from hera.workflows import models as m


GRAPH, SUMMARY = "graph", "summary"
"""Templates that are not tasks of the graph."""
IN, OUT = f"{pods.WORK}/in", f"{pods.WORK}/out"
_ARGOS = [{"name": name, "securityContext": pods.SECURITY} for name in ("init", "wait")]
EXECUTOR_SECURITY = json.dumps({"initContainers": _ARGOS[:1], "containers": _ARGOS[1:]})
"""The security context of Argo's own containers, which not every controller sets."""


def emit(plan: Plan) -> dict[str, str]:
    """The template, a Workflow that runs it, and its CronWorkflow; those of a GPU profile in a folder of their own."""
    from hera.workflows import CronWorkflow, Workflow
    from hera.workflows import models as m

    target, reference = _section(plan), m.WorkflowTemplateRef(name=plan.name)
    run = Workflow(
        generate_name=f"{plan.name}-",
        namespace=target.namespace,
        labels=pods.LABELS,
        workflow_template_ref=reference,
        arguments=_arguments(plan),
    )
    cron = CronWorkflow(
        name=plan.name,
        namespace=target.namespace,
        labels=pods.LABELS,
        schedules=[target.schedule],
        timezone=target.timezone,
        concurrency_policy="Forbid",
        starting_deadline_seconds=3600,
        successful_jobs_history_limit=3,
        failed_jobs_history_limit=3,
        workflow_template_ref=reference,
    )
    named = {plan.name: template(plan), f"{plan.name}.run": run, f"schedules/{plan.name}": cron}
    return {f"{folder(plan)}{name}.yaml": str(each.to_yaml()) for name, each in named.items()}


def folder(plan: Plan) -> str:
    """Below `target.folder`: that of the GPU profile, whose templates only some overlays can run."""
    return f"{plan.config.hw.name}/" if plan.config.hw.accelerator else ""


def limits(plan: Plan) -> list[str]:
    """Argo has no limits of its own."""
    return []


def template(plan: Plan) -> WorkflowTemplate:
    """The graph itself."""
    from hera.workflows import WorkflowTemplate
    from hera.workflows import models as m

    target, config = _section(plan), plan.config
    templates = [_graph(plan), *_templates(plan), _summary(target)]
    return WorkflowTemplate(
        name=plan.name,
        namespace=target.namespace,
        labels=pods.LABELS,
        annotations={
            "workflows.argoproj.io/description": f"{config.dataset.name}, {config.model.family}, {config.hw.name}"
        },
        entrypoint=GRAPH,
        on_exit=SUMMARY,
        arguments=_arguments(plan),
        templates=list(templates),
        active_deadline_seconds=target.deadline_seconds + (target.gpu_wait_seconds if config.hw.accelerator else 0),
        ttl_strategy=m.TTLStrategy(seconds_after_completion=target.ttl_seconds),
        # failed pods stay for those who look for the reason
        pod_gc=m.PodGC(strategy="OnPodSuccess", delete_delay_duration="3600s"),
        workflow_metadata=m.WorkflowMetadata(labels=pods.LABELS),
        **_rights(target),
    )


def _section(plan: Plan) -> Argo:
    assert isinstance(plan.config.target, Argo)
    return plan.config.target


def _arguments(plan: Plan) -> m.Arguments:
    from hera.workflows import models as m

    content = [m.Parameter(name=each.name, description=each.description, value="") for each in plan.parameters]
    return m.Arguments(parameters=content)


def _graph(plan: Plan) -> m.Template:
    from hera.workflows import models as m

    nodes = [_node(plan, task, name) for task in plan.tasks for name in _names(task)]
    return m.Template(name=GRAPH, dag=m.DAGTemplate(tasks=nodes))


def _names(task: Task) -> list[str]:
    """The names of its tasks in the DAG: of several workers, those beside the first one are a second task."""
    return [task.name, *([f"{task.name}-workers"] if task.workers > 1 else [])]


def _node(plan: Plan, task: Task, name: str) -> m.DAGTask:
    """A task of the DAG: it depends on the tasks whose artifacts or output parameter it reads."""
    from hera.workflows import models as m

    needs = [*task.takes, *(name for name in (task.when, task.ids) if name)]
    makers = {name: plan.maker(name).name for name in needs}
    when = f"{{{{tasks.{makers[task.when]}.outputs.parameters.{task.when}}}}} == true" if task.when else None
    parameters = [m.Parameter(name=each.name, value=_escaped(each.name)) for each in task.parameters]
    if task.ids:
        said = f"{{{{tasks.{makers[task.ids]}.outputs.parameters.{task.ids}}}}}"
        parameters.append(m.Parameter(name=task.ids, value=said))
    artifacts = [
        m.Artifact(
            name=name,
            from_=f"{{{{tasks.{makers[name]}.outputs.artifacts.{name}}}}}",
            optional=name in task.optional or None,
        )
        for name in task.takes
        if not plan.maker(name).ids  # the input itself has the key
    ]
    return m.DAGTask(
        name=name,
        template=name,
        depends=" && ".join(dict.fromkeys(makers.values())) or None,
        when=when,
        arguments=m.Arguments(parameters=parameters or None, artifacts=artifacts or None),
    )


def _escaped(parameter: str) -> str:
    """A parameter's value with $ escaped: the kubelet would replace $(NAME)."""
    return f'{{{{=replace(workflow.parameters.{parameter}, "$", "$$")}}}}'


def _templates(plan: Plan) -> Iterator[m.Template]:
    """The pods of all tasks; of several workers, the first one makes the artifacts, and no other leaves anything."""
    for task in plan.tasks:
        name = task.name
        if task.ids:
            name = f"{task.name}-each"
            yield fan_out.partitions(task, task.ids, name, _section(plan).parallelism)
        yield _template(plan, task, name)
        for workers in _names(task)[1:]:
            bare, worker = tuple(replace(step, makes=(), parameters=()) for step in task.steps), f"{task.name}-worker"
            yield fan_out.workers(task, workers, worker)
            yield _template(plan, replace(task, steps=bare), worker)


def _template(plan: Plan, task: Task, name: str) -> m.Template:
    """A task's pod."""
    from hera.workflows import models as m

    target, conditions = _section(plan), {each.when for each in plan.tasks}
    said = [
        m.Parameter(
            name=each,
            value_from=m.ValueFrom(path=f"{OUT}/{each}", default="false" if each in conditions else None),
        )
        for each in task.outputs
    ]
    made = [stored.made(each, f"{OUT}/{each.file}", archived=each.folder and not task.ids) for each in task.makes]
    given = [*(each.name for each in task.parameters), *([fan_out.PARTITION] if task.ids else [])]
    return m.Template(
        inputs=m.Inputs(
            parameters=[m.Parameter(name=each) for each in given] or None,
            artifacts=[
                stored.parts(_artifact(plan, each), _path(plan, each))
                if plan.maker(each).ids
                else m.Artifact(name=each, path=_path(plan, each), optional=each in task.optional or None)
                for each in task.takes
            ]
            or None,
        ),
        outputs=m.Outputs(artifacts=made, parameters=said or None) if made or said else None,
        service_account_name=None if task.account == target.runner else task.account,
        retry_strategy=m.RetryStrategy(
            limit=m.IntOrString(root=target.retries),
            expression=retries.EXPRESSION,
            backoff=m.Backoff(duration=f"{target.backoff_seconds}s", factor=m.IntOrString(root=2)),
        ),
        synchronization=_turn(plan) if task.accelerator else None,
        # the time of the run that waits for a GPU is not this pod's
        active_deadline_seconds=m.IntOrString(root=target.deadline_seconds) if task.accelerator else None,
        **_pod(target, task, name, _words(plan, task)),
    )


def _pod(target: Argo, task: Task, name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """A template's name, and the parts of pod_spec.py as Hera's models."""
    from hera.workflows import models as m

    content = pods.scheduling(task, target)
    return {
        "name": name,
        "metadata": m.Metadata(labels={**pods.labels(task.steps, name), **joint.labels(task)}),
        "container": m.Container.model_validate(joint.identified(task, pods.container(task, target, arguments))),
        "volumes": [m.Volume.model_validate(each) for each in pods.volumes(task)],
        "node_selector": content.get("nodeSelector"),
        "tolerations": [m.Toleration.model_validate(each) for each in content.get("tolerations", [])] or None,
        "priority_class_name": content.get("priorityClassName"),
    }


def _words(plan: Plan, task: Task) -> list[str]:
    """The arguments of tapeline: overrides, submitted parameters and paths."""
    outputs = {**{made.name: made.file for made in task.makes}, **{name: name for name in task.outputs}}
    return [
        *map(pods.literal, task.arguments),
        *(f"{each.key}={{{{inputs.parameters.{each.name}}}}}" for each in task.parameters),
        *(word for name in task.takes for word in (task.flag(name), f"{name}={_path(plan, name)}")),
        *(("--part", f"{{{{inputs.parameters.{fan_out.PARTITION}}}}}") if task.ids else ()),
        *(word for name, file in outputs.items() for word in ("--out", f"{name}={OUT}/{file}")),
    ]


def _path(plan: Plan, artifact: str) -> str:
    """The path of an artifact in the pod of a task that takes it."""
    return f"{IN}/{_artifact(plan, artifact).file}"


def _artifact(plan: Plan, name: str) -> Artifact:
    return next(made for made in plan.maker(name).makes if made.name == name)


def _turn(plan: Plan) -> m.Synchronization:
    """A mutex: runs wait until a GPU of this type is free."""
    from hera.workflows import models as m

    lock = m.ConfigMapKeySelector(name=_section(plan).semaphore, key=plan.config.hw.name)
    return m.Synchronization(semaphores=[m.SemaphoreRef(config_map_key_ref=lock)])


def _summary(target: Argo) -> m.Template:
    """The exit handler, which logs the result of a run; metrics are optional, since the gate may not have run."""
    from hera.workflows import models as m

    path = f"{IN}/{METRICS.file}"
    content = [f"{each}={{{{workflow.{each}}}}}" for each in ("name", "status", "duration", "failures")]
    metrics = m.Artifact(name=METRICS.name, path=path, optional=True, s3=m.S3Artifact(key=stored.key(METRICS)))
    return m.Template(
        inputs=m.Inputs(artifacts=[metrics]),
        **_pod(target, small(target, target.image), SUMMARY, ["summary", *content, f"metrics={path}"]),
    )


def _rights(target: Argo) -> dict[str, Any]:
    """Accounts and security context of each workflow."""
    from hera.workflows import models as m

    return {
        "service_account_name": target.runner,
        # only Argo's own containers get a token: with one, a step could write the outputs of another
        "automount_service_account_token": False,
        "executor": m.ExecutorConfig(service_account_name=target.executor),
        "security_context": m.PodSecurityContext.model_validate(pods.POD_SECURITY),
        "pod_spec_patch": EXECUTOR_SECURITY,
        "image_pull_secrets": [m.LocalObjectReference(name=target.pull_secret)] if target.pull_secret else None,
    }


def small(target: Argo, image: str) -> Task:
    """A small pod that is not a step of the graph."""
    requests, limits = {"cpu": "50m", "memory": "64Mi"}, {"cpu": "500m", "memory": "256Mi"}
    return Task((), (), "{}", (), image, requests, limits, None, target.runner, (), (), cached=False)
