"""The files of conf/, composed with overrides by Hydra."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from fnmatch import fnmatch
from functools import cache, reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import yaml

from tapeline import files
from tapeline.config.overrides import Override, parse
from tapeline.config.schema import NO_KEYS, Config
from tapeline.config.section import Section
from tapeline.errors import Finding, Refused, choose, refuse
from tapeline.redaction import holds_secret, remember

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PLACES = (
    *("target", "dataset.path", "dataset.files.*.path", "dataset.url", "dataset.password_*"),
    *("serving.store", "serving.lock_seconds", "serving.keep", "serving.engine"),
    *("serving.host", "serving.grpc_port", "serving.rest_port", "serving.poll_seconds", "serving.reload"),
    *("tune.storage", "tune.password_*", "track"),
)
"""Keys of paths, ports and this machine; they are in no cache key and not in metrics.json."""


def root() -> Path:
    """The folder of conf/ and the lock files: the checkout, or the installed package."""
    package = Path(__file__).parents[1]
    checkout = package.parents[1]
    return checkout if (checkout / "conf" / "config.yaml").is_file() else package


def folder() -> Path:
    """The folder of configuration files; the variable TAPELINE_CONF names another."""
    return Path(os.environ.get("TAPELINE_CONF") or root() / "conf").absolute()


def options(group: str) -> list[str]:
    """The files of a group, without ending."""
    return sorted(path.stem for path in (folder() / group).glob("*.yaml"))


@dataclass(frozen=True)
class Composed:
    """Plain values, not yet validated."""

    values: dict[str, Any]
    """With interpolations resolved."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Keys, dotted, whose value comes from the environment, with their text, for example ${oc.env:STEPS}."""
    linked: bool = False
    """A key refers to another key."""

    @property
    def unresolved(self) -> dict[str, Any]:
        """The values as they may be written: values of the environment stay interpolations."""
        return _unresolved(self.values, self.environment)


def compose(overrides: Sequence[str]) -> Composed:
    """Compose conf/ with Hydra overrides.

    Raises:
        Refused: an override or a file that Hydra cannot take.
    """
    if not (folder() / "config.yaml").is_file():
        raise refuse(folder() / "config.yaml", "no such file", "set TAPELINE_CONF to a folder that has it")
    return _compose(folder(), for_hydra(parse(overrides)), str(folder()))


def apply(base: Mapping[str, Any], overrides: Sequence[str]) -> Composed:
    """Apply overrides to a composed configuration; an option of a group replaces its section.

    Raises:
        Refused: an override that Hydra cannot take, or an experiment, which is a configuration of its own.
    """
    parsed = parse(overrides)
    texts = for_hydra(parsed)
    groups = {each.key: each.text for each in parsed if is_group(each.key)}
    for group in ("experiment", "debug"):
        if group in groups:
            raise refuse(groups[group], "sets keys of all sections", "use tapeline run with it instead")
    whole = {**base, **{group: compose([text]).unresolved[group] for group, text in groups.items()}}
    with TemporaryDirectory() as name:
        (Path(name) / "config.yaml").write_text(yaml.safe_dump(whole, allow_unicode=True), encoding="utf-8")
        return _compose(Path(name), [text for text in texts if text not in groups.values()], "the run's config.yaml")


