"""The typed schema of conf/, and the one way to compose and validate it.

    tapeline config model=flat      prints what an override makes of the configuration

A name in the configuration stands for a module of tapeline (`model.family: deep` is
`tapeline.models.deep`), never for code to call, and that module's `Section` is the schema of its
keys. So a new dataset or model is one module and one short file in conf/.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatch
from types import ModuleType, SimpleNamespace
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tapeline import conf
from tapeline.errors import Finding, Refused, choose, nearest, refuse, scrub

PLACES = (
    *("target", "dataset.path", "dataset.files.*.path", "dataset.url", "dataset.password_*"),
    *("serving.store", "serving.lock_seconds", "serving.keep", "serving.engine"),
    *("serving.host", "serving.grpc_port", "serving.rest_port", "serving.poll_seconds"),
)
"""Where things lie and how one machine serves them: in no cache key and no metrics.json."""


class Section(BaseModel):
    """A group of keys: typed, without coercion; unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=())


class Dataset(Section):
    """What every dataset has; its module's `Section` adds the rest."""

    name: str
    source: str
    path: str | None
    """A file or URL, for the sources that read one."""
    seed: Annotated[int, Field(ge=0)]
    """Of simulated data."""


class Model(Section):
    """What every model family has; its module's `Section` adds the rest."""

    trains_with_tensorflow: ClassVar[bool] = True

    family: str
    steps: Annotated[int, Field(ge=1)]
    """Full-batch steps; boosting rounds for LightGBM."""
    report_every: Annotated[int, Field(ge=1)]
    """Steps between two points of the training trace."""

    def validation_rows(self, rows: int) -> int:
        """How many of so many train rows, the last ones, the family keeps from training."""
        return 0


class Accelerator(Section):
    """A GPU as the scheduler and the driver know it."""

    model: str
    count: Annotated[int, Field(ge=1)]
    """A K80 board counts as two."""
    compute_capability: Annotated[str, Field(pattern=r"^\d+\.\d$")]
    resource: str
    node_selector: dict[str, str]
    end_of_life: str | None
    """The day on which the cloud withdrew it."""


class Hardware(Section):
    """A hardware profile: where training runs and in which image."""

    name: str
    threads: Annotated[int, Field(ge=1, le=256)]
    """TensorFlow's threads, fixed because XLA's sums depend on their number."""
    required: bool
    """Fail, instead of training on the CPU, where TensorFlow does not see the accelerator."""
    accelerator: Accelerator | None
    image: str
    tensorflow: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    """In the image."""
    requests: dict[str, str]
    limits: dict[str, str]


class Split(Section):
    """Which rows train and which test; `datasets/splits.py` has the keys of each name."""

    name: str


class Gate(Section):
    """What a model must show before it is published."""

    metric: str
    threshold: float | None
    """Strict: the metric must be better than this."""
    baseline_margin: float | None
    """Least lead over the best naive baseline, in the metric's units; null is off."""
    champion_margin: float | None
    """Least lead over the version now served, on test rows that it never learnt; null is off."""


class Serving(Section):
    """Where an accepted model goes."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    store: str
    lock_seconds: Annotated[float, Field(ge=0)]
    keep: Annotated[int, Field(ge=1)]
    """Versions that stay in the store, beside those that are served."""
    engine: Literal["tapeline", "tfserving"]
    """What `tapeline serve` runs: itself, or TF Serving's own image."""
    host: Annotated[str, Field(min_length=1)]
    """Where `tapeline serve` listens."""
    grpc_port: Annotated[int, Field(ge=0, le=65535)]
    """0: any free one."""
    rest_port: Annotated[int, Field(ge=0, le=65535)]
    poll_seconds: Annotated[float, Field(gt=0, le=3600)]
    """Between two looks at models.config."""


class Target(Section):
    """Where the graph runs; a target's module has the schema of the rest."""

    name: str
    runs: str
    cache: str


@dataclass(frozen=True)
class Config:
    """The whole configuration, validated."""

    experiment: str | None
    seed: int
    dataset: Dataset
    model: Model
    hw: Hardware
    split: Split
    gate: Gate
    serving: Serving
    target: Target


GROUPS: dict[str, type[Section]] = {
    "dataset": Dataset,
    "model": Model,
    "hw": Hardware,
    "split": Split,
    "gate": Gate,
    "serving": Serving,
    "target": Target,
}
MODULES = {"dataset": ("name", "datasets"), "model": ("family", "models"), "target": ("name", "targets")}
"""Groups whose schema lies in a module: the key that names it, and the package."""


