"""The graph as pods: which image, arguments, rights and room each task of a cluster gets.

`plan` is the one place where a graph and a configuration become tasks; argo, kfp and tfjob
only spell the plan in their system's words, so that they cannot disagree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from tapeline.config import compose as conf
from tapeline.config.compose import flat
from tapeline.config.compose import plain as as_plain
from tapeline.config.schema import Accelerator, Cluster, Config
from tapeline.errors import refuse
from tapeline.pipeline.graph import PIPELINE, Artifact, Step

MODELS, DATA = "/models", "/data"
"""Where the claims are mounted, in every pod alike."""

S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
"""What a Secret for object storage may hold, under the names of the variables that its drivers read."""

SUBMITTED = "--submitted"
"""Before the parameters of a submitted run, among a step's arguments."""


def plain(text: str) -> str:
    """A parameter of a submitted run, which nothing on its way can take for more than a value.

    Raises:
        Refused: its value could be read as Hydra's syntax, a shell's, or a cluster's.
    """
    key, _, value = text.partition("=")
    if not re.fullmatch(r"[\w.:/@%+?-]*", value, re.ASCII):
        problem = "a submitted parameter has letters, digits and any of _ . : / @ % + ? - only"
        raise refuse(text, problem, f"give a plain value, or build {key} into the template with make build")
    return text


@dataclass(frozen=True)
class Parameter:
    """A key that a submitted run may set; empty means as built."""

    key: str
    """As in the configuration: model.steps."""
    description: str

    @property
    def name(self) -> str:
        """As the clusters' systems can have it: model_steps."""
        return self.key.replace(".", "_")


@dataclass(frozen=True)
class Mount:
    """A claim in a pod."""

    claim: str
    path: str
    read_only: bool


@dataclass(frozen=True)
class Secret:
    """Keys of a Secret that become variables of the same names, where they are there."""

    name: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """One pod: a step, or several one after the other."""

    steps: tuple[Step, ...]
    overrides: tuple[str, ...]
    """As typed; those about sections that its steps do not read are left out."""
    parameters: tuple[Parameter, ...]
    image: str
    requests: dict[str, str]
    limits: dict[str, str]
    accelerator: Accelerator | None
    account: str
    mounts: tuple[Mount, ...]
    secrets: tuple[Secret, ...]
    cached: bool
    """A system that caches may take what an equal task made."""

    @property
    def name(self) -> str:
        """The step's; of several: run."""
        return self.steps[0].name if len(self.steps) == 1 else "run"

    @property
    def takes(self) -> tuple[str, ...]:
        """Artifacts that other tasks make."""
        own = {made.name for made in self.makes}
        names = [name for step in self.steps for name in step.takes if name not in own]
        return tuple(dict.fromkeys(names))

    @property
    def makes(self) -> tuple[Artifact, ...]:
        """All that its steps make."""
        return tuple(made for step in self.steps for made in step.makes)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output parameters."""
        return tuple(name for step in self.steps for name in step.parameters)

    @property
    def when(self) -> str | None:
        """Runs only where this output parameter of another task is "true"."""
        return self.steps[0].when

    @property
    def arguments(self) -> tuple[str, ...]:
        """What `tapeline` gets before parameters and paths; behind the last word, values must be plain."""
        submitted = (SUBMITTED,) if self.parameters else ()
        return ("step", ",".join(step.name for step in self.steps), *self.overrides, *submitted)


@dataclass(frozen=True)
class Plan:
    """A graph with its configuration, ready to be spelt."""

    name: str
    """Of the objects in the cluster: experiment and hardware."""
    config: Config
    overrides: tuple[str, ...]
    """All that was typed, but for the target's own keys."""
    parameters: tuple[Parameter, ...]
    tasks: tuple[Task, ...]

    @property
    def target(self) -> Cluster:
        """The configuration's, which has a cluster's keys."""
        assert isinstance(self.config.target, Cluster)
        return self.config.target

    def maker(self, artifact: str) -> Task:
        """The task that makes an artifact or says an output parameter."""
        return next(task for task in self.tasks if artifact in (*(made.name for made in task.makes), *task.outputs))


def plan(config: Config, overrides: Sequence[str], *, fused: bool = False) -> Plan:
    """Lay the graph out in tasks.

    Args:
        config: what the overrides compose.
        overrides: as typed, the target's included.
        fused: one task for all steps before the first conditional one.
    """
    target = config.target
    if not isinstance(target, Cluster):
        raise refuse(f"target={target.name}", "is no cluster", "choose target=argo, target=kfp or target=tfjob")
    typed = tuple(text for text in overrides if _head(text) != "target" and _key(text) != "serving.store")
    parameters = tuple(_parameter(key, config) for key in target.parameters)
    groups = _fused(PIPELINE) if fused else [(step,) for step in PIPELINE]
    tasks = tuple(_task(steps, config, target, typed, parameters) for steps in groups)
    return Plan(name(config), config, typed, parameters, tasks)


