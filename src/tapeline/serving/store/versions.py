"""The store that TF Serving reads.

    <store>/models.config         what is served; replaced atomically, under the store's lock
    <store>/<name>/<number>/      a version, never modified
    <store>/log.jsonl             who made what live, when and why

The store is a folder, or object storage by URL (`place.py`): there, nobody is locked out, and what
was decided on a models.config that another has changed since is decided again (`place.retried`).

A deploy is one write of models.config: TF Serving polls it and loads the new number before it drops
the old one. `<name>-canary` is served beside `<name>`, from the same folder.
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
from tapeline.serving import saved_model as servable
from tapeline.serving.store import location as places
from tapeline.serving.store import state
from tapeline.serving.store.backend import Conflict, Place
from tapeline.serving.store.state import CANARY, State

LOG = "log.jsonl"
METRICS = Path("assets.extra") / "metrics.json"


@dataclass(frozen=True)
class Version:
    """A published model."""

    name: str
    number: int
    """The folder's name, as TF Serving counts."""
    model_version: str

    def __str__(self) -> str:
        return f"{self.name} version {self.number} ({self.model_version})"


@dataclass(frozen=True)
class Change:
    """Who asks for what, as the log keeps it."""

    verb: str
    why: str = ""


class RolledBack(Refused):
    """The model was taken back, and only a person makes it live again."""


