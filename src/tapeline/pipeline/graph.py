"""The graph: the steps in their order, with what each reads, takes and makes.

Local runs and cluster systems are functions of this table and a configuration. Add a step here and its
program `tapeline.steps.<name>`; no other module contains the name of a step or an artifact.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, is_dataclass, replace
from types import ModuleType
from typing import Any, Literal, get_type_hints

from tapeline.config.schema import NO_KEYS, Config

Parameters = dict[str, str]
"""Output parameters of a step, as text: {"accepted": "true"}."""


@dataclass(frozen=True)
class Artifact:
    """A file or folder that a step makes and others take."""

    name: str
    file: str
    """Its name in a run folder; a name without an ending is a folder."""
    kept: str | None = ""
    """The part that a run folder has: all (""), one file of a folder, or nothing (None: it stays in the cache)."""
    kind: Literal["other", "data", "model", "figures", "numbers", "page"] = "other"
    """Its type on the pages of a cluster system."""
    optional: bool = False
    """Whether the step may not make it."""

    @property
    def folder(self) -> bool:
        """Whether it is a folder."""
        return "." not in self.file


@dataclass(frozen=True)
class Step:
    """The declaration of a step."""

    name: str
    takes: tuple[str, ...]
    """Names of artifacts; one that ends in ? may be missing: its step is absent, or did not make it."""
    makes: tuple[Artifact, ...]
    parameters: tuple[str, ...] = ()
    """Output parameters."""
    when: str | None = None
    """Runs only if this output parameter is "true"; no step may take its artifacts."""
    only_with: str | None = None
    """A section or key of the configuration: if it is null or missing, the graph does not have the step."""
    map_over: Literal["partitions"] | None = None
    """Its program runs once for each partition, and makes one folder with a part for each."""
    ids: str | None = None
    """An output parameter of an earlier step: the ids of its partitions, as a JSON list. Argo starts a pod for each;
    without it, one pod makes all parts."""
    shaped_by: tuple[str, ...] = ()
    """Keys of the configuration that determine its partitions."""
    resumes: tuple[str, ...] = ()
    """Keys of the configuration that do not change unfinished work. Where there are some, its program has the argument
    `work`: a folder in the cache, the same for all runs that differ in these keys only."""
    workers: str | None = None
    """A key of the configuration: the number of pods that share the step's work. Each ends when all of it is done, and
    makes the same artifacts."""
    joint: bool = False
    """Its workers need each other and make one result, which depends on their number; the first pod leads, and alone
    makes the artifacts."""
    trains: bool = False
    """Runs in the image of the hardware profile, with its accelerator."""
    store: Literal["none", "read", "write"] = "none"
    world: Literal["none", "watched", "fresh"] = "none"
    """watched: reads data from outside, and its `seen` is a digest of that; fresh: never from the cache."""
    package: str = "tapeline.steps"
    """The package of its module."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the artifacts that it must have."""
        return tuple(name for name in self.takes if not name.endswith("?"))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all artifacts that it takes."""
        return tuple(name.removesuffix("?") for name in self.takes)

    @property
    def data(self) -> bool:
        """Whether all that it makes is data: no model, and nothing that was computed with one."""
        return all(made.kind == "data" for made in self.makes)

    def module(self) -> ModuleType:
        """The step's program."""
        return importlib.import_module(f"{self.package}.{self.name}")

    def program(self) -> Callable[..., Any]:
        """`run(config: Reads, *, <artifact>=Path, ..., store=str)`; an artifact that is missing is None."""
        run: Callable[..., Any] = self.module().run
        return run

    @property
    def view(self) -> type[Any]:
        """The dataclass `Reads`: the part of the configuration that the program reads."""
        reads: type[Any] = self.module().Reads
        return reads

    @property
    def reads(self) -> tuple[str, ...]:
        """Sections and single keys of the configuration that the program reads, dotted."""
        return tuple(_keys(self.view))


def _keys(shape: type[Any], prefix: str = "") -> Iterator[str]:
    for name, hint in get_type_hints(shape).items():
        if isinstance(hint, type) and is_dataclass(hint):
            yield from _keys(hint, f"{prefix}{name}.")
        elif f"{prefix}{name}" not in NO_KEYS:
            yield f"{prefix}{name}"


