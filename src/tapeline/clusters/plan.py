"""The graph as pods: image, arguments, account and resources of each task.

`plan` is the one place where a graph and a configuration become tasks; argo, kfp and tfjob
only spell the plan in their system's words, so that they cannot disagree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from tapeline.clusters import built
from tapeline.clusters.mounts import Mount, mounts, on_data, shared_cache
from tapeline.clusters.partitions import lost_partitions
from tapeline.clusters.pod_secrets import Secret, conflicts, secrets
from tapeline.config import compose as conf
from tapeline.config.overrides import Override, check_plain, parse
from tapeline.config.schema import Accelerator, Argo, Cluster, Config, TFJob
from tapeline.config.secrets import suspects
from tapeline.errors import Finding, Refused, refuse
from tapeline.lookup import GROUPS, module
from tapeline.pipeline.graph import Artifact, Step, pipeline, shaping, workers

SUBMITTED = "--submitted"
"""In a step's arguments, the flag before the parameters of a submitted run."""


@dataclass(frozen=True)
class Parameter:
    """A key that a submitted run may set; an empty value means the one of the build."""

    key: str
    """The key of the configuration, for example model.steps."""
    description: str

    @property
    def name(self) -> str:
        """The name on the cluster, for example model_steps: names there have no dots."""
        return self.key.replace(".", "_")


@dataclass(frozen=True)
class Task:
    """One pod: a step, or several steps in their order."""

    steps: tuple[Step, ...]
    overrides: tuple[str, ...]
    """The overrides of the sections that its steps read."""
    built: str
    """The composed configuration of the build, as JSON: see built.py."""
    parameters: tuple[Parameter, ...]
    image: str
    requests: dict[str, str]
    limits: dict[str, str]
    accelerator: Accelerator | None
    account: str | None
    mounts: tuple[Mount, ...]
    secrets: tuple[Secret, ...]
    cached: bool
    """Whether a system with a cache may reuse the result of an equal task."""
    workers: int = 1
    """Pods that share its work; one of them makes the artifacts."""

    @property
    def name(self) -> str:
        """The step's name; for several steps: run."""
        return task_name(self.steps)

    @property
    def takes(self) -> tuple[str, ...]:
        """Artifacts of other tasks that it takes."""
        own = {made.name for made in self.makes}
        names = [name for step in self.steps for name in step.inputs if name not in own]
        return tuple(dict.fromkeys(names))

    @property
    def optional(self) -> set[str]:
        """The optional ones of these."""
        return set(self.takes) - {name for step in self.steps for name in step.needs}

    def flag(self, artifact: str) -> str:
        """The flag before the path of an artifact that it takes: --in, or --in-optional if it may be missing."""
        return "--in-optional" if artifact in self.optional else "--in"

    @property
    def makes(self) -> tuple[Artifact, ...]:
        """All artifacts of its steps."""
        return tuple(made for step in self.steps for made in step.makes)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output parameters."""
        return tuple(name for step in self.steps for name in step.parameters)

    @property
    def ids(self) -> str | None:
        """The output parameter with the ids of its partitions: each of them is a pod."""
        return self.steps[0].ids if len(self.steps) == 1 else None

    @property
    def when(self) -> str | None:
        """Runs only where this output parameter of another task is "true"."""
        return self.steps[0].when

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of `tapeline` before parameters and paths; values after the last one are plain text."""
        submitted = (SUBMITTED,) if self.parameters else ()
        names = ",".join(step.name for step in self.steps)
        return ("step", names, *self.overrides, f"{built.BUILT}{self.built}", *submitted)


@dataclass(frozen=True)
class Plan:
    """A graph with its configuration, ready to be written as YAML."""

    name: str
    """The name of the objects in the cluster: experiment and hardware profile."""
    config: Config
    steps: tuple[Step, ...]
    """Of the graph."""
    overrides: tuple[Override, ...]
    """Without keys of the target and the path of the store."""
    parameters: tuple[Parameter, ...]
    tasks: tuple[Task, ...]

    @property
    def target(self) -> Cluster:
        """The section target, of a cluster."""
        assert isinstance(self.config.target, Cluster)
        return self.config.target

    def maker(self, artifact: str) -> Task:
        """The task that makes an artifact or an output parameter."""
        return next(task for task in self.tasks if artifact in (*(made.name for made in task.makes), *task.outputs))


