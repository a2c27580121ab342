"""Names of the configuration to modules, and the one way to compose and validate a configuration.

    tapeline config model=flat      prints what an override makes of the configuration

A name in the configuration stands for a module of tapeline (`model.family: deep` is
`tapeline.models.deep`), never for code to call, and that module's `Section` is the schema of its
keys. So a new dataset or model is one module and one short file in conf/.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, cast

from pydantic import ValidationError

from tapeline import files
from tapeline.config.compose import Composed, compose, flat, options, secret_at
from tapeline.config.schema import (
    TARGETS,
    Config,
    Dataset,
    Gate,
    Hardware,
    Model,
    Serving,
    Split,
    Target,
    Track,
)
from tapeline.config.search import Tune
from tapeline.config.section import Section
from tapeline.datasets import DatasetModule
from tapeline.datasets.sources import Source
from tapeline.errors import Finding, Refused, choose, nearest, refuse
from tapeline.models import Family
from tapeline.redaction import holds_secret
from tapeline.tables import splits
from tapeline.tables.observed import Observed
from tapeline.tables.spec import Manifest, SignatureSpec, Spec
from tapeline.tasks import Metric, Task
from tapeline.tasks import metric as metric_of

GROUPS: dict[str, type[Section]] = {
    "dataset": Dataset,
    "model": Model,
    "tune": Tune,
    "hw": Hardware,
    "split": Split,
    "gate": Gate,
    "serving": Serving,
    "target": Target,
    "track": Track,
}
MODULES = {"dataset": ("name", "datasets"), "model": ("family", "models")}
"""Groups whose schema lies in a module: the key that names it, and the package."""
OPTIONAL = {"tune": "optuna", "track": "mlflow"}
"""Groups with the option none, for which there is no section, and an option that makes one."""


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


def dataset(section: Dataset) -> DatasetModule:
    """The module of a dataset."""
    return dataset_named(section.name)


def signatures(manifest: Manifest) -> tuple[SignatureSpec, ...]:
    """What clients may send instead of the features of this table: its dataset's signatures."""
    offer = getattr(dataset_named(manifest.dataset), "signatures", None)
    return tuple(offer(manifest)) if offer else ()


def has_series(section: Dataset) -> bool:
    """Whether a dataset has series in which defects can be found."""
    return hasattr(dataset(section), "observed")


def observed(section: Dataset, raw: Any) -> Iterator[Observed]:
    """The series of a dataset as they were delivered, to find defects in them; none where it has no series."""
    offer = getattr(dataset(section), "observed", None)
    yield from offer(section, raw) if offer else ()


def model_name(dataset: Mapping[str, Any]) -> str:
    """What models of a dataset are served as, unless `serving.name` says otherwise.

    Args:
        dataset: the keys of the section, not validated yet.
    """
    name = str(dataset.get("name"))
    if name in options("dataset"):
        offer = getattr(dataset_named(name), "model_name", None)
        name = offer(dataset) if offer else name
    return f"{name}{'-simulated' if dataset.get('source') == 'simulated' else ''}"


def source(section: Dataset) -> Source:
    """The module of a dataset's source.

    Raises:
        Refused: there is none of that name.
    """
    known = sources()
    if section.source not in known:
        raise refuse(f"dataset.source={section.source}", "unknown source", choose(section.source, list(known)))
    return known[section.source]


def sources() -> dict[str, Source]:
    """All sources by name: the modules of datasets/sources that have READS."""
    package = "tapeline.datasets.sources"
    found = {name: importlib.import_module(f"{package}.{name}") for name in files.modules(package)}
    return {name: cast(Source, each) for name, each in found.items() if hasattr(each, "READS")}


def family(name: str) -> Family:
    """The module of a family."""
    return cast(Family, module("models", name, "model.family"))


def task(name: str) -> Task:
    """The module of a task."""
    return cast(Task, module("tasks", name, "task"))


def dataset_named(name: str) -> DatasetModule:
    """The module of the dataset of that name."""
    return cast(DatasetModule, module("datasets", name, "dataset.name"))


def spec(name: str) -> Spec:
    """What the dataset of that name declares."""
    return dataset_named(name).SPEC


def metric(metrics: Mapping[str, Any]) -> Metric:
    """The metric that the gate asked for, of a run's metrics.json.

    Raises:
        Refused: its dataset is no longer there, or has no such metric.
    """
    name = metrics["config"]["gate"]["metric"]
    try:
        return metric_of(task(spec(metrics["config"]["dataset"]["name"]).task), name)
    except KeyError:
        raise refuse(f"gate.metric={name}", "is not a metric of this dataset", "run it again") from None


def configure(overrides: Sequence[str]) -> Config:
    """Compose conf/ with Hydra overrides and validate the result.

    Raises:
        Refused: all that is wrong with it, each with key and fix.
    """
    return validate(compose(overrides))


