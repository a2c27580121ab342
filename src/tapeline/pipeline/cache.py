"""Finished steps, by content: `<cache>/<step>/<key>/` holds what a step made and entry.json.

An entry appears by one rename when it is complete, and is read-only. The key is the digest of what
the step could have seen, part by part, so that a miss can be explained.
"""

from __future__ import annotations

import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.config import compose as conf
from tapeline.config.schema import Config
from tapeline.pipeline.execution import view
from tapeline.pipeline.graph import Artifact, Parameters, Step

Parts = dict[str, Any]
"""Flat: {"model.steps": 30000, "input table": digest, "tapeline's source": digest, ...}."""
LEFT_SECONDS = 86_400
LOCK, RUNS = ".lock", ".runs"
"""In the cache: shared by runs that name entries, held alone to remove some; links to the folders of its runs."""
STUDIES = "studies"
"""In the cache: folders of unfinished work, that other values of some keys take up."""
RECORD = "run.json"
"""In a run's folder: what it is, how far it came, and which entries of the cache it names."""


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
        outside = step.module().seen(view(config, step.view))
        if outside is None:
            return None
        seen = {"data outside": outside}
    return {
        **_values(step, config),
        **{f"input {name}": digest for name, digest in inputs.items()},
        **seen,
        **environment(),
    }


def _values(step: Step, config: Config) -> Parts:
    """Of the keys that it reads; the key is written into the entry, so a digest stands for the environment's."""
    used = conf.flat(conf.plain(view(config, step.view), places=False))
    written = conf.values_of(config, step.reads)
    return {
        key: value if written.get(key) == value else f"{written.get(key)}: {files.digest(value)[:12]}"
        for key, value in used.items()
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
    """Our source, templates and tables of facts included, but what only decides where a graph runs."""
    package, rooms = Path(__file__).parents[1], {"cli", "commands", "checks", "clusters"}
    here = {f"pipeline/{name}.py" for name in ("run_locally", "cache", "run_folder")}
    known = (path for path in package.rglob("*") if path.suffix in (".py", ".html", ".json"))
    inside = ((path, path.relative_to(package)) for path in known)
    return sorted(path for path, name in inside if name.parts[0] not in rooms and name.as_posix() not in here)


def _instruction_set() -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return [platform.processor()]
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return sorted(flags.partition(":")[2].split())


def claim(root: Path, step: Step, wanted: Parts, run: Path) -> None:
    """Let a run's run.json name the entry for these parts, before anybody looks whether the entry is there.

    What a run names is never removed, and the cache knows in which folders its runs lie.
    """
    _name_entry(root, _folder(root, step, wanted), run)


def unfinished(root: Path, step: Step, wanted: Parts, run: Path) -> Path:
    """The folder of a step's unfinished work, which the run names; see `Step.resumes`."""
    same = {key: value for key, value in wanted.items() if key not in step.resumes}
    folder = root / STUDIES / files.digest(step.name, same)
    _name_entry(root, folder, run)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / "entry.json", {"parts": same})
    os.utime(folder)
    return folder


def _name_entry(root: Path, entry: Path, run: Path) -> None:
    with files.locked(root / LOCK, seconds=60, what="the cache", shared=True):
        known = root / RUNS / f"runs-{files.digest(str(run.parent.resolve()))[:12]}"
        if not known.is_symlink():
            known.parent.mkdir(exist_ok=True)
            with suppress(FileExistsError):
                known.symlink_to(os.path.relpath(run.parent.resolve(), known.parent.resolve()))
        record = files.read_json(run / RECORD)
        files.write_json(run / RECORD, {**record, "entries": [*record["entries"], f"{entry.parent.name}/{entry.name}"]})


@dataclass(frozen=True)
class Kept:
    """An entry as it lies on the disk."""

    folder: Path
    step: str
    bytes: int
    seconds: float
    """Since it was made or last found."""
    named: bool
    """By a run."""


def kept(root: Path, folders: Sequence[Path]) -> list[Kept]:
    """All entries, the last used first.

    Args:
        root: of the cache.
        folders: of runs, beside those that the cache knows of.
    """
    free = set(unused(root, folders, (), left_seconds=-math.inf))
    found = []
    for path in root.glob("*/*/entry.json"):
        entry = path.parent
        found.append(Kept(entry, entry.parent.name, files.size([entry]), _age(entry), entry not in free))
    return sorted(found, key=lambda each: (each.seconds, str(each.folder)))


