"""The versions of a model in a store, and which of them models.config names.

    <store>/models.config         the versions to serve; replaced atomically
    <store>/<model>/<number>/     a version, never modified
    <store>/log.jsonl             who made which version live, when and why

A store is a folder or the URL of an object storage (location.py). A folder has a lock. In an object storage, a change
of a models.config that another process has replaced meanwhile is repeated (backend.retry_on_conflict).

A deployment is one write of models.config: TF Serving polls it, and loads the new version before it unloads the old
one. The canary is the entry `<model>-canary`, with the same base_path.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.config.schema import reserved
from tapeline.console import LOG
from tapeline.errors import Refused, refuse
from tapeline.serving import saved_model
from tapeline.serving.store import log, state
from tapeline.serving.store.backend import Backend, Conflict
from tapeline.serving.store.location import backend as backend_at
from tapeline.serving.store.state import CANARY, StoreState

METRICS = Path("assets.extra") / "metrics.json"


@dataclass(frozen=True)
class Version:
    """A published version of a model."""

    name: str
    """The model's name."""
    number: int
    """TF Serving's version number, the name of the folder."""
    model_version: str
    """The digest of its weights; "" where the version is missing or damaged."""
    problem: str = ""
    """missing, or damaged and the files that are; "" where nothing is wrong."""

    def __str__(self) -> str:
        return f"{self.name} version {self.number} ({self.problem or self.model_version})"


@dataclass(frozen=True)
class Change:
    """A change of what is served, for the log: publish, canary, promote or rollback, and the reason."""

    verb: str
    why: str = ""


class RolledBack(Refused):
    """The model was rolled back; publish does not make it live again, only promote does."""