@dataclass
class Store:
    """A store, and its models.config as it was at first; under its lock where there is one."""

    root: Place
    name: str
    state: State

    def live(self) -> Version | None:
        """The version that models.config pins under the name."""
        return self._pinned(self.name)

    def canary(self) -> Version | None:
        """The version that is served beside it."""
        return self._pinned(self.name + CANARY)

    def _pinned(self, entry: str) -> Version | None:
        number = self.state.pins.get(entry)
        return None if number is None else self.version(number)

    def version(self, number: int) -> Version:
        """The version of a number.

        Raises:
            Refused: there is none, or it is no model of ours.
        """
        numbers = self._numbers()
        if number not in numbers:
            known = ", ".join(map(str, numbers)) or "none"
            raise refuse(f"version={number}", f"{self.name} has no such version in {self.root} (it has {known})",
                         "name one that is there")  # fmt: skip
        return self._version(number)

    def _version(self, number: int) -> Version:
        return Version(self.name, number, self.about(number)["model_version"])

    def _numbers(self) -> list[int]:
        return [number for number in self.root.numbers(self.name) if (self.name, number) not in self.state.gone]

    def about(self, number: int) -> dict[str, Any]:
        """What a version tells of itself.

        Raises:
            Refused: it is no model of ours.
        """
        try:
            told: dict[str, Any] = json.loads(self.root.read(f"{self.name}/{number}/{servable.ABOUT}")[0])
            str(told["model_version"])
        except (OSError, ValueError, KeyError):
            folder = f"{self.root}/{self.name}/{number}"
            raise refuse(folder, "is not a version that tapeline published", "move it out of the store") from None
        return told

    def metrics(self, number: int) -> dict[str, Any]:
        """The metrics.json that a version was published with; nothing where it is not there."""
        try:
            told: dict[str, Any] = json.loads(self.root.read(f"{self.name}/{number}/{METRICS}")[0])
        except FileNotFoundError:
            return {}
        return told

    def opened(self, version: Version) -> AbstractContextManager[Path]:
        """A version's servable as a folder, for the while: TensorFlow reads local paths only."""
        return self.root.opened(self.name, version.number)

    def versions(self) -> list[Version]:
        """All versions under the name, the oldest first."""
        return [self._version(number) for number in self._numbers()]

    def history(self) -> list[Mapping[str, Any]]:
        """The log's lines about the name, the oldest first."""
        try:
            lines = self.root.read(LOG)[0].decode().split("\n")
        except FileNotFoundError:
            lines = []
        if self.state.line and self.state.line not in lines:
            lines.append(self.state.line)
        told = [json.loads(line) for line in lines if line.strip()]
        return [line for line in told if line["name"] == self.name]

    def taken_back(self) -> dict[int, Mapping[str, Any]]:
        """Numbers that a rollback left and nobody promoted since, with the line that says so."""
        marks: dict[int, Mapping[str, Any]] = {}
        for line in self.history():
            if line["verb"] == "rollback":
                marks[line["before"]] = line
            elif line["verb"] == "promote":
                marks.pop(line["number"], None)
        return marks

    def pin(self, change: Change, *, live: Version | None = None, canary: Version | None = None) -> None:
        """Write models.config once, with what is to be live and what beside it, and log it."""
        pins, before = dict(self.state.pins), self.live()
        for entry, version in ((self.name, live or before), (self.name + CANARY, canary)):
            pins.pop(entry, None)
            if version:
                pins[entry] = version.number
        line = self._line(change, canary if change.verb == "canary" else live or before, before)
        if self.root.locks:
            self.state = state.write(self.root, State(pins), self.state.tag)
        else:
            # models.config carries its line, so that whoever comes next can complete the log, in order.
            self._log(self.state.line)
            self.state = state.write(self.root, State(pins, self.state.gone, line), self.state.tag)
        self._log(line)

    def _line(self, change: Change, version: Version | None, before: Version | None) -> str:
        told = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "who": _who(),
            "verb": change.verb,
            "name": self.name,
            "number": version.number if version else None,
            "model_version": version.model_version if version else None,
            "before": before.number if before else None,
            "why": change.why,
        }
        return json.dumps(told if self.root.locks else {**told, "id": uuid.uuid4().hex}, ensure_ascii=False)

    def _log(self, line: str) -> None:
        if line:
            self.root.append(LOG, line.encode())

    def add(self, model: Path, metrics: Path) -> Version:
        """Copy a servable in under the next number, whole and verified; or the number that holds it already.

        Raises:
            Refused: the copy does not load.
            RolledBack: it was taken back.
        """
        wanted = servable.about(model)["model_version"]
        known = self.versions()
        same = [each for each in known if each.model_version == wanted]
        marks = self.taken_back()
        # Publishers at once may have put the same model in under two numbers.
        for held in same:
            if mark := marks.get(held.number):
                finding = refuse(
                    str(held), f"was rolled back by {mark['who']} at {mark['time']}",
                    f"make it live with: tapeline promote version={held.number} serving.name={self.name}",
                ).findings  # fmt: skip
                raise RolledBack(*finding)
        if same:
            return same[0]

        def build(folder: Path) -> None:
            files.copy_folder(model, folder)
            shutil.copyfile(metrics, folder / METRICS)
            servable.verify(folder)

        return Version(self.name, self.root.add(self.name, build), wanted)

    def forget(self, keep: int) -> list[int]:
        """Remove the oldest versions but the last `keep`, never one that models.config names.

        Without a lock, models.config says first what goes: who pinned one of them in between, or is
        about to, sees that, or is seen.
        """
        named = {self.state.pins.get(self.name), self.state.pins.get(self.name + CANARY)}
        there = self.root.numbers(self.name)
        known = [number for number in there if (self.name, number) not in self.state.gone]
        old = [number for number in known[:-keep] if number not in named]
        if not self.root.locks:
            left = {(name, number) for name, number in self.state.gone if name != self.name or number in there}
            gone = frozenset(left | {(self.name, number) for number in old})
            old = sorted(number for name, number in gone if name == self.name)
            if gone != self.state.gone:
                try:
                    self.state = state.write(self.root, replace(self.state, gone=gone), self.state.tag)
                except Conflict:
                    return []
        for number in old:
            self.root.remove(self.name, number)
        return old


def read(root: Path | str, name: str) -> Store:
    """The store for reading; models.config is one file, so what it says is never half of two states."""
    place = places.at(root)
    return Store(place, name, state.load(place))


@contextmanager
def held(root: Path | str, name: str, lock_seconds: float) -> Iterator[Store]:
    """The store for changing it: under its lock, or else in a function that is `retried`.

    Raises:
        Refused: the lock stays with another.
    """
    place = places.at(root)
    with place.alone(lock_seconds):
        yield Store(place, name, state.load(place))


def _who() -> str:
    """The user's name, or number where the machine (a container, say) knows no name for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
