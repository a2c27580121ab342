"""The cache that laptop and cluster share: `target.cache=s3://bucket/prefix`, or a folder that several mount.

    <url>/<step>/<key>/<id>/...       the files of the step's artifacts, from one run
    <url>/<step>/<key>/entry.json     which id is complete, with the digest of each file; written last
    <url>/objects.json                digests of objects in object storages, by URL and ETag

entry.json is a conditional put: of two runs that finish the same step, one adds its entry, and the other deletes its
files. Digests are compared when an entry is read; who may write to the bucket is trusted all the same, since the
digests lie there too.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.config.schema import Target
from tapeline.console import LOG
from tapeline.errors import Refused
from tapeline.objects import NO_ETAG, AccessDenied, Found, Objects, PreconditionFailed, s3_options
from tapeline.pipeline import cache
from tapeline.pipeline.cache_key import Parts
from tapeline.pipeline.graph import Parameters, Step

PREFIX = "TAPELINE_CACHE_"
"""Before AWS_ACCESS_KEY_ID, ... in the environment: keys of the cache alone. Without them it has those of the store."""
LEFT_SECONDS = 86_400
"""Files that no entry.json names are of a run that was killed if they are older."""
COMPARED = 20
"""Entries, the newest of a step, with which `why` compares."""
ENTRY = "entry.json"


@dataclass
class Shared:
    """A shared cache in one process."""

    objects: Objects
    only_data: bool
    """Take only what has data alone, no model and no figures."""
    reached: bool = False
    """Whether a request has succeeded."""
    reads: bool = True
    writes: bool = True
    damaged: dict[str, str] = field(default_factory=dict)
    """The ETag of each damaged entry, which the next complete one replaces."""

    def fetch(self, step: Step, wanted: Parts, folder: Path) -> cache.Entry | None:
        """Download the entry for these parts into an empty folder; None if there is none, or it is damaged.

        Raises:
            Refused: the first request failed. If a later one does, the run goes on without the shared cache.
        """
        if not self.reads or (self.only_data and not step.data):
            return None
        place = _place(step, wanted)
        try:
            content, etag = self.objects.read(f"{place}/{ENTRY}")
        except FileNotFoundError:
            self.reached = True
            return None
        except Refused as error:
            if not self.reached:
                raise
            self.reads = self._stop("it is not read any more", error)
            return None
        self.reached = True
        try:
            return self._download(step, wanted, place, json.loads(content), folder)
        except Refused as error:
            self.reads = self._stop("it is not read any more", error)
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            self.damaged[place] = etag
            LOG.warning("  %-10s is damaged in %s; it is computed again", step.name, self.objects)
        return None

    def _download(self, step: Step, wanted: Parts, place: str, entry: Any, folder: Path) -> cache.Entry:
        """Download what entry.json names.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: it is damaged; FileNotFoundError: a file is missing.
        """
        known, made = _checked_id(entry["id"]), {each.file for each in step.makes}
        for name, digest in entry["files"].items():
            first, *rest = Path(name).parts
            if first not in made or ".." in rest:
                raise ValueError(name)
            self.objects.get_file(f"{place}/{known}/{name}", folder / name)
            if files.digest_path(folder / name) != digest:
                raise ValueError(name)
        digests = cache.digests_of(step, folder)
        if digests != entry["digests"] or json.dumps(entry["parts"], sort_keys=True) != json.dumps(
            wanted, sort_keys=True
        ):
            raise ValueError(place)
        parameters = {str(key): str(value) for key, value in entry["parameters"].items()}
        return cache.Entry(folder, digests, parameters, float(entry["seconds"]))

    def offer(
        self, step: Step, wanted: Parts, made: Mapping[str, Path], parameters: Parameters, seconds: float
    ) -> None:
        """Add an entry, unless the keys may only read, or another run was first; no failure ends the run.

        Args:
            step: that has run.
            wanted: the parts of its key.
            made: paths of its artifacts, by name.
            parameters: its output parameters.
            seconds: that it ran.
        """
        if not self.writes:
            return
        place, own = _place(step, wanted), uuid.uuid4().hex
        inside = {
            name: path for each in step.makes if each.name in made for name, path in _files(each.file, made[each.name])
        }
        entry = {
            "id": own,
            "parts": wanted,
            "files": {name: files.digest_path(path) for name, path in inside.items()},
            "digests": {each.name: files.digest_path(made[each.name]) for each in step.makes if each.name in made},
            "parameters": parameters,
            "seconds": seconds,
        }
        try:
            for name, path in inside.items():
                self.objects.put_file(path, f"{place}/{own}/{name}")
            self.objects.put_once(f"{place}/{ENTRY}", files.json_bytes(entry), self.damaged.pop(place, NO_ETAG))
        except PreconditionFailed:
            with suppress(Refused):
                self.objects.remove_all(f"{place}/{own}/{name}" for name in inside)
        except (AccessDenied, PermissionError):
            LOG.warning("target.cache=%s: these keys may only read; what this run makes is not added", self.objects)
            self.writes = False
        except (Refused, OSError) as error:
            self.writes = self._stop("nothing more is added", error)

    def _stop(self, what: str, error: Exception) -> bool:
        LOG.warning("target.cache=%s: %s (%s)", self.objects, what, " ".join(str(error).split()))
        return False

    def entries_of(self, step: Step) -> Iterator[tuple[Parts, float]]:
        """The parts of the newest entries of a step, and their age in seconds."""
        try:
            found = self.objects.found(f"{step.name}/") if self.reads else {}
            newest = sorted((each.modified, path) for path, each in found.items() if path.endswith(f"/{ENTRY}"))
            for modified, path in newest[-COMPARED:]:
                with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
                    yield dict(json.loads(self.objects.read(path)[0])["parts"]), time.time() - modified
        except Refused:
            return

    def kept(self) -> list[cache.Kept]:
        """All entries, the newest first; the age is that of entry.json, for reading changes nothing in a bucket."""
        found, whole = self.objects.found(), dict[str, int]()
        for path, each in found.items():
            whole[_folder(path)] = whole.get(_folder(path), 0) + each.size
        entries = [
            cache.Kept(
                Path(_folder(path)), path.partition("/")[0], whole[_folder(path)], time.time() - each.modified, False
            )
            for path, each in found.items()
            if _is_entry(path)
        ]
        return sorted(entries, key=lambda each: (each.seconds, str(each.folder)))

    def remove(self, entries: Iterable[cache.Kept]) -> int:
        """Remove entries, and files that no entry names; return the number of these files.

        entry.json goes first, so that no run takes an entry that has lost files.
        """
        found = self.objects.found()
        going = {each.folder.as_posix() for each in entries}
        marks = [path for path in found if _is_entry(path) and _folder(path) in going]
        self.objects.remove_all(marks)
        self.objects.remove_all(path for path in found if _folder(path) in going and path not in marks)
        left = self._left({path: each for path, each in found.items() if _folder(path) not in going})
        self.objects.remove_all(left)
        return len(left)

    def _left(self, found: Mapping[str, Found]) -> list[str]:
        """Files of runs that were killed before their entry.json, or whose entry was replaced."""
        ids: dict[str, set[str]] = {}
        for path in found:
            if len(parts := path.split("/")) > 3:
                ids.setdefault("/".join(parts[:2]), set()).add(parts[2])
        live = {place: self._id(place) if f"{place}/{ENTRY}" in found else "" for place in ids}
        return [
            path
            for path, each in found.items()
            if len(parts := path.split("/")) > 3
            and parts[2] != live["/".join(parts[:2])]
            and time.time() - each.modified > LEFT_SECONDS
        ]

    def _id(self, place: str) -> str:
        try:
            return _checked_id(json.loads(self.objects.read(f"{place}/{ENTRY}")[0])["id"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return ""

    def known(self, here: cache.Known) -> Known:
        """The digests of objects outside, of this machine and of the shared cache."""
        return Known(here, self)


class Known(dict[str, str]):
    """Digests of objects in object storages, by URL and ETag, that the users of a shared cache have computed."""

    def __init__(self, here: cache.Known, shared: Shared) -> None:
        """Begin with those of this machine; the shared ones are read when one is missing."""
        super().__init__(here)
        self.here, self.shared = here, shared
        self.etag: str | None = None

    def __missing__(self, key: str) -> str:
        """Read those of the shared cache once."""
        if self.etag is None:
            for name, digest in self._read().items():
                self.setdefault(name, digest)
            if key in self:
                return self[key]
        raise KeyError(key)

    def _read(self) -> dict[str, str]:
        self.etag = NO_ETAG
        try:
            content, self.etag = self.shared.objects.read(cache.OBJECTS)
            return {str(name): str(digest) for name, digest in json.loads(content).items()}
        except (FileNotFoundError, ValueError, AttributeError, Refused):
            return {}

    def __setitem__(self, key: str, value: str) -> None:
        """Write one here and there; where another run writes at the same time, or the keys may only read, only here."""
        self.here[key] = value
        latest = {**self._read(), key: value}
        super().__setitem__(key, value)
        content = files.json_bytes(dict(list(latest.items())[-cache.MOST_OBJECTS :]))
        with suppress(PreconditionFailed, Refused, OSError):
            self.shared.objects.put_once(cache.OBJECTS, content, self.etag or NO_ETAG)


def connect(target: Target) -> Shared | None:
    """The shared cache of a target; None where `target.cache` is a folder of this machine.

    Raises:
        Refused: the URL is none of an object storage, or its driver is not installed.
    """
    url = target.cache
    if "://" not in url:
        return None
    options = s3_options(PREFIX) if url.startswith("s3://") else {}
    return Shared(Objects.from_url(url, "target.cache", options, folder=True), target.cache_trust == "data")


def _place(step: Step, wanted: Parts) -> str:
    return f"{step.name}/{files.digest(wanted)}"


def _folder(path: str) -> str:
    return "/".join(path.split("/")[:2])


def _is_entry(path: str) -> bool:
    return path.count("/") == 2 and path.endswith(f"/{ENTRY}")


def _files(name: str, path: Path) -> Iterator[tuple[str, Path]]:
    """The files of an artifact, by their path in the entry."""
    if not path.is_dir():
        yield name, path
    for each in sorted(path.rglob("*")):
        if each.is_file():
            yield f"{name}/{each.relative_to(path).as_posix()}", each


def _checked_id(text: Any) -> str:
    if not re.fullmatch("[0-9a-f]{32}", text):
        raise ValueError(text)
    return str(text)
