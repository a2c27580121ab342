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
from tapeline.errors import Refused, refuse
from tapeline.serving import saved_model
from tapeline.serving.store import state
from tapeline.serving.store.backend import Backend, Conflict
from tapeline.serving.store.location import backend as backend_at
from tapeline.serving.store.state import CANARY, StoreState

LOG = "log.jsonl"
METRICS = Path("assets.extra") / "metrics.json"


@dataclass(frozen=True)
class Version:
    """A published version of a model."""

    name: str
    """The model's name."""
    number: int
    """TF Serving's version number, the name of the folder."""
    model_version: str

    def __str__(self) -> str:
        return f"{self.name} version {self.number} ({self.model_version})"


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
        """The live version: the one that models.config pins for the model."""
        return self._pinned(self.name)

    def canary(self) -> Version | None:
        """The version that is served as the canary."""
        return self._pinned(self.name + CANARY)

    def _pinned(self, entry: str) -> Version | None:
        number = self.state.pins.get(entry)
        return None if number is None else self.version(number)

    def version(self, number: int) -> Version:
        """The version with this number.

        Raises:
            Refused: the model has no such version, or tapeline did not publish it.
        """
        numbers = self._numbers()
        if number not in numbers:
            known = ", ".join(map(str, numbers)) or "none"
            problem = f"{self.name} has no such version in {self.backend} (it has {known})"
            raise refuse(f"version={number}", problem, "name one that tapeline versions lists")
        return self._version(number)

    def _version(self, number: int) -> Version:
        return Version(self.name, number, self.metadata(number)["model_version"])

    def _numbers(self) -> list[int]:
        return [number for number in self.backend.versions(self.name) if (self.name, number) not in self.state.removed]

    def metadata(self, number: int) -> dict[str, Any]:
        """The metadata of a version's servable.

        Raises:
            Refused: tapeline did not publish it.
        """
        try:
            content = self.backend.read(f"{self.name}/{number}/{saved_model.METADATA}")[0]
            metadata: dict[str, Any] = json.loads(content)
            str(metadata["model_version"])
        except (OSError, ValueError, KeyError):
            folder = f"{self.backend}/{self.name}/{number}"
            raise refuse(folder, "is not a version that tapeline published", "move it out of the store") from None
        return metadata

    def metrics(self, number: int) -> dict[str, Any]:
        """The metrics.json that was published with a version; {} where there is none."""
        try:
            metrics: dict[str, Any] = json.loads(self.backend.read(f"{self.name}/{number}/{METRICS}")[0])
        except FileNotFoundError:
            return {}
        return metrics

    def open_version(self, version: Version) -> AbstractContextManager[Path]:
        """A local folder with the version's servable, inside the block only: TensorFlow reads local paths only."""
        return self.backend.open_version(self.name, version.number)

    def versions(self) -> list[Version]:
        """All versions of the model, by ascending number."""
        return [self._version(number) for number in self._numbers()]

    def history(self) -> list[Mapping[str, Any]]:
        """The lines of the log about the model, the oldest first."""
        try:
            lines = self.backend.read(LOG)[0].decode().split("\n")
        except FileNotFoundError:
            lines = []
        if self.state.last_change and self.state.last_change not in lines:
            lines.append(self.state.last_change)
        records = [json.loads(line) for line in lines if line.strip()]
        return [record for record in records if record["name"] == self.name]

    def rolled_back(self) -> dict[int, Mapping[str, Any]]:
        """The log line of the rollback, by the number of a version that was rolled back and not promoted since."""
        found: dict[int, Mapping[str, Any]] = {}
        for record in self.history():
            if record["verb"] == "rollback":
                found[record["before"]] = record
            elif record["verb"] == "promote":
                found.pop(record["number"], None)
        return found

    def pin(self, change: Change, *, live: Version | None = None, canary: Version | None = None) -> None:
        """Write models.config with a new live version (None: it stays) and canary (None: no canary), and log it."""
        pins, before = dict(self.state.pins), self.live()
        for entry, version in ((self.name, live or before), (self.name + CANARY, canary)):
            pins.pop(entry, None)
            if version:
                pins[entry] = version.number
        line = self._line(change, canary if change.verb == "canary" else live or before, before)
        if self.backend.has_lock:
            self.state = state.write(self.backend, StoreState(pins), self.state.etag)
        else:
            # models.config contains its own log line: where this process is killed, the next change completes the log
            self._log(self.state.last_change)
            self.state = state.write(self.backend, StoreState(pins, self.state.removed, line), self.state.etag)
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
        }
        if not self.backend.has_lock:
            record["id"] = uuid.uuid4().hex
        return json.dumps(record, ensure_ascii=False)

    def _log(self, line: str) -> None:
        if line:
            self.backend.append(LOG, line.encode())

    def add(self, model: Path, metrics: Path) -> Version:
        """Copy a servable into the store under the next number and verify it; or the version that it is already.

        Raises:
            Refused: the copy does not load.
            RolledBack: this model was rolled back.
        """
        model_version = saved_model.read_metadata(model)["model_version"]
        same = [each for each in self.versions() if each.model_version == model_version]
        rolled_back = self.rolled_back()
        # two publishers at the same time may have added the same model under two numbers
        for version in same:
            if record := rolled_back.get(version.number):
                problem = f"was rolled back by {record['who']} at {record['time']}"
                fix = f"make it live with: tapeline promote version={version.number} serving.name={self.name}"
                raise RolledBack(*refuse(str(version), problem, fix).findings)
        if same:
            return same[0]

        def build(folder: Path) -> None:
            files.copy_folder(model, folder)
            shutil.copyfile(metrics, folder / METRICS)
            saved_model.verify(folder)

        return Version(self.name, self.backend.add(self.name, build), model_version)

    def remove_old(self, keep: int) -> list[int]:
        """Remove all versions but the last `keep` and those that models.config names; returns their numbers.

        Without a lock, models.config first lists what is going to be removed. Then a process that pins one of these
        versions at the same time gets a Conflict, or this process does, and removes nothing.
        """
        pinned = {self.state.pins.get(self.name), self.state.pins.get(self.name + CANARY)}
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
    backend = backend_at(location)
    return Store(backend, name, state.load(backend))


@contextmanager
def transaction(location: Path | str, name: str, lock_seconds: float) -> Iterator[Store]:
    """Open the store for a change: under its lock; without a lock, the caller is decorated with retry_on_conflict.

    Raises:
        Refused: another process holds the lock for longer than `lock_seconds`.
    """
    backend = backend_at(location)
    with backend.lock(lock_seconds):
        yield Store(backend, name, state.load(backend))


def _user() -> str:
    """The user's name, or the user id where it has no name, as in a container."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
