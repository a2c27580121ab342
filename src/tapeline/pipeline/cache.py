"""The cache of finished steps: `<cache>/<step>/<key>/` has the artifacts of a step and entry.json.

An entry appears by one rename when it is complete, and is read-only. cache_key.py makes its key.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tapeline import files
from tapeline.pipeline.cache_key import Parts, explained
from tapeline.pipeline.graph import Artifact, Parameters, Step

LEFT_SECONDS = 86_400
LOCK, RUNS = ".lock", ".runs"
"""In the cache: a lock, shared by runs that name entries and exclusive to remove some; links to folders of runs."""
STUDIES = "studies"
"""In the cache: folders of unfinished work, that other values of some keys take up."""
OBJECTS, MOST_OBJECTS = "objects.json", 10_000
"""In the cache: digests of objects outside, by URL and ETag, and how many of them at most."""
RECORD = "run.json"
"""In a run folder: what ran, its state, and the cache entries that it names."""


@dataclass(frozen=True)
class Entry:
    """A finished step."""

    folder: Path
    digests: dict[str, str]
    """By artifact."""
    parameters: Parameters
    seconds: float


def claim(root: Path, step: Step, wanted: Parts, run: Path) -> None:
    """Write the entry for these parts into a run's run.json, before it is looked up.

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
    """An entry on the disk."""

    folder: Path
    step: str
    bytes: int
    seconds: float
    """Since it was made or last used."""
    named: bool
    """Whether a run names it."""


def kept(root: Path, folders: Sequence[Path]) -> list[Kept]:
    """All entries, the most recently used first.

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
    """Move entries into a folder that will be removed; the caller holds the cache's lock."""
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
    """The entry for these parts, if it exists and is undamaged."""
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
    """Digests of the artifacts that a step made in a folder; optional ones may be missing."""
    return {made.name: digest for made in step.makes if (digest := _digest(folder, made))}


def _digest(folder: Path, made: Artifact) -> str | None:
    path = folder / made.file
    return None if made.optional and not path.exists() else files.digest_path(path)


def make(root: Path, step: Step, wanted: Parts, build: Callable[[dict[str, Path]], tuple[Parameters, float]]) -> Entry:
    """Let `build` make the step's artifacts in a temporary folder, then rename it into the cache.

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


def why(known: Iterable[tuple[Parts, float]], wanted: Parts) -> list[str]:
    """The parts of the key that differ from the most similar entry; empty if the step never ran.

    Args:
        known: the parts of each entry of the step, and its age in seconds.
        wanted: the parts of the one that is missing.
    """
    differing = list[tuple[int, float, list[str]]]()
    for old, age in known:
        changed = [part for part in {**old, **wanted} if old.get(part) != wanted.get(part)]
        differing.append((len(changed), age, [explained(part, old, wanted) for part in changed]))
    return min(differing)[2] if differing else []


def entries_of(root: Path, step: Step) -> Iterator[tuple[Parts, float]]:
    """The parts of each entry of a step, and its age in seconds."""
    for path in (root / step.name).glob("*/entry.json"):
        try:
            yield files.read_json(path)["parts"], _age(path.parent)
        except (OSError, ValueError, KeyError):
            continue


def local_folder(location: str) -> Path:
    """The folder of the cache on this machine: `target.cache`, or the one beside a shared cache at a URL."""
    return Path(".tapeline/cache" if "://" in location else location)


class Known(dict[str, str]):
    """Digests of objects in object storages, by URL and ETag, as far as this machine computed them."""

    def __init__(self, root: Path) -> None:
        """Read them from the cache; a damaged file is as none."""
        self.path = root / OBJECTS
        with suppress(OSError, ValueError, TypeError):
            super().__init__(files.read_json(self.path))

    def __setitem__(self, key: str, value: str) -> None:
        """Write one, and let the oldest go where there are too many."""
        super().__setitem__(key, value)
        files.write_json(self.path, dict(list(self.items())[-MOST_OBJECTS:]))