def validate(composed: Composed) -> Config:
    """Check a composed configuration against the schema.

    Raises:
        Refused: every unknown key, wrong type and value out of range, all at once.
    """
    plain = composed.values
    given = composed.environment
    if secrets := [key for key, value in flat(plain).items() if key not in given and holds_secret(str(value))]:
        raise Refused(*map(secret_at, secrets))
    findings: list[Finding] = []
    names = ["experiment", "seed", *GROUPS]
    for key in plain:
        if key not in names:
            findings.append(Finding(key, "unknown key", nearest(key, names, otherwise="remove it")))
    values: dict[str, Any] = {"experiment": plain.get("experiment"), "seed": plain.get("seed")}
    if not isinstance(values["seed"], int) or isinstance(values["seed"], bool) or values["seed"] < 0:
        shown = composed.environment.get("seed", values["seed"])
        findings.append(Finding(f"seed={shown}", "must be a whole number, 0 or more", "write it as in seed=0"))
    for group in GROUPS:
        section = plain.get(group)
        if group in OPTIONAL and (section is None or section == {"name": "none"}):
            continue
        if not isinstance(section, dict):
            findings.append(Finding(group, "the section is missing", f"choose one of: {', '.join(options(group))}"))
            continue
        try:
            values[group] = _section(group, section, plain)
        except ValidationError as error:
            findings += _explain(group, section, error, composed.environment)
        except Refused as error:
            findings += error.findings
    if findings:
        raise Refused(*findings)
    return Config(**values, environment=composed.environment, linked=composed.linked)


def _section(group: str, section: dict[str, Any], plain: Mapping[str, Any]) -> Section:
    if group in OPTIONAL and section.get("name") == "none":
        what, fix = f"is not read, since {group}=none", f"set {group}={OPTIONAL[group]} too"
        raise Refused(*(Finding(f"{group}.{key}", what, fix) for key in section if key != "name"))
    if group == "serving" and section.get("name") is None:
        section = {**section, "name": model_name(plain.get("dataset") or {})}
    if group == "gate" and section.get("metric") is None:
        section = {**section, "metric": _primary(plain.get("dataset") or {})}
    if group == "tune":
        section = _tune(section, plain)
    return _schema(group, section).model_validate(section)


def _tune(section: dict[str, Any], plain: Mapping[str, Any]) -> dict[str, Any]:
    """The section with the task's primary metric and the family's ranges, where it leaves them open."""
    rest = {key: value for key, value in section.items() if key != "spaces"}
    if rest.get("metric") is None:
        rest["metric"] = _primary(plain.get("dataset") or {})
    if rest.get("space") is None:
        family_name = (plain.get("model") or {}).get("family")
        rest["space"] = (section.get("spaces") or {}).get(family_name) or {}
    return rest


def _primary(dataset: Mapping[str, Any]) -> str:
    """The metric of a dataset's task that gates take by default; empty where the dataset itself is refused."""
    try:
        return task(spec(str(dataset.get("name"))).task).PRIMARY
    except Refused:
        return ""


def _explain(
    group: str, section: Mapping[str, Any], error: ValidationError, environment: Mapping[str, str]
) -> Iterator[Finding]:
    for detail in error.errors():
        key = ".".join([group, *map(str, detail["loc"])])
        if detail["type"] == "extra_forbidden":
            siblings = list(_schema(group, section).model_fields) if len(detail["loc"]) == 1 else []
            yield Finding(key, "unknown key", nearest(str(detail["loc"][-1]), siblings, otherwise="remove it"))
        elif detail["type"] == "missing":
            yield Finding(key, "the key is missing", "set it")
        else:
            rule = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
            yield Finding(
                f"{key}={environment.get(key) or repr(detail['input'])}",
                rule[0].lower() + rule[1:],
                "set another value",
            )


def schema_of(group: str, option: str) -> type[Section] | None:
    """The schema of an option of a group; None where the option sets keys of all sections, as experiments do.

    Raises:
        Refused: there is no such option.
    """
    if group not in GROUPS or (group in OPTIONAL and option == "none"):
        return None
    if group == "split":
        return splits.section(compose([f"split={option}"]).values["split"]["name"])
    if group == "target":
        return TARGETS.get(option)
    if group not in MODULES:
        return GROUPS[group]
    key, _ = MODULES[group]
    return _schema(group, {key: compose([f"{group}={option}"]).values[group][key]})


def _schema(group: str, section: Mapping[str, Any]) -> type[Section]:
    """The schema of a section, which its own name may choose."""
    if group == "split":
        return splits.section(section.get("name"))
    if group not in (*MODULES, "target"):
        return GROUPS[group]
    key, package = MODULES.get(group, ("name", ""))
    name = str(section.get(key))
    if name not in options(group):
        raise refuse(f"{group}.{key}={name}", f"conf/{group} has no file of that name", choose(name, options(group)))
    if group == "target":
        return TARGETS[name]
    return cast(type[Section], module(package, name, f"{group}.{key}").Section)
