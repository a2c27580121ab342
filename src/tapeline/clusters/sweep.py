"""A sweep as pods: one for each distinct data configuration, then one for each job.

All pods get the same definition, a JSON file that the builder writes. A job's pod runs everything up to the report and
finds raw data and features in the shared cache.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

from tapeline import __version__, files
from tapeline.clusters import built
from tapeline.clusters.mounts import shared_cache
from tapeline.clusters.plan import Plan, Task, grouped, plan, whole
from tapeline.config import compose as conf
from tapeline.config.overrides import parse
from tapeline.config.schema import Argo, Config
from tapeline.errors import Refused, refuse
from tapeline.pipeline.graph import TABLE, until

MOST_BYTES = 250_000
"""Of a definition: etcd has 1.5 MB for a workflow, which has it in its spec and in the status of two nodes."""
LENGTH = 12
"""Characters of a digest that names a sweep or a job."""


@dataclass(frozen=True)
class Program:
    """The steps that a pod runs, as `tapeline step` takes them."""

    steps: str
    """Names with commas between them."""
    overrides: tuple[str, ...]
    built: Mapping[str, Any]
    """The composed configuration of the build."""

    def arguments(self, outputs: Mapping[str, Path]) -> list[str]:
        """The arguments behind `tapeline step`, with the paths of the artifacts to keep."""
        paths = (word for name, path in outputs.items() for word in ("--out", f"{name}={path}"))
        return [self.steps, *self.overrides, f"{built.BUILT}{built.encode(self.built)}", *paths]


@dataclass(frozen=True)
class Job:
    """One combination of values."""

    name: str
    """A digest of its overrides: the same one as in a sweep on this machine."""
    overrides: tuple[str, ...]
    """As the leaderboard shows them: without keys of the target."""
    program: Program | None
    """None: it is refused before a pod starts."""
    problem: str = ""
    """Why it is refused."""
    data: str = ""
    """The name of its data configuration."""
    kind: int = 0
    """Which of the sweep's kinds of pods it has."""