def plan(config: Config, overrides: Sequence[str], *, fused: bool = False) -> Plan:
    """Divide the graph into tasks.

    Args:
        config: what the overrides compose.
        overrides: of Hydra, the target's included.
        fused: one task for all steps before the first conditional one.

    Raises:
        Refused: the target is not a cluster, a parameter cannot be one, or a value cannot stand in a file.
    """
    target = config.target
    if not isinstance(target, Cluster):
        raise refuse(f"target={target.name}", "is not a cluster", "choose target=argo, target=kfp or target=tfjob")
    steps = pipeline(config)
    values = built.values(config, steps)
    findings = [*_wrong_parameters(config, target), *_written_out(config), *suspects(values)]
    findings += _lost_workers(config, target, steps, fused=fused)
    findings += lost_partitions(config, target, steps, fused=fused)
    if findings:
        raise Refused(*findings)
    carried = tuple(each for each in parse(overrides) if each.section != "target" and each.key != "serving.store")
    known = conf.flat(conf.plain(config))
    offered = [key for key in target.parameters if key in known or not _of_other_dataset(key)]
    parameters = tuple(_parameter(key, config) for key in offered)
    groups = grouped(steps, fused=fused)
    tasks = tuple(_task(each, config, target, carried, parameters) for each in groups)
    pods = [_task(steps, config, target, carried, ())] if isinstance(target, TFJob) else tasks
    if findings := [found for task in pods for found in conflicts(task.name, task.secrets, config)]:
        raise Refused(*findings)
    return Plan(name(config), config, steps, carried, parameters, tasks)


def whole(plan: Plan, steps: tuple[Step, ...] = ()) -> Task:
    """The whole graph, or these steps of it, in one pod, which runs them as a local run and takes no parameters."""
    return _task(steps or plan.steps, plan.config, plan.target, plan.overrides, ())