def set_aside(entries: Iterable[Path], aside: Path) -> None:
    """Move entries into a folder that is going to be removed; the caller holds the cache's lock."""
    for entry in entries:
        os.rename(entry, aside / f"{entry.parent.name}-{entry.name}")


def unused(
    root: Path, folders: Sequence[Path], going: Sequence[Path], *, left_seconds: float = LEFT_SECONDS
) -> list[Path]:
    """Entries that only the runs to be removed name; without such runs, those unused for `left_seconds`.

    Entries without a run are left from runs that were refused, killed or deleted by hand; the next run may
    still want what is new among them.

    Args:
        root: of the cache.
        folders: of runs, beside those that the cache knows of.
        going: runs' folders.
        left_seconds: least seconds since the last use of an entry that no run names.
    """
    known = [link.resolve() for link in (root / RUNS).glob("*")] + [folder.resolve() for folder in folders]
    leaving = {run.resolve() for run in going}
    staying = {run for folder in known if folder.is_dir() for run in folder.iterdir() if run.is_dir()} - leaving
    used = set[str]().union(*(named(run) for run in staying if not run.is_symlink()))
    freed = set[str]().union(*(named(run) for run in leaving))
    found = {f"{path.parent.parent.name}/{path.parent.name}": path.parent for path in root.glob("*/*/entry.json")}
    left = {name for name, entry in found.items() if _age(entry) > left_seconds}
    return sorted(found[name] for name in (left | freed & found.keys()) - used)


def named(run: Path) -> set[str]:
    """The entries that a run's run.json names, as step/key; none where it cannot be read."""
    try:
        return set(files.read_json(run / RECORD)["entries"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _age(entry: Path) -> float:
    try:
        return time.time() - entry.stat().st_mtime
    except FileNotFoundError:  # another process removed it meanwhile
        return 0


def _folder(root: Path, step: Step, wanted: Parts) -> Path:
    return root / step.name / files.digest(wanted)


def find(root: Path, step: Step, wanted: Parts) -> Entry | None:
    """The entry for these parts, if it is there and nothing of it is lost or altered."""
    folder = _folder(root, step, wanted)
    try:
        entry = files.read_json(folder / "entry.json")
        whole = all(_digest(folder, made) == entry["digests"].get(made.name) for made in step.makes)
    except (OSError, ValueError, KeyError):
        return None
    if not whole:
        return None
    os.utime(folder)
    return Entry(folder, entry["digests"], entry["parameters"], entry["seconds"])


def digests_of(step: Step, folder: Path) -> dict[str, str]:
    """Of the artifacts that a step made in a folder; one that it need not make may be missing."""
    return {made.name: digest for made in step.makes if (digest := _digest(folder, made))}


def _digest(folder: Path, made: Artifact) -> str | None:
    path = folder / made.file
    return None if made.optional and not path.exists() else files.digest_path(path)


def make(root: Path, step: Step, wanted: Parts, build: Callable[[dict[str, Path]], tuple[Parameters, float]]) -> Entry:
    """Let `build` make the step's artifacts in a private folder, then enter that folder in the cache.

    Where another run was first, its entry is the one that stays.
    """
    folder = _folder(root, step, wanted)
    with files.scratch(folder.parent, folder.name) as scratch:
        inside = scratch / folder.name
        inside.mkdir()
        parameters, seconds = build({made.name: inside / made.file for made in step.makes})
        digests = digests_of(step, inside)
        entry = {"parts": wanted, "digests": digests, "parameters": parameters, "seconds": seconds}
        files.write_json(inside / "entry.json", entry)
        for path in inside.rglob("*"):
            if path.is_file():
                path.chmod(0o444)
        files.sync(inside)
        try:
            os.rename(inside, folder)
        except OSError:
            if first := find(root, step, wanted):
                return first
            if not folder.exists():
                raise
            os.rename(folder, inside.with_name("damaged"))
            os.rename(inside, folder)
        files.sync_entry(folder.parent)
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