@dataclass
class Store:
    """A model's versions in a store, and the models.config that was read when it was opened."""

    backend: Backend
    name: str
    """The model's name."""
    state: StoreState

    def live(self) -> Version | None:
        """The live version: the one that models.config pins for the model, even if it is missing or damaged."""
        return self._pinned(self.name)

    def canary(self) -> Version | None:
        """The version that is served as the canary, even if it is missing or damaged."""
        return self._pinned(self.name + CANARY)

    def _pinned(self, entry: str) -> Version | None:
        number = self.state.pins.get(entry)
        return None if number is None else self._version(number)

    def version(self, number: int) -> Version:
        """The version with this number.

        Raises:
            Refused: the model has no such version, or it is damaged.
        """
        numbers = self._numbers()
        if number not in numbers:
            known = ", ".join(map(str, numbers)) or "none"
            problem = f"{self.name} has no such version in {self.backend} (it has {known})"
            raise refuse(f"version={number}", problem, "name one that tapeline versions lists")
        found = self.checked(self._version(number))
        if found.problem:
            problem = f"{self.backend}/{self.name}/{number} is {found.problem}"
            raise refuse(f"version={number}", problem, "name another one that tapeline versions lists")
        return found

    def checked(self, version: Version) -> Version:
        """The version with the problem that a comparison of all its files with what was published finds."""
        if version.problem:
            return version
        problem = self.backend.problem(self.name, version.number, thorough=True)
        return replace(version, model_version="", problem=problem) if problem else version

    def _version(self, number: int) -> Version:
        """The version as it is, without an exception for one that is missing or damaged."""
        problem = self.backend.problem(self.name, number)
        metadata = {} if problem else self.metadata(number)
        if not problem and not metadata:
            found = self.backend.problem(self.name, number, thorough=True)
            problem = found or f"damaged: {saved_model.METADATA}"
        return Version(self.name, number, str(metadata.get("model_version", "")), problem)

    def _numbers(self) -> list[int]:
        return [number for number in self.backend.versions(self.name) if (self.name, number) not in self.state.removed]

    def metadata(self, number: int) -> dict[str, Any]:
        """The metadata of a version's servable; {} where it cannot be read, or lacks the model_version."""
        found = self._json(number, saved_model.METADATA)
        return found if isinstance(found.get("model_version"), str) else {}

    def metrics(self, number: int) -> dict[str, Any]:
        """The metrics.json that was published with a version; {} where there is none that can be read."""
        return self._json(number, METRICS)

    def _json(self, number: int, path: Path) -> dict[str, Any]:
        try:
            content = json.loads(self.backend.read(f"{self.name}/{number}/{path}")[0])
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def open_version(self, version: Version) -> AbstractContextManager[Path]:
        """A local folder with the version's servable, inside the block only: TensorFlow reads local paths only."""
        return self.backend.open_version(self.name, version.number)

    def versions(self) -> list[Version]:
        """All versions of the model, by ascending number, also those that are damaged or pinned and missing."""
        return [self._version(number) for number in sorted({*self._numbers(), *self._pinned_numbers()})]

    def _pinned_numbers(self) -> set[int]:
        found = (self.state.pins.get(entry) for entry in (self.name, self.name + CANARY))
        return {number for number in found if number is not None}

    def history(self) -> Iterator[Mapping[str, Any]]:
        """The lines of the log about the model, the newest first."""
        return log.records(self.backend, self.name, self.state.last_change)

    def fates(self) -> log.Fates:
        """Which versions were live, and which were rolled back."""
        return log.fates(self.history(), self._numbers())

    def pin(self, change: Change, *, live: Version | None = None, canary: Version | None = None) -> None:
        """Write models.config with a new live version (None: it stays) and canary (None: no canary), and log it.

        models.config contains its own log line: where this process ends behind the write, the next change logs it.
        What fails behind the write is a warning, since the change is made.
        """
        pins, before = dict(self.state.pins), self.live()
        for entry, version in ((self.name, live or before), (self.name + CANARY, canary)):
            pins.pop(entry, None)
            if version:
                pins[entry] = version.number
        line = self._line(change, canary if change.verb == "canary" else live or before, before)
        self._log(self.state.last_change)
        self.state = state.write(self.backend, replace(self.state, pins=pins, last_change=line), self.state.etag)
        with after_the_change(f"{self.backend}/{log.LOG}", "is not complete; the next change completes it"):
            self._log(line)

    def _line(self, change: Change, version: Version | None, before: Version | None) -> str:
        record = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "who": _user(),
            "verb": change.verb,
            "name": self.name,
            "number": version.number if version else None,
            "model_version": version.model_version if version else None,
            "before": before.number if before else None,
            "why": change.why,
            "id": uuid.uuid4().hex,
        }
        return json.dumps(record, ensure_ascii=False)

    def _log(self, line: str) -> None:
        log.append(self.backend, line)

    def add(self, model: Path, metrics: Path) -> Version:
        """Copy a servable into the store under the next number and verify it; or the version that it is already.

        Raises:
            Refused: the copy does not load, there is too little disk space for it, or the store has a model whose name
                differs in upper and lower case only.
            RolledBack: this model was rolled back.
        """
        model_version = saved_model.read_metadata(model)["model_version"]
        same = [each for each in self.versions() if each.model_version == model_version]
        fates = self.fates()
        # two publishers at the same time may have added the same model under two numbers
        for version in same:
            if record := fates.rolled_back.get(version.number):
                problem = f"was rolled back by {record.get('who')} at {record.get('time')}"
                fix = f"make it live with: tapeline promote version={version.number} serving.name={self.name}"
                raise RolledBack(*refuse(str(version), problem, fix).findings)
        for version in same:
            if not self.checked(version).problem:
                return version
        self._refuse_twin()

        def build(folder: Path) -> None:
            needed = files.size([model, metrics])
            files.require_space(folder.parent, needed, str(model), "serving.store=/data/store")
            files.copy_folder(model, folder)
            shutil.copyfile(metrics, folder / METRICS)
            saved_model.verify(folder)

        # a number that was used before is not used again: servers do not load it where they have it already
        above = max([0, *self._pinned_numbers(), *fates.order, *fates.rolled_back])
        return Version(self.name, self.backend.add(self.name, build, above), model_version)

    def _refuse_twin(self) -> None:
        for other in self.backend.models():
            if other != self.name and other.casefold() == self.name.casefold():
                problem = f"{self.backend} has the model {other}, and some file systems ignore case"
                raise refuse(f"serving.name={self.name}", problem, f"write serving.name={other}, or another name")

    def remove_old(self, keep: int) -> list[int]:
        """Remove all versions but the last `keep` and those that models.config names; returns their numbers.

        Without a lock, models.config first lists what is going to be removed. Then a process that pins one of these
        versions at the same time gets a Conflict, or this process does, and removes nothing.
        """
        pinned = self._pinned_numbers()
        existing = self.backend.versions(self.name)
        known = [number for number in existing if (self.name, number) not in self.state.removed]
        old = [number for number in known[:-keep] if number not in pinned]
        if not self.backend.has_lock:
            unfinished = {
                (name, number) for name, number in self.state.removed if name != self.name or number in existing
            }
            removed = frozenset(unfinished | {(self.name, number) for number in old})
            old = sorted(number for name, number in removed if name == self.name)
            if removed != self.state.removed:
                try:
                    self.state = state.write(self.backend, replace(self.state, removed=removed), self.state.etag)
                except Conflict:
                    return []
        for number in old:
            self.backend.remove(self.name, number)
        return old


def read(location: Path | str, name: str) -> Store:
    """Open the store for reading, without its lock; models.config is one file, so its state is consistent."""
    return _open(backend_at(location), name)


@contextmanager
def transaction(location: Path | str, name: str, lock_seconds: float) -> Iterator[Store]:
    """Open the store for a change: under its lock; without a lock, the caller is decorated with retry_on_conflict.

    Raises:
        Refused: another process holds the lock for longer than `lock_seconds`.
    """
    backend = backend_at(location)
    with backend.lock(lock_seconds):
        yield _open(backend, name)


def _open(backend: Backend, name: str) -> Store:
    if problem := reserved(name):
        raise refuse(f"serving.name={name}", problem, "choose another name, for example serving.name=indices")
    return Store(backend, name, state.load(backend))


@contextmanager
def after_the_change(where: str, problem: str) -> Iterator[None]:
    """Log what fails in the block: models.config is written, so that the command must not end as if it was not."""
    try:
        yield
    except (OSError, Refused) as error:
        LOG.warning("%s %s (%s)", where, problem, " ".join(str(error).split()))


def _user() -> str:
    """The user's name, or the user id where it has no name, as in a container."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