def module(package: str, name: str, key: str) -> ModuleType:
    """The module that `key=name` of the configuration stands for.

    Raises:
        Refused: there is none.
    """
    full = f"tapeline.{package}.{name}"
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name != full:
            raise
        raise refuse(f"{key}={name}", f"there is no module {full}", "name one that exists") from None


def compose(overrides: Sequence[str]) -> Config:
    """Compose conf/ with Hydra overrides and validate the result.

    Raises:
        Refused: all that is wrong with it, each with key and fix.
    """
    return validate(conf.compose(overrides))


def validate(plain: Mapping[str, Any]) -> Config:
    """Check a composed configuration against the schema.

    Raises:
        Refused: every unknown key, wrong type and value out of range, all at once.
    """
    if secrets := [key for key, value in flat(plain).items() if scrub(str(value)) != str(value)]:
        raise Refused(*(Finding(key, "holds a password", "leave it out; see dataset.password_env") for key in secrets))
    findings: list[Finding] = []
    names = [field.name for field in fields(Config)]
    for key in plain:
        if key not in names:
            findings.append(Finding(key, "unknown key", nearest(key, names, otherwise="remove it")))
    values: dict[str, Any] = {"experiment": plain.get("experiment"), "seed": plain.get("seed")}
    if not isinstance(values["seed"], int) or isinstance(values["seed"], bool) or values["seed"] < 0:
        findings.append(Finding(f"seed={values['seed']}", "must be a whole number, 0 or more", "set it so"))
    for group in GROUPS:
        section = plain.get(group)
        if not isinstance(section, dict):
            findings.append(
                Finding(group, "the section is missing", f"choose one of: {', '.join(conf.options(group))}")
            )
            continue
        try:
            values[group] = _section(group, section, plain)
        except ValidationError as error:
            findings += _explain(group, section, error)
        except Refused as error:
            findings += error.findings
    if findings:
        raise Refused(*findings)
    return Config(**values)


def _section(group: str, section: dict[str, Any], plain: Mapping[str, Any]) -> Section:
    if group == "serving" and section.get("name") is None:
        dataset = plain.get("dataset") or {}
        suffix = "-simulated" if dataset.get("source") == "simulated" else ""
        section = {**section, "name": f"{dataset.get('name')}{suffix}"}
    return _schema(group, section).model_validate(section)


def _explain(group: str, section: Mapping[str, Any], error: ValidationError) -> Iterator[Finding]:
    for detail in error.errors():
        key = ".".join([group, *map(str, detail["loc"])])
        if detail["type"] == "extra_forbidden":
            siblings = list(_schema(group, section).model_fields) if len(detail["loc"]) == 1 else []
            yield Finding(key, "unknown key", nearest(str(detail["loc"][-1]), siblings, otherwise="remove it"))
        elif detail["type"] == "missing":
            yield Finding(key, "the key is missing", "set it")
        else:
            rule = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
            yield Finding(f"{key}={detail['input']!r}", rule[0].lower() + rule[1:], "set another value")


def _schema(group: str, section: Mapping[str, Any]) -> type[Section]:
    """The schema of a section, which its own name may choose."""
    if group == "split":
        return cast(type[Section], importlib.import_module("tapeline.datasets.splits").section(section.get("name")))
    if group not in MODULES:
        return GROUPS[group]
    key, package = MODULES[group]
    name = str(section.get(key))
    if name not in conf.options(group):
        raise refuse(
            f"{group}.{key}={name}", f"conf/{group} has no file of that name", choose(name, conf.options(group))
        )
    return cast(type[Section], module(package, name, f"{group}.{key}").Section)


def plain(config: Config, *, places: bool = True) -> dict[str, Any]:
    """The configuration, or a view of it, as plain values; without `places`, what holds anywhere."""
    whole: dict[str, Any] = _plain(vars(config))
    return whole if places else _without_places(whole, "")


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.model_dump(mode="json")
    if isinstance(value, SimpleNamespace):
        value = vars(value)
    return {key: _plain(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _without_places(value: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {
        key: _without_places(inner, f"{prefix}{key}.") if isinstance(inner, dict) else inner
        for key, inner in value.items()
        if not any(fnmatch(f"{prefix}{key}", place) for place in PLACES)
    }


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    joined = (flat(inner, f"{prefix}.{key}" if prefix else key) for key, inner in value.items())
    return {key: inner for part in joined for key, inner in part.items()}


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
