"""The graph as a pipeline of Kubeflow Pipelines: make build target=kfp experiment=snp_deep hw=gpu.

A container component for each task, so that the images of the steps hold no kfp. The conditional
task stands in a pipeline of its own that takes the decision as its input: kfp's local engine can
resolve no other condition on a named output.

What KFP has no words for: an account for each task (a run has one), a claim that is mounted to be
read only or with a group that may write, which failures are worth a retry, a root file system that is read only.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from tapeline import files
from tapeline.clusters import pod_spec as pods
from tapeline.clusters.plan import Plan, Task
from tapeline.config.schema import Kfp
from tapeline.errors import refuse
from tapeline.pipeline.graph import Artifact, artifacts

OWN_ACCOUNT = "KFP's own account (pipeline-runner, or default-editor in a profile)"
FS_GROUP = (
    f"set COMPILED_PIPELINE_SPEC_PATCH in KFP's API server so that user {pods.USER} can write to claims "
    "(docs/guide/clusters.md), or use serving.store=s3://bucket/models"
)
TYPES = {
    "data": "Dataset",
    "model": "Model",
    "figures": "ClassificationMetrics",
    "numbers": "Metrics",
    "page": "HTML",
}
"""KFP's types of artifacts that are more than files; ui.py writes their figures."""


def emit(plan: Plan) -> dict[str, str]:
    """The pipeline, and the same as Kubernetes objects for GitOps.

    Raises:
        Refused: kfp is not installed, or has no words for what the plan asks for.
    """
    kfp = _kfp()
    pipeline = _pipeline(kfp, plan)
    text = _compiled(kfp, pipeline)
    options = kfp.compiler.KubernetesManifestOptions(
        pipeline_name=plan.name,
        # a version never changes, so what has changed is another version
        pipeline_version_name=f"{plan.name}-{files.digest(text)[:8]}",
        # without a namespace: they are applied to KFP's own, or to that of a profile
        include_pipeline_manifest=True,
    )
    objects = _compiled(kfp, pipeline, kubernetes_manifest_format=True, kubernetes_manifest_options=options)
    return {f"{plan.name}.yaml": text, f"{plan.name}.k8s.yaml": objects}


def text(plan: Plan) -> str:
    """The pipeline alone.

    Raises:
        Refused: as `emit`.
    """
    kfp = _kfp()
    return _compiled(kfp, _pipeline(kfp, plan))


def limits(plan: Plan) -> list[str]:
    """What KFP cannot do with the graph, and what happens instead."""
    target = cast(Kfp, plan.target)
    claims = ", ".join(sorted({mount.claim for task in plan.tasks for mount in task.mounts}))
    return [
        f"a run has one account, so all its pods have {target.account or OWN_ACCOUNT}",
        "root file systems can be written to",
        f"a task is tried again {target.retries} times if its pod was lost; not after a refusal or out of memory",
        "a finished run stays for one hour, as KFP sets it; target.ttl_seconds holds where KFP sets nothing",
        *([f"{claims}: mounted with the right to write, and without fsGroup: {FS_GROUP}"] if claims else []),
    ]


def _kfp() -> Any:
    """The package kfp without its clients of KFP and Kubernetes, which take nine tenths of its import time."""
    stubs = {name: ModuleType(name) for name in ("kfp.client", "kubernetes") if name not in sys.modules}
    for stub in stubs.values():
        vars(stub).update(Client=None, client=None)
    sys.modules.update(stubs)
    try:
        import kfp
        import kfp.compiler
        import kfp.kubernetes
    except ImportError:
        raise refuse("target=kfp", "kfp is not installed", "install tapeline[kfp]") from None
    finally:
        for name in stubs:
            del sys.modules[name]
    return kfp


