"""The files of conf/, and how Hydra composes them with what people type."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import yaml

from tapeline.config.schema import Config, Section
from tapeline.errors import choose, refuse

PLACES = (
    *("target", "dataset.path", "dataset.files.*.path", "dataset.url", "dataset.password_*"),
    *("serving.store", "serving.lock_seconds", "serving.keep", "serving.engine"),
    *("serving.host", "serving.grpc_port", "serving.rest_port", "serving.poll_seconds"),
)
"""Where things lie and how one machine serves them: in no cache key and no metrics.json."""


def root() -> Path:
    """The folder that holds conf/ and the lock files: of the checkout, or of the installed package."""
    package = Path(__file__).parents[1]
    checkout = package.parents[1]
    return checkout if (checkout / "conf" / "config.yaml").is_file() else package


def folder() -> Path:
    """The folder of configuration files; the variable TAPELINE_CONF names another."""
    return Path(os.environ.get("TAPELINE_CONF") or root() / "conf").absolute()


def options(group: str) -> list[str]:
    """The files of a group, without ending."""
    return sorted(path.stem for path in (folder() / group).glob("*.yaml"))


def compose(overrides: Sequence[str]) -> dict[str, Any]:
    """Compose conf/ with Hydra overrides: plain values, not yet validated.

    Raises:
        Refused: an override or a file that Hydra cannot take.
    """
    if not (folder() / "config.yaml").is_file():
        raise refuse(folder() / "config.yaml", "no such file", "set TAPELINE_CONF to a folder that has it")
    return _compose(folder(), forced(overrides), str(folder()))


def upon(base: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """What overrides make of a configuration that was composed before; a group's option replaces its section.

    Raises:
        Refused: an override that Hydra cannot take, or an experiment, which is a configuration of its own.
    """
    wanted = forced(overrides)
    keys = {text: text.lstrip("+").partition("=")[0] for text in wanted}
    groups = {key: text for text, key in keys.items() if (folder() / key).is_dir()}
    if "experiment" in groups:
        raise refuse(groups["experiment"], "sets keys of all sections", "use tapeline run with it instead")
    whole = {**base, **{group: compose([text])[group] for group, text in groups.items()}}
    with TemporaryDirectory() as name:
        (Path(name) / "config.yaml").write_text(yaml.safe_dump(whole, allow_unicode=True), encoding="utf-8")
        return _compose(Path(name), [text for text in wanted if text not in groups.values()], "the run's config.yaml")


def _compose(where: Path, overrides: Sequence[str], named: str) -> dict[str, Any]:
    """Compose the config.yaml of a folder; refusals without an override speak of `named`."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(where), version_base="1.3"):
            composed = hydra_compose("config", overrides=list(overrides))
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        # Hydra says with ValueError, too, what it cannot take, as a group that is null
        sentence = " ".join(str(error).split("\n")[0].split())
        raise refuse(" ".join(overrides) or named, sentence, "mend the override or the file") from None
    return cast(dict[str, Any], plain)


def forced(overrides: Sequence[str], *, sweep: bool = False) -> list[str]:
    """Overrides as Hydra shall see them: keys are forced in, so that validation names all unknown ones.

    `key=` with nothing after it means as configured, and goes.

    Raises:
        Refused: an override that cannot be read, a choice that is not there, several values without `sweep`.
    """
    return [_forced(text, sweep) for text in overrides if not text.endswith("=") or text.count("=") > 1]


def _forced(text: str, sweep: bool) -> str:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException:
        quoted = text.partition("=")[0] + "='\"...\"'"
        fix = f"write key=value, and text with quotes as {quoted}"
        raise refuse(text, "Hydra cannot read this override", fix) from None
    key = override.key_or_group
    if sweep and (key.startswith(("hydra.", "hydra/"))):
        return text
    if key.startswith("hydra.") and key != "hydra.searchpath":
        raise refuse(text, "Hydra's own keys have no effect on a single run", "leave it out")
    if override.is_sweep_override() and not sweep:
        raise refuse(text, "several values make a sweep, not a run", f"give {key} one value, or use make sweep")
    if not (folder() / key).is_dir():
        return text if override.is_delete() else "++" + text.lstrip("+")
    choices = [override.value()] if not override.is_sweep_override() else []
    if override.is_choice_sweep():
        choices = list(override.value().list)
    for choice in choices:
        if choice is not None and str(choice) not in options(key) and not override.is_delete():
            raise refuse(text, f"{key} has no option {choice}", choose(str(choice), options(key)))
    return text


def name_of(dataset: Mapping[str, Any]) -> str:
    """What models of a dataset are served as, unless `serving.name` says otherwise."""
    return f"{dataset.get('name')}{'-simulated' if dataset.get('source') == 'simulated' else ''}"


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
