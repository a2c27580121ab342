"""The key of a step in the cache: the digest of what it could have seen, part by part, so that a miss can be explained.

A laptop and a cluster find each other's entries where these parts are the same.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from functools import cache
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.config import compose as conf
from tapeline.config.schema import Config
from tapeline.lookup import spec
from tapeline.pipeline.execution import view
from tapeline.pipeline.graph import Step

Parts = dict[str, Any]
"""Flat: {"model.steps": 30000, "input table": digest, "tapeline's source": digest, "package numpy": "2.3.5", ...}."""
IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+([\w.]+))", re.MULTILINE
)
CHOOSES = ("tapeline.lookup", "tapeline.config")
"""What they choose is in the key itself."""
PACKAGES = {
    "google": "protobuf",
    "grpc": "grpcio",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "talib": "TA-Lib",
    "tensorflow_serving": "tensorflow-serving-api",
    "yaml": "PyYAML",
}
"""Packages whose name is not that of their module."""


def parts(
    step: Step, config: Config, inputs: Mapping[str, str], known: MutableMapping[str, str] | None = None
) -> Parts | None:
    """Everything that a step's result depends on; None if that is not known before it runs.

    Args:
        step: of the graph of this configuration.
        config: the whole of it.
        inputs: the digest of each artifact that the step takes.
        known: digests of objects in object storages, by URL and ETag; those that are computed here are added.
    """
    if step.world == "fresh":
        return None
    seen: Parts = {}
    if step.world == "watched":
        outside = step.module().seen(view(config, step.view), known)
        if outside is None:
            return None
        seen = {"data outside": outside}
    return {
        **_values(step, config),
        **{f"input {name}": digest for name, digest in inputs.items()},
        **seen,
        **environment(step, config),
    }


def _values(step: Step, config: Config) -> Parts:
    """Values of the keys that the step reads; a digest stands for a value of the environment."""
    used = conf.flat(conf.plain(view(config, step.view), places=False))
    written = conf.values_of(config, step.reads)
    return {
        key: value if written.get(key) == value else f"{written.get(key)}: {files.digest(value)[:12]}"
        for key, value in used.items()
    }


def environment(step: Step, config: Config) -> dict[str, str]:
    """The part that is not configuration: tapeline's source, packages, Python, and the processor.

    The processor's instruction set belongs to steps that compute with floats what a library may compute in another
    order there. Data is the same bytes on each.
    """
    machine = [platform.machine(), sys.platform]
    return {
        "tapeline's source": digest_of_source(),
        "Python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "processor": files.digest(*machine) if step.data else files.digest(*machine, instruction_set()),
        **{f"package {name}": version for name, version in packages(step, config).items()},
    }


def explained(part: str, old: Parts, new: Parts) -> str:
    """A part that differs, with both values where a reader can compare them."""
    if part.startswith("input ") or part in ("data outside", "tapeline's source", "processor"):
        return part
    return f"{part} {old.get(part)} -> {new.get(part)}"


@cache
def digest_of_source() -> str:
    """The digest of tapeline's own source, as far as it can change a result."""
    package = Path(__file__).parents[1]
    return files.digest([[str(path.relative_to(package)), files.digest_path(path)] for path in source()])


def source() -> list[Path]:
    """Our source, templates and tables of facts included, but what only decides where a graph runs."""
    package, rooms = Path(__file__).parents[1], {"cli", "commands", "checks", "clusters"}
    names = ("run_locally", "cache", "cache_key", "shared_cache", "run_folder")
    here = {f"pipeline/{name}.py" for name in names}
    known = (path for path in package.rglob("*") if path.suffix in (".py", ".html", ".json"))
    inside = ((path, path.relative_to(package)) for path in known)
    return sorted(path for path, name in inside if name.parts[0] not in rooms and name.as_posix() not in here)


@cache
def instruction_set() -> tuple[str, ...]:
    """The processor's flags."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return (platform.processor(),)
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return tuple(sorted(flags.partition(":")[2].split()))


def packages(step: Step, config: Config) -> dict[str, str]:
    """The installed versions, by name, of the packages that a step of this configuration may import, sorted."""
    chosen = _chosen(step, config)
    reached, waiting = set[str](), [step.module().__name__]
    while waiting:
        name = waiting.pop()
        if name in reached or name.startswith(CHOOSES):
            continue
        reached.add(name)
        for module, attribute in _imports(name):
            if module == "tapeline.lookup":
                waiting += chosen.get(attribute, chosen["dataset"]) if attribute else []
            elif module.partition(".")[0] == step.package.partition(".")[0] or module.startswith("tapeline."):
                waiting += [module, *([f"{module}.{attribute}"] if attribute else [])]
            else:
                reached.add(module.partition(".")[0])
    ours = ("tapeline", step.package.partition(".")[0], *sys.stdlib_module_names)
    return {name: _version(name) for name in sorted(reached, key=str.lower) if name.partition(".")[0] not in ours}


def _chosen(step: Step, config: Config) -> dict[str, list[str]]:
    """The modules behind the functions of lookup.py.

    A pod has no more of the configuration than what its step reads; where that does not choose, all may be meant.
    """
    sections, dataset = {key.partition(".")[0] for key in step.reads}, config.dataset
    ours = "dataset" in sections
    task = spec(dataset.name).task if ours else None
    rooms = {
        "dataset": ("datasets", dataset.name if ours else None),
        "source": ("datasets.sources", dataset.source if ours else None),
        "family": ("models", config.model.family if "model" in sections else None),
        "task": ("tasks", task),
    }
    names = {name: f"tapeline.{room}" for name, (room, _) in rooms.items()}
    return {
        name: [f"{names[name]}.{each}" for each in ([one] if one else files.modules(names[name]))]
        for name, (_, one) in rooms.items()
    }


@cache
def _imports(name: str) -> tuple[tuple[str, str], ...]:
    """The imports of a module, also those inside of functions: module, and name in it or "".

    They are found in its text: to import what a step may need takes seconds.
    """
    return tuple(_found(name))


def _found(name: str) -> Iterator[tuple[str, str]]:
    package, _, rest = name.partition(".")
    root = Path(__file__).parents[1] if package == "tapeline" else _root(package)
    path = root.joinpath(*rest.split("."))
    file = next((each for each in (path / "__init__.py", path.with_name(f"{path.name}.py")) if each.is_file()), None)
    if file is None:  # a name in a module
        return
    text = file.read_text(encoding="utf-8")
    for module, names, whole in IMPORT.findall(text):
        yield whole or module, ""
        plain = re.sub(r"#[^\n]*", "", names)
        yield from ((module, each) for each in re.findall(r"(\w+)(?:[ \t]+as[ \t]+\w+)?\s*(?:,|$|\))", plain))
    if "files.modules(__name__)" in text:
        yield from ((name, each) for each in files.modules(name))


def _root(package: str) -> Path:
    return Path(str(sys.modules[package].__file__)).parent


@cache
def _version(module: str) -> str:
    """The installed version of the package that has a module; "none" where it is not installed."""
    try:
        return importlib.metadata.version(PACKAGES.get(module, module))
    except importlib.metadata.PackageNotFoundError:
        return "none"