def _compiled(kfp: Any, pipeline: Any, **how: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pipeline.yaml"
        kfp.compiler.Compiler().compile(pipeline, str(path), **how)
        return path.read_text(encoding="utf-8")


def _pipeline(kfp: Any, plan: Plan) -> Any:
    # kfp builds no pipeline while it builds another, so the inner one comes first
    parts = [(task, _guarded(kfp, plan, task) if task.when else _component(kfp, plan, task)) for task in plan.tasks]

    def graph(at: Mapping[str, Any]) -> None:
        made = dict(at)
        for task, part in parts:
            placed = _placed(part, made)
            if task.when:
                placed.set_caching_options(task.cached)
            else:
                _set_up(kfp, plan, task, placed)
                made |= placed.outputs

    steps = ", ".join(step.name for task in plan.tasks for step in task.steps)
    parameters = "".join(f"\n    {each.name}: {each.description}" for each in plan.parameters)
    graph.__doc__ = f"From ticker tape to served model: {steps}.\n\nArgs:{parameters}"
    return kfp.dsl.pipeline(
        _spelt(plan.name, graph, {each.name: str for each in plan.parameters}, default=""),
        name=plan.name,
        pipeline_config=kfp.dsl.PipelineConfig(
            ttl_seconds_after_finished=plan.target.ttl_seconds, active_deadline_seconds=plan.target.deadline_seconds
        ),
    )


def _guarded(kfp: Any, plan: Plan, task: Task) -> Any:
    """A pipeline with this one task, which runs if the input `task.when` is "true"."""
    decision, part = str(task.when), _component(kfp, plan, task)

    def guard(at: Mapping[str, Any]) -> None:
        with kfp.dsl.If(at[decision] == "true"):
            _set_up(kfp, plan, task, _placed(part, at))

    name = f"{task.name}-if-{decision}"
    return kfp.dsl.pipeline(_spelt(name, guard, {decision: str, **_inputs(kfp, plan, task)}), name=name)


def _placed(part: Any, made: Mapping[str, Any]) -> Any:
    """A component or pipeline as a task of the current pipeline."""
    return part(**{name: made[name] for name in part.component_spec.inputs or ()})


def _set_up(kfp: Any, plan: Plan, task: Task, placed: Any) -> None:
    """Resources, node and volumes of a task."""
    target, k8s = plan.target, kfp.kubernetes
    placed.set_caching_options(task.cached)
    placed.set_retry(
        target.retries,
        backoff_duration=f"{target.backoff_seconds}s",
        backoff_factor=2.0,
        backoff_max_duration=f"{target.deadline_seconds}s",
    )
    placed.container_spec.resources = _resources(kfp, task)
    placing = pods.scheduling(task, target)
    for key, value in placing.get("nodeSelector", {}).items():
        k8s.add_node_selector(placed, key, value)
    for each in placing.get("tolerations", ()):
        k8s.add_toleration(placed, **each)
    for mount in task.mounts:
        k8s.mount_pvc(placed, mount.claim, mount.path)
    for secret in task.secrets:
        k8s.use_secret_as_env(placed, secret.name, {key: f"{secret.prefix}{key}" for key in secret.keys}, optional=True)
    k8s.set_image_pull_policy(placed, target.pull_policy)
    if target.pull_secret:
        k8s.set_image_pull_secrets(placed, [target.pull_secret])
    for key, value in pods.labels(task.steps, task.name).items():
        k8s.add_pod_label(placed, key, value)
    k8s.set_security_context(placed, run_as_user=pods.USER, run_as_group=pods.USER, run_as_non_root=True)


def _resources(kfp: Any, task: Task) -> Any:
    """Set on the object itself, since kfp's setters are slow: each searches the stack for its caller."""
    amounts = {}
    for kind, given in (("requests", task.requests), ("limits", task.limits)):
        for name, amount in given.items():
            if name not in ("cpu", "memory"):
                raise refuse(f"{kind}.{name}", "target=kfp supports only cpu and memory", "remove it")
            amounts[f"{name}_{kind.removesuffix('s')}"] = amount
    if task.accelerator:
        amounts |= {"accelerator_type": task.accelerator.resource, "accelerator_count": str(task.accelerator.count)}
    return kfp.dsl.structures.ResourceSpec(**amounts)


def _component(kfp: Any, plan: Plan, task: Task) -> Any:
    dsl = kfp.dsl
    inputs = _inputs(kfp, plan, task)
    outputs = {made.name: dsl.Output[_type(kfp, made)] for made in task.makes}
    said = {name: dsl.OutputPath(str) for name in task.outputs}

    def container(at: Mapping[str, Any]) -> Any:
        words = [*map(pods.literal, task.arguments), *(f"{each.key}={at[each.name]}" for each in task.parameters)]
        words += [word for name in task.takes for word in (task.flag(name), f"{name}={at[name].path}")]
        paths = {name: at[name].path for name in outputs} | {name: at[name] for name in said}
        words += [word for name, path in paths.items() for word in ("--out", f"{name}={path}")]
        words += ["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER]
        return dsl.ContainerSpec(image=task.image, command=[*pods.COMMAND], args=words)

    return dsl.container_component(_spelt(task.name, container, inputs | outputs | said))


def _inputs(kfp: Any, plan: Plan, task: Task) -> dict[str, Any]:
    """Parameters and artifacts of a task, with kfp's types."""
    made = artifacts(plan.steps)
    taken = {name: kfp.dsl.Input[_type(kfp, made[name])] for name in task.takes}
    return {each.name: str for each in task.parameters} | taken


def _type(kfp: Any, artifact: Artifact) -> Any:
    return getattr(kfp.dsl, TYPES.get(artifact.kind, "Artifact"))


def _spelt(name: str, body: Callable[[Mapping[str, Any]], Any], inputs: Mapping[str, Any], **default: str) -> Any:
    """`body` as a function with `inputs` as its signature, from which kfp reads names and types."""

    def function(*given: Any) -> Any:
        return body(dict(zip(inputs, given, strict=True)))

    either = Parameter.POSITIONAL_OR_KEYWORD
    parameters = [Parameter(each, either, annotation=kind, **default) for each, kind in inputs.items()]
    vars(function).update(__signature__=Signature(parameters))
    function.__name__, function.__doc__ = name, body.__doc__
    return function
