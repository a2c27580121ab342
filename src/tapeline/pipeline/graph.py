"""The graph: what runs after what, what each step reads, takes and makes.

Targets are functions of this table and a configuration. Add a step here and its function
`tapeline.steps.<name>.run`; nothing else names the steps.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Literal, cast

from tapeline.config.schema import Config, Section

Parameters = dict[str, str]
"""What a step says beside its artifacts, as text: {"accepted": "true"}."""


@dataclass(frozen=True)
class Artifact:
    """What passes from step to step: a file, or a folder."""

    name: str
    file: str
    """The name that people see in a run's folder; one without ending is a folder."""
    kept: str | None = ""
    """What a run's folder has of it: all (""), one file of a folder, or nothing (None: it stays in the cache)."""

    @property
    def folder(self) -> bool:
        """A folder, not a file."""
        return "." not in self.file


@dataclass(frozen=True)
class Step:
    """One step's declaration; its program is `tapeline.steps.<name>`."""

    name: str
    reads: tuple[str, ...]
    """Sections or single keys of the configuration; the step sees no other."""
    takes: tuple[str, ...]
    """Names of artifacts."""
    makes: tuple[Artifact, ...]
    parameters: tuple[str, ...] = ()
    """Output parameters."""
    when: str | None = None
    """Runs only where this output parameter is "true"; nothing may read what it makes."""
    store: Literal["none", "read", "write"] = "none"
    world: Literal["none", "watched", "fresh"] = "none"
    """watched: the step's `seen` tells what it would read outside; fresh: never from the cache."""

    def module(self) -> ModuleType:
        """The step's program."""
        return importlib.import_module(f"tapeline.steps.{self.name}")

    def program(self) -> Callable[..., Parameters | None]:
        """`run(config, *, <artifact>=Path, ..., store=str)`."""
        run: Callable[..., Parameters | None] = self.module().run
        return run


RAW = Artifact("raw", "raw.parquet", kept=None)
TABLE = Artifact("table", "table.parquet", kept=None)
FITTED = Artifact("fitted", "fitted", kept="fitted.json")
SERVABLE = Artifact("servable", "servable")
SCORES = Artifact("scores", "scores.json")
METRICS = Artifact("metrics", "metrics.json")
REPORT = Artifact("report", "report.html")
PUBLISHED = Artifact("published", "published.json")

PIPELINE = (
    Step("ingest", reads=("dataset",), takes=(), makes=(RAW,), world="watched"),
    Step("features", reads=("dataset",), takes=("raw",), makes=(TABLE,)),
    Step(
        "train",
        reads=("model", "split", "seed", "hw.name", "hw.threads", "hw.required", "hw.accelerator"),
        takes=("table",),
        makes=(FITTED,),
    ),
    Step("export", reads=("serving.name",), takes=("table", "fitted"), makes=(SERVABLE,)),
    Step("evaluate", reads=("dataset", "split"), takes=("table", "fitted", "servable"), makes=(SCORES,)),
    Step(
        "gate",
        reads=("experiment", "seed", "dataset", "model", "hw", "split", "gate", "serving"),
        takes=("table", "servable", "scores"),
        makes=(METRICS,),
        parameters=("accepted",),
        store="read",
        world="fresh",
    ),
    Step("report", reads=(), takes=("table", "scores", "metrics"), makes=(REPORT,)),
    Step(
        "publish",
        reads=("serving",),
        takes=("servable", "metrics"),
        makes=(PUBLISHED,),
        when="accepted",
        store="write",
        world="fresh",
    ),
)


def step(name: str) -> Step:
    """The step of that name; KeyError where there is none."""
    return {each.name: each for each in PIPELINE}[name]


def execute(step: Step, config: Config, inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> Parameters:
    """Run one step: files in, files out. `outputs` must not exist yet.

    Returns:
        Its output parameters.
    """
    arguments: dict[str, object] = {name: inputs[name] for name in step.takes}
    arguments |= {artifact.name: outputs[artifact.name] for artifact in step.makes}
    if step.store != "none":
        arguments["store"] = config.serving.store
    return step.program()(view(config, step.reads), **arguments) or {}


def view(config: Config, reads: Sequence[str]) -> Config:
    """Only the sections and keys in `reads`; any other attribute does not exist."""
    seen: dict[str, Any] = {}
    for path in sorted(reads, key=lambda name: name.count(".")):
        head, _, tail = path.partition(".")
        value = getattr(config, head)
        if tail:
            namespace = seen.setdefault(head, SimpleNamespace())
            if isinstance(namespace, Section):
                continue
            setattr(namespace, tail, getattr(value, tail))
        else:
            seen[head] = value
    return cast(Config, SimpleNamespace(**seen))