def whole(plan: Plan) -> Task:
    """The whole graph in one pod, which runs it as on a laptop and takes no parameters."""
    return _task(PIPELINE, plan.config, plan.target, plan.overrides, ())


def name(config: Config) -> str:
    """What a graph with this configuration is called: snp-deep-cpu."""
    what = config.experiment or f"{config.dataset.name}-{config.model.family}"
    return re.sub(r"[^a-z0-9]+", "-", f"{what}-{config.hw.name}".lower()).strip("-")[:50]


def _fused(steps: Iterable[Step]) -> list[tuple[Step, ...]]:
    steps = list(steps)
    return [tuple(step for step in steps if not step.when), *((step,) for step in steps if step.when)]


def _parameter(key: str, config: Config) -> Parameter:
    choices = conf.options(key) if (conf.folder() / key).is_dir() else []
    built = (getattr(config, key).model_dump().get("family") or getattr(config, key).name) if choices else None
    whole = flat(as_plain(config))
    if not choices and key not in whole:
        raise refuse(f"target.parameters: {key}", "no key of the configuration", "remove it or mend its name")
    what = f"{key}: one of {', '.join(choices)}" if choices else key
    return Parameter(key, f"{what}; empty means as built: {built if choices else _shown(whole[key])}")


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


def _task(
    steps: tuple[Step, ...], config: Config, target: Cluster, typed: Sequence[str], parameters: Sequence[Parameter]
) -> Task:
    trains = any(step.name in TRAINING for step in steps)
    first = steps[0] is PIPELINE[0]
    store: set[str] = {step.store for step in steps if step.store != "none"}
    reads = {path.partition(".")[0] for step in steps for path in step.reads}
    if "serving" in reads:
        reads.add("dataset")  # serving.name is made of it
    overrides = [text for text in typed if first or _head(text) in reads or _head(text) not in SECTIONS]
    if store:
        overrides.append(f"serving.store={config.serving.store}")
    return Task(
        steps=steps,
        overrides=tuple(overrides),
        parameters=tuple(each for each in parameters if first or _head(each.key) in reads),
        image=config.hw.image if trains else target.image,
        requests=config.hw.requests if trains else target.requests,
        limits=config.hw.limits if trains else target.limits,
        accelerator=config.hw.accelerator if trains else None,
        account=target.publisher if "write" in store else target.runner,
        mounts=tuple(_mounts(config, target, first=first, store=store)),
        secrets=tuple(_secrets(config, target, first=first, store=store)),
        cached=all(_cached(step, config) for step in steps),
    )


TRAINING = ("train", "tune")
"""Steps that run in the profile's image, with its accelerator."""
SECTIONS = {field.name for field in fields(Config)} - {"experiment"}


def _cached(step: Step, config: Config) -> bool:
    return step.world == "none" or (step.world == "watched" and config.dataset.source == "simulated")


def _mounts(config: Config, target: Cluster, *, first: bool, store: set[str]) -> Iterable[Mount]:
    if store and _under(MODELS, config.serving.store):
        yield Mount(target.models_claim, MODELS, read_only="write" not in store)
    if first and _reads_data_claim(config):
        yield Mount(target.data_claim, DATA, read_only=True)


def _reads_data_claim(config: Config) -> bool:
    whole = flat(as_plain(config)["dataset"], "dataset")
    paths = [value for key, value in whole.items() if key.endswith("path") and isinstance(value, str)]
    # a submitted run may name a path of its own
    return any(_under(DATA, path) for path in paths) or (not paths and config.dataset.source != "simulated")


def _under(folder: str, path: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _secrets(config: Config, target: Cluster, *, first: bool, store: set[str]) -> Iterable[Secret]:
    """One Secret may serve both the store and the data, in a task that sees both."""
    wanted: dict[str, tuple[str, ...]] = {}
    if store and target.store_secret and not _under(MODELS, config.serving.store):
        wanted[target.store_secret] = S3_KEYS
    if first and target.data_secret:
        password = getattr(config.dataset, "password_env", None)
        wanted[target.data_secret] = (*S3_KEYS, password) if password else S3_KEYS
    return (Secret(name, keys) for name, keys in wanted.items())


def _key(text: str) -> str:
    return text.lstrip("+~").partition("=")[0]


def _head(text: str) -> str:
    return re.split(r"[./@]", _key(text))[0]
