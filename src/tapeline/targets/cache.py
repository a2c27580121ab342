"""Finished steps, by content: `<cache>/<step>/<key>/` holds what a step made and entry.json.

An entry appears by one rename when it is complete, and is read-only. The key is the digest of what
the step could have seen, part by part, so that a miss can be explained.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tapeline import conf, files
from tapeline import config as configuration
from tapeline.config import Config
from tapeline.graph import Parameters, Step

Parts = dict[str, Any]
"""Flat: {"model.steps": 30000, "input table": digest, "tapeline's source": digest, ...}."""


@dataclass(frozen=True)
class Entry:
    """A finished step."""

    folder: Path
    digests: dict[str, str]
    """Of each artifact, by name."""
    parameters: Parameters
    seconds: float


def parts(step: Step, config: Config, inputs: Mapping[str, str]) -> Parts | None:
    """What decides a step's result; None where that cannot be known beforehand.

    Args:
        inputs: the digest of each artifact that the step takes.
    """
    if step.world == "fresh":
        return None
    seen: Parts = {}
    if step.world == "watched":
        outside = step.module().seen(config)
        if outside is None:
            return None
        seen = {"data outside": outside}
    read = configuration.plain(configuration.view(config, step.reads), places=False)
    return {
        **configuration.flat(read),
        **{f"input {name}": digest for name, digest in inputs.items()},
        **seen,
        **environment(),
    }


@cache
def environment() -> dict[str, str]:
    """What is the same for every step: our source, the lock file, Python and the processor."""
    package = Path(__file__).parents[1]
    files_of_ours = [[str(path.relative_to(package)), files.digest_path(path)] for path in source()]
    lock = conf.root() / "requirements.lock"
    return {
        "tapeline's source": files.digest(files_of_ours),
        "requirements.lock": files.digest_path(lock) if lock.is_file() else "none",
        "Python": platform.python_version(),
        "processor": files.digest(platform.machine(), sys.platform, _instruction_set()),
    }


def source() -> list[Path]:
    """Our source, templates included, but what only decides where a graph runs."""
    package, outside = Path(__file__).parents[1], {"cli.py", "checks", "targets"}
    known = (path for path in package.rglob("*") if path.suffix in (".py", ".html"))
    return sorted(path for path in known if path.relative_to(package).parts[0] not in outside)


def _instruction_set() -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return [platform.processor()]
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return sorted(flags.partition(":")[2].split())


def find(root: Path, step: Step, wanted: Parts) -> Entry | None:
    """The entry for these parts, if it is there and nothing of it is lost or altered."""
    folder = root / step.name / files.digest(wanted)
    try:
        entry = files.read_json(folder / "entry.json")
        whole = all(files.digest_path(folder / made.file) == entry["digests"][made.name] for made in step.makes)
    except (OSError, ValueError, KeyError):
        return None
    if not whole:
        return None
    os.utime(folder)
    return Entry(folder, entry["digests"], entry["parameters"], entry["seconds"])


def make(root: Path, step: Step, wanted: Parts, build: Callable[[dict[str, Path]], tuple[Parameters, float]]) -> Entry:
    """Let `build` make the step's artifacts in a private folder, then enter that folder in the cache.

    Where another run was first, its entry is the one that stays.
    """
    folder = root / step.name / files.digest(wanted)
    with files.scratch(folder.parent, folder.name) as scratch:
        inside = scratch / folder.name
        inside.mkdir()
        parameters, seconds = build({made.name: inside / made.file for made in step.makes})
        digests = {made.name: files.digest_path(inside / made.file) for made in step.makes}
        entry = {"parts": wanted, "digests": digests, "parameters": parameters, "seconds": seconds}
        files.write_json(inside / "entry.json", entry)
        for path in inside.rglob("*"):
            if path.is_file():
                path.chmod(0o444)
        try:
            os.rename(inside, folder)
        except OSError:
            if first := find(root, step, wanted):
                return first
            if not folder.exists():
                raise
            os.rename(folder, inside.with_name("damaged"))
            os.rename(inside, folder)
    return Entry(folder, digests, parameters, seconds)


def why(root: Path, step: Step, wanted: Parts) -> list[str]:
    """The parts of the key that differ from the nearest entry; empty where the step never ran."""
    known = []
    for path in (root / step.name).glob("*/entry.json"):
        try:
            old = files.read_json(path)["parts"]
        except (OSError, ValueError, KeyError):
            continue
        changed = [part for part in {**old, **wanted} if old.get(part) != wanted.get(part)]
        known.append((len(changed), -path.parent.stat().st_mtime, [_say(part, old, wanted) for part in changed]))
    return min(known)[2] if known else []


def _say(part: str, old: Parts, new: Parts) -> str:
    if part.startswith("input ") or part in environment() or part == "data outside":
        return part
    return f"{part} {old.get(part)} -> {new.get(part)}"