@dataclass(frozen=True)
class Definition:
    """What the pods of a sweep know of it."""

    jobs: tuple[Job, ...]
    data: Mapping[str, Program]
    """The steps of each distinct data configuration, by its name."""

    def job(self, name: str) -> Job:
        """The job of this name.

        Raises:
            Refused: there is none.
        """
        known = {job.name: job for job in self.jobs}
        if name not in known:
            raise refuse(f"job={name}", "the sweep has no such job", f"use one of: {', '.join(known)}")
        return known[name]

    def encode(self) -> str:
        """JSON without braces side by side; values that all jobs share stand there once."""
        programs = [job.program.built for job in self.jobs if job.program]
        first = programs[0] if programs else {}
        common = {key: value for key, value in first.items() if all(_has(each, key, value) for each in programs)}
        jobs = [asdict(job) for job in self.jobs]
        for record in (each["program"] for each in jobs if each["program"]):
            record["built"] = {key: value for key, value in record["built"].items() if key not in common}
        return built.encode(
            {"common": common, "jobs": jobs, "data": {n: asdict(each) for n, each in self.data.items()}}
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """The definition in a file.

        Raises:
            Refused, OSError: there is none.
        """
        content = files.read_json(path)
        jobs = tuple(_job(record, content["common"]) for record in content["jobs"])
        return cls(jobs, {name: _program(record, {}) for name, record in content["data"].items()})


def _has(values: Mapping[str, Any], key: str, value: Any) -> bool:
    return key in values and json.dumps(values[key]) == json.dumps(value)


def _job(record: Mapping[str, Any], common: Mapping[str, Any]) -> Job:
    program = _program(record["program"], common) if record["program"] else None
    return Job(**{**record, "overrides": tuple(record["overrides"]), "program": program})


def _program(record: Mapping[str, Any], common: Mapping[str, Any]) -> Program:
    return Program(record["steps"], tuple(record["overrides"]), {**common, **record["built"]})


@dataclass(frozen=True)
class Kind:
    """Jobs, or data configurations, whose pods differ by their arguments alone."""

    task: Task
    """Without arguments."""
    hw: str
    """The hardware profile, if it has an accelerator: its pods wait for a turn; "" for others."""
    names: tuple[str, ...]


@dataclass(frozen=True)
class Sweep:
    """A sweep, ready to be written as a workflow."""

    name: str
    """A digest of all that its pods are made of; its results have it in their keys."""
    definition: Definition
    jobs: tuple[Kind, ...]
    data: tuple[Kind, ...]
    plan: Plan
    """Of one of the jobs: all have the same target."""

    @property
    def target(self) -> Argo:
        """The section target."""
        return cast(Argo, self.plan.config.target)


def sweep(jobs: Sequence[tuple[Sequence[str], Config | Refused]]) -> Sweep:
    """Lay out the jobs of a sweep.

    Args:
        jobs: the overrides of each, and its configuration, or why it is refused. One or more have a configuration.

    Raises:
        Refused: the cache is not shared, or a value cannot stand in a file.
    """
    made, kinds, data_kinds, programs = dict[str, Job](), list[Kind](), list[Kind](), dict[str, Program]()
    plans = list[Plan]()
    for overrides, config in jobs:
        shown = tuple(each.assignment for each in parse(overrides) if not _is_place(each.key))
        name = files.digest(sorted(shown))[:LENGTH]
        if isinstance(config, Refused):
            made[name] = Job(name, shown, None, "; ".join(map(str, config.findings)))
            continue
        check_cache(config)
        plans.append(each := plan(config, overrides, fused=True))
        task = whole(each, grouped(each.steps, fused=True)[0])
        first = whole(each, until(TABLE, each.steps))
        data = files.digest(first.built, conf.plain(config)["dataset"])[:LENGTH]
        if data not in programs:
            programs[data] = _of(first)
            _sort(data_kinds, first, "", data)
        if name not in made:
            kind = _sort(kinds, task, config.hw.name if task.accelerator else "", name)
            made[name] = Job(name, shown, _of(task), data=data, kind=kind)
    definition = Definition(tuple(made.values()), programs)
    if len(definition.encode()) > MOST_BYTES:
        fix = "divide the sweep, for example seed=range(0,100) and seed=range(100,200)"
        raise refuse("sweep", f"{len(made)} jobs are too many for one workflow", fix)
    images = [kind.task.image for kind in (*kinds, *data_kinds)]
    digest = files.digest(__version__, plans[0].target.namespace, images, definition.encode())[:LENGTH]
    return Sweep(digest, definition, tuple(kinds), tuple(data_kinds), plans[0])


def check_cache(config: Config) -> None:
    """Refuse a cache that the pods of a sweep do not share.

    Raises:
        Refused: with an example.
    """
    if shared_cache(cast(Argo, config.target)) is None:
        problem = "is not a cache that pods share, and each job would make the same data and features again"
        fix = "write a URL or a path on the claim target.cache_claim, as in target.cache=s3://cache/prices or /cache"
        raise refuse(f"target.cache={config.target.cache}", problem, fix)


def _is_place(key: str) -> bool:
    """Whether a key only says where the sweep runs; it makes no other job."""
    return key.partition(".")[0] == "target" or key == "serving.store"


def _of(task: Task) -> Program:
    return Program(",".join(step.name for step in task.steps), task.overrides, json.loads(task.built))


def _sort(kinds: list[Kind], task: Task, hw: str, name: str) -> int:
    """Add a name to the kind of its pod; return the position of this kind."""
    bare = replace(task, overrides=(), built="{}")
    for at, kind in enumerate(kinds):
        if (kind.task, kind.hw) == (bare, hw):
            kinds[at] = replace(kind, names=(*kind.names, name))
            return at
    kinds.append(Kind(bare, hw, (name,)))
    return len(kinds) - 1