RAW = Artifact("raw", "raw", kept=None, kind="data")
TABLE_PARTS = Artifact("table_parts", "table_parts", kept=None, kind="data")
TABLE = Artifact("table", "table", kept=None, kind="data")
PROFILE = Artifact("profile", "profile.json", kind="data")
SAMPLE = Artifact("sample", "sample.parquet", kind="data")
BEST = Artifact("best", "best.json")
STUDY = Artifact("study", "study.json")
FITTED = Artifact("fitted", "fitted", kept="fitted.json", kind="model")
SERVABLE = Artifact("servable", "servable", kind="model")
SCORES = Artifact("scores", "scores.json", kind="figures")
PREDICTIONS = Artifact("predictions", "predictions.parquet", kind="data")
EXAMPLES = Artifact("examples", "examples.parquet", kind="data", optional=True)
METRICS = Artifact("metrics", "metrics.json", kind="numbers")
REPORT = Artifact("report", "report.html", kind="page")
PUBLISHED = Artifact("published", "published.json")

FETCHED = (METRICS, REPORT, PUBLISHED)
"""Artifacts that are copied from a run on a cluster."""

STEPS = (
    Step("ingest", takes=(), makes=(RAW,), parameters=("partitions",), world="watched"),
    Step(
        "features_part",
        takes=("raw",),
        makes=(TABLE_PARTS,),
        only_with="target.partitions",
        map_over="partitions",
        ids="partitions",
    ),
    Step("features", takes=("raw", "table_parts?"), makes=(TABLE, PROFILE, SAMPLE)),
    Step(
        "tune",
        takes=("table",),
        makes=(BEST, STUDY),
        only_with="tune",
        resumes=(
            "tune.trials",
            "tune.parallel",
            "tune.workers",
            "tune.timeout_seconds",
            "tune.refit",
            "tune.heartbeat_seconds",
        ),
        workers="tune.workers",
        trains=True,
    ),
    Step("train", takes=("table", "best?"), makes=(FITTED,), workers="hw.workers", joint=True, trains=True),
    Step("export", takes=("sample", "fitted"), makes=(SERVABLE,)),
    Step("evaluate", takes=("table", "fitted", "servable"), makes=(SCORES, PREDICTIONS, EXAMPLES)),
    Step(
        "gate",
        takes=("table", "profile", "fitted", "servable", "scores", "predictions", "study?"),
        makes=(METRICS,),
        parameters=("accepted",),
        store="read",
        world="fresh",
    ),
    Step(
        "report",
        takes=("profile", "fitted", "scores", "predictions", "examples?", "metrics", "study?"),
        makes=(REPORT,),
    ),
    Step("publish", takes=("servable", "metrics"), makes=(PUBLISHED,), when="accepted", store="write", world="fresh"),
)
"""All steps that a graph may have, in their order."""


def pipeline(config: Config, steps: Iterable[Step] = STEPS) -> tuple[Step, ...]:
    """The steps of a configuration, in their order.

    Optional artifacts that no step makes are left out, and output parameters that no step reads.
    """
    found = [each for each in steps if _is_chosen(each, config)]
    made = {artifact.name for each in found for artifact in each.makes}
    read = {name for each in found for name in (each.when, each.ids)}
    return tuple(
        replace(
            each,
            takes=tuple(name for name in each.takes if name.removesuffix("?") in made or name in each.needs),
            parameters=tuple(name for name in each.parameters if name in read),
        )
        for each in found
    )


def present(config: Config, steps: Iterable[Step] = STEPS) -> tuple[Step, ...]:
    """The steps of a configuration as they are declared: each takes what a step of another configuration may make.

    Those that a key of the target adds are among them: a pod has no such keys.
    """
    return tuple(each for each in steps if _is_chosen(each, config) or str(each.only_with).startswith("target."))


def _is_chosen(step: Step, config: Config) -> bool:
    return step.only_with is None or _value(config, step.only_with) is not None


def _value(config: Config, key: str) -> object:
    value: object = config
    for part in key.split("."):
        value = getattr(value, part, None)
    return value


def workers(step: Step, config: Config) -> int:
    """The number of pods that share a step's work, where a cluster can start several."""
    value = _value(config, step.workers) if step.workers else 1
    assert isinstance(value, int)
    return value


def shaping(steps: Iterable[Step] = STEPS) -> set[str]:
    """Keys of the configuration that determine the steps and partitions."""
    return {key for each in steps for key in (each.only_with, *each.shaped_by) if key}


def artifacts(steps: Iterable[Step]) -> dict[str, Artifact]:
    """All artifacts of these steps, by name."""
    return {made.name: made for each in steps for made in each.makes}


def until(artifact: Artifact, steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps that lead to an artifact."""
    needed, chosen = {artifact.name}, list[Step]()
    for each in reversed(steps):
        if needed & {made.name for made in each.makes}:
            chosen.append(each)
            needed |= set(each.inputs)
    return tuple(reversed(chosen))