def split(overrides: Iterable[Override], parameters: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The overrides of the template, and by key the values that are submitted with a run.

    A path on the claim for data stays in the template: only a pod that mounts the claim can read it.

    Raises:
        Refused: a value that a run cannot be given.
    """
    built, submitted = list[str](), dict[str, str]()
    for each in overrides:
        if each.key in parameters and not on_data(each.key, each.value):
            check_plain(each.text)
            submitted[each.key] = each.value_text
        else:
            built.append(each.text)
    return built, submitted


def name(config: Config) -> str:
    """The name of the graph, for example snp-deep-cpu."""
    what = config.experiment or f"{config.dataset.name}-{config.model.family}"
    return re.sub(r"[^a-z0-9]+", "-", f"{what}-{config.hw.name}".lower()).strip("-")[:50]


def grouped(steps: Sequence[Step], *, fused: bool) -> list[tuple[Step, ...]]:
    """The steps of each task: one, or all before the first conditional one."""
    if not fused:
        return [(step,) for step in steps]
    return [tuple(step for step in steps if not step.when), *((step,) for step in steps if step.when)]


def task_name(steps: Sequence[Step]) -> str:
    """The name of the task of these steps: the step's name; for several steps, run. It has no underscore, for Argo."""
    return steps[0].name.replace("_", "-") if len(steps) == 1 else "run"


LAID_OUT = (
    *("experiment", "debug", "target", "hw", "dataset", "serving.store"),
    *("target.*", "hw.name", "hw.image", "hw.requests*", "hw.limits*", "hw.accelerator*"),
    *("dataset.name", "dataset.source", "dataset.password_env", "tune.password_env", "tune.workers"),
    "hw.workers",
)
"""Keys and groups that determine the tasks and their pods."""


def _wrong_parameters(config: Config, target: Cluster) -> Iterator[Finding]:
    """A parameter changes a value that steps read, and neither the graph nor its pods."""
    known = conf.flat(conf.plain(config))
    shape = shaping()
    for key in target.parameters:
        where = f"target.parameters: {key}"
        if not conf.is_group(key) and key not in known and not _of_other_dataset(key):
            yield Finding(where, "is not a key of the configuration", "remove it, or correct its name")
        elif any(f"{key}.".startswith(f"{each}.") or f"{each}.".startswith(f"{key}.") for each in shape):
            yield Finding(where, "changes the steps or partitions of the graph", f"remove it, and build with {key}=...")
        elif any(fnmatch(key, pattern) for pattern in LAID_OUT):
            yield Finding(
                where, "changes the pod, not a value that a step reads", f"remove it, and build with {key}=..."
            )


def _of_other_dataset(key: str) -> bool:
    """Whether a dataset has this key: target.parameters is one list for all, and each graph takes what it has."""
    group, _, field = key.partition(".")
    return group == "dataset" and any(
        field in module("datasets", name, "dataset.name").Section.model_fields for name in conf.options(group)
    )


def _written_out(config: Config) -> Iterator[Finding]:
    """Keys whose values are written into the emitted files, so they must not come from the environment."""
    names = (*LAID_OUT, "model.family")
    for key, text in config.environment.items():
        if key != "serving.store" and any(fnmatch(key, pattern) for pattern in names):
            problem = f"comes from the environment ({text}), and the emitted files would contain its value"
            yield Finding(key, problem, f"write the value, for example {key}=...")


def _lost_workers(config: Config, target: Cluster, steps: Sequence[Step], *, fused: bool) -> Iterator[Finding]:
    """Several pods share the work of one step only where each step has pods of its own."""
    for step in steps:
        where, one = f"{step.workers}={workers(step, config)}", f"set {step.workers}=1"
        if workers(step, config) == 1:
            continue
        if not isinstance(target, Argo):
            yield Finding(where, f"target={target.name} starts one pod for {step.name}", f"{one}, or use target=argo")
        elif target.granularity == "fused":
            problem = f"target.granularity=fused starts one pod for {step.name} and other steps"
            yield Finding(where, problem, f"set target.granularity=step, or {step.workers}=1")
        elif fused:
            yield Finding(where, "a job of a sweep is one pod", f"{one}, or submit the jobs one by one")


def _parameter(key: str, config: Config) -> Parameter:
    choices = conf.options(key) if conf.is_group(key) else []
    section = getattr(config, key).model_dump() if choices else {}
    value = section.get("family") or section.get("name") if choices else conf.flat(conf.plain(config))[key]
    what = f"{key}: one of {', '.join(choices)}" if choices else key
    return Parameter(key, f"{what}; empty means as built: {_shown(value)}")


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


def _task(
    steps: tuple[Step, ...],
    config: Config,
    target: Cluster,
    overrides: Sequence[Override],
    parameters: Sequence[Parameter],
) -> Task:
    trains = any(step.trains for step in steps)
    fetches = any(step.world == "watched" for step in steps)
    store: set[str] = {step.store for step in steps if step.store != "none"}
    reads = {path.partition(".")[0] for step in steps for path in step.reads}
    if "serving" in reads:
        reads.add("dataset")  # serving.name is made of it
    if "tune" in reads:
        reads |= {"dataset", "model"}  # the metric and the ranges may be
    chosen = {"dataset"} if {"split", "gate"} & reads else set()  # its option chooses them
    own = [
        each.text
        for each in overrides
        if config.linked or each.section in reads or each.section not in SECTIONS or each.key in chosen
    ]
    if store:
        own.append(f"serving.store={conf.plain(config)['serving']['store']}")
    cached = any(step.world != "fresh" and not step.ids for step in steps) and (where := shared_cache(target))
    if cached:
        own += [f"target.cache={where}", f"target.cache_trust={target.cache_trust}"]
    takes = tuple(each for each in parameters if each.key.partition(".")[0] in reads)
    return Task(
        steps=steps,
        overrides=tuple(own),
        built=built.encode(built.values(config, steps, [each.key for each in takes if conf.is_group(each.key)])),
        parameters=takes,
        image=config.hw.image if trains else target.image,
        requests=config.hw.requests if trains else target.requests,
        limits=config.hw.limits if trains else target.limits,
        accelerator=config.hw.accelerator if trains else None,
        account=_account(target, writes="write" in store),
        mounts=tuple(mounts(config, target, fetches=fetches, store=store, cached=bool(cached))),
        secrets=tuple(
            secrets(config, target, fetches=fetches, store=store, searches="tune" in reads, cached=bool(cached))
        ),
        cached=all(_cached(step, config) for step in steps),
        workers=workers(steps[0], config) if len(steps) == 1 else 1,
    )


SECTIONS = {"seed", *GROUPS}


def _cached(step: Step, config: Config) -> bool:
    return step.world == "none" or (step.world == "watched" and config.dataset.source == "simulated")


def _account(target: Cluster, *, writes: bool) -> str | None:
    """The service account of a pod; None on KFP, which gives all pods of a run the one of the run."""
    if isinstance(target, Argo):
        return target.publisher if writes else target.runner
    return target.publisher if isinstance(target, TFJob) else None