def _compose(where: Path, overrides: Sequence[str], named: str) -> Composed:
    """Compose the config.yaml of a folder; refusals without an override name `named`."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(where), version_base="1.3"):
            return resolve(hydra_compose("config", overrides=list(overrides)))
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        # Hydra says with ValueError, too, what it cannot take, as a group that is null
        sentence = " ".join(str(error).split("\n")[0].split())
        raise refuse(" ".join(overrides) or named, sentence, "correct the override or the file") from None


def resolve(composed: Any) -> Composed:
    """The composed configuration as plain values.

    Args:
        composed: a DictConfig.
    """
    from omegaconf import OmegaConf

    values = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
    environment, linked = dict[str, str](), False
    for path, text in _leaves(OmegaConf.to_container(composed, resolve=False)):
        if "${" in str(text):
            if _reads_environment(composed, path):
                environment[".".join(path)] = text
            linked |= bool(re.search(r"\$\{(?!oc\.env:)", str(text)))
    return Composed(values, environment, linked)


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    else:
        yield path, value


def _reads_environment(composed: Any, path: Sequence[str]) -> bool:
    """Whether the value comes from the environment, directly or through other keys."""
    from omegaconf import OmegaConf
    from omegaconf.resolvers import oc

    read = list[Any]()

    def env(*arguments: Any) -> Any:
        read.append(arguments)
        if given := os.environ.get(str(arguments[0])):
            remember(given, f"${{oc.env:{arguments[0]}}}")
        return oc.env(*arguments)

    OmegaConf.register_new_resolver("oc.env", env, replace=True)
    try:
        found = reduce(lambda node, key: node[key], path, composed)
        if OmegaConf.is_config(found):
            OmegaConf.to_container(found, resolve=True)
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
    return bool(read)


def is_group(key: str) -> bool:
    """Whether conf/ has options for this key."""
    return (folder() / key).is_dir()


def for_hydra(overrides: Iterable[Override], *, sweep: bool = False) -> list[str]:
    """Overrides for Hydra: unknown keys are added, so that validation reports all of them.

    Raises:
        Refused: a choice that is not there, several values without `sweep`, one of Hydra's own keys.
    """
    texts, findings = list[str](), list[Finding]()
    for each in overrides:
        if sweep and each.key.startswith(("hydra.", "hydra/")):
            texts.append(each.text)
            continue
        findings += _problems(each, sweep)
        texts.append(_option(each) if is_group(each.key) else each.forced)
    if findings:
        raise Refused(*findings)
    return texts


def _option(override: Override) -> str:
    """Hydra reads `debug=true` as a boolean, and takes only text for an option."""
    return f"{override.text.partition('=')[0]}='true'" if override.value is True else override.text


def secret_at(key: str) -> Finding:
    """The finding about a key whose value is, or may be, a secret."""
    fix = f"write it into a variable of the environment, as in {key}='${{oc.env:NAME}}'"
    if key in ("dataset.url", "tune.storage"):
        fix = f"leave it out, and name its variable, as in {key.partition('.')[0]}.password_env=PGPASSWORD"
    return Finding(key, "holds a password, key or token, or may", fix)


def _problems(override: Override, sweep: bool) -> Iterator[Finding]:
    key, text = override.key, override.text
    if holds_secret(text):
        yield secret_at(key)
    elif key.startswith("hydra.") and key != "hydra.searchpath":
        yield Finding(text, "Hydra's own keys have no effect on a single run", "remove it")
    elif override.sweep and not sweep:
        yield Finding(text, "several values make a sweep, not a run", f"give {key} one value, or use make sweep")
    elif hasattr(override.value, "filter"):  # glob(...)
        if not is_group(key):
            problem = f"glob chooses among files, and {key} is not a group"
            yield Finding(text, problem, f"list the values, as in {key}=1,2")
        elif not override.value.filter(options(key)):
            yield Finding(text, f"no option of {key} matches", f"choose among: {', '.join(options(key))}")
    elif is_group(key) and override.op != "delete":
        choices = override.value if isinstance(override.value, list) else [override.value]
        for choice in choices if not override.sweep or isinstance(override.value, list) else ():
            name = str(choice).lower() if isinstance(choice, bool) else str(choice)
            if choice is not None and name not in options(key):
                yield Finding(text, f"{key} has no option {name}", choose(name, options(key)))


def option_digests(group: str) -> dict[str, str]:
    """A digest of the values of each option of a group, by `group=option`; places are left out."""
    read = files.digest([[str(path), path.read_text("utf-8")] for path in sorted(folder().rglob("*.yaml"))])
    return {f"{group}={option}": _option_digest(folder(), read, group, option) for option in options(group)}


@cache
def _option_digest(folder: Path, read: str, group: str, option: str) -> str:
    """The digest of an option, cached as long as its files do not change."""
    section = compose([f"{group}={option}"]).unresolved[group]
    return files.digest(_without_places({group: section}, ""))[:16]


def plain(config: DataclassInstance, *, places: bool = True) -> dict[str, Any]:
    """The configuration, or a step's part of it, as plain values; without `places`, no paths and ports.

    This is what may be written: text instead of what comes from the environment. A step's part has the values
    that the step uses; where it has the field `environment`, those of the dataset, in which secrets could
    be, are text.
    """
    values = {each.name: _plain(getattr(config, each.name)) for each in fields(config) if each.name not in NO_KEYS}
    texts: Mapping[str, str] = getattr(config, "environment", {})
    if not isinstance(config, Config):
        texts = {key: text for key, text in texts.items() if key.startswith("dataset.")}
    values = _unresolved(values, texts)
    return values if places else _without_places(values, "")


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    return value


def _unresolved(values: Mapping[str, Any], environment: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
    return {
        key: _unresolved(inner, environment, f"{prefix}{key}.")
        if isinstance(inner, dict) and f"{prefix}{key}" not in environment
        else environment.get(f"{prefix}{key}", inner)
        for key, inner in values.items()
    }


def values_of(config: Config, reads: Iterable[str]) -> dict[str, Any]:
    """The values of sections and single keys, by dotted key, as they may be written; places are left out."""
    whole = flat(plain(config, places=False))
    names = tuple(reads)
    return {key: value for key, value in whole.items() if any(f"{key}.".startswith(f"{name}.") for name in names)}


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
