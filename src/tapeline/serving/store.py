"""The store that TF Serving reads.

    <store>/models.config         what is served; replaced atomically, under the store's lock
    <store>/<name>/<number>/      a version, never modified
    <store>/log.jsonl             who made what live, when and why

A deploy is one write of models.config: TF Serving polls it and loads the new number before it drops
the old one. `<name>-canary` is served beside `<name>`, from the same folder.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.errors import Refused, refuse
from tapeline.serving import servable

CANARY = "-canary"
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


@dataclass(frozen=True)
class Store:
    """A store, held under its lock."""

    root: Path
    name: str

    def live(self) -> Version | None:
        """The version that models.config pins under the name."""
        return self._pinned(self.name)

    def canary(self) -> Version | None:
        """The version that is served beside it."""
        return self._pinned(self.name + CANARY)

    def _pinned(self, entry: str) -> Version | None:
        number = _pins(self.root).get(entry)
        return None if number is None else self.version(number)

    def version(self, number: int) -> Version:
        """The version of a number.

        Raises:
            Refused: there is none, or it is no model of ours.
        """
        folder = self.root / self.name / str(number)
        if not folder.is_dir():
            known = ", ".join(str(each.number) for each in self.versions()) or "none"
            raise refuse(f"version={number}", f"{self.name} has no such version in {self.root} (it has {known})",
                         "name one that is there")  # fmt: skip
        try:
            told = servable.about(folder)["model_version"]
        except (OSError, ValueError, KeyError):
            raise refuse(folder, "is not a version that tapeline published", "move it out of the store") from None
        return Version(self.name, number, told)

    def versions(self) -> list[Version]:
        """All versions under the name, the oldest first."""
        folder = self.root / self.name
        numbers = sorted(int(each.name) for each in folder.iterdir() if each.name.isdigit()) if folder.is_dir() else []
        return [self.version(number) for number in numbers]

    def history(self) -> list[Mapping[str, Any]]:
        """The log's lines about the name, the oldest first."""
        try:
            lines = (self.root / "log.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
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
        pins, before = _pins(self.root), self.live()
        for entry, version in ((self.name, live or before), (self.name + CANARY, canary)):
            pins.pop(entry, None)
            if version:
                pins[entry] = version.number
        _write_pins(self.root, pins)
        self._log(change, canary if change.verb == "canary" else live or before, before)

    def _log(self, change: Change, version: Version | None, before: Version | None) -> None:
        line = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "who": _who(),
            "verb": change.verb,
            "name": self.name,
            "number": version.number if version else None,
            "model_version": version.model_version if version else None,
            "before": before.number if before else None,
            "why": change.why,
        }
        with open(self.root / "log.jsonl", "a", encoding="utf-8") as log:
            log.write(json.dumps(line, ensure_ascii=False) + "\n")
            log.flush()
            os.fsync(log.fileno())

    def add(self, model: Path, metrics: Path) -> Version:
        """Copy a servable in under the next number, whole and verified; or the number that holds it already.

        Raises:
            Refused: the copy does not load.
            RolledBack: it was taken back.
        """
        wanted = servable.about(model)["model_version"]
        known = self.versions()
        held = next((each for each in known if each.model_version == wanted), None)
        if held is None:
            version = Version(self.name, max((each.number for each in known), default=0) + 1, wanted)
            with files.whole(self.root / self.name / str(version.number)) as temporary:
                shutil.copytree(model, temporary, copy_function=shutil.copyfile)
                shutil.copyfile(metrics, temporary / METRICS)
                servable.verify(temporary)
            return version
        if mark := self.taken_back().get(held.number):
            finding = refuse(
                str(held), f"was rolled back by {mark['who']} at {mark['time']}",
                f"make it live with: tapeline promote version={held.number} serving.name={self.name}",
            ).findings  # fmt: skip
            raise RolledBack(*finding)
        return held

    def forget(self, keep: int) -> list[int]:
        """Remove the oldest versions but the last `keep`, never one that models.config names."""
        named = {each.number for each in (self.live(), self.canary()) if each}
        old = [each.number for each in self.versions()[:-keep] if each.number not in named]
        for number in old:
            with files.scratch(self.root / self.name, f"old{number}") as scratch:
                os.replace(self.root / self.name / str(number), scratch / str(number))
        return old


def read(root: Path, name: str) -> Store:
    """The store for reading; models.config is one file, so what it says is never half of two states."""
    return Store(root, name)


@contextmanager
def held(root: Path, name: str, lock_seconds: float) -> Iterator[Store]:
    """The store under its lock, for changing it.

    Raises:
        Refused: the lock stays with another.
    """
    with files.locked(root / ".lock", seconds=lock_seconds, what="the store"):
        yield Store(root, name)


def _pins(root: Path) -> dict[str, int]:
    """Entry to number, as models.config has them."""
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    path = root / "models.config"
    if not path.is_file():
        return {}
    try:
        config = text_format.Parse(path.read_text(encoding="utf-8"), model_server_config_pb2.ModelServerConfig())
        return {
            str(each.name): int(each.model_version_policy.specific.versions[0])
            for each in config.model_config_list.config
        }
    except (text_format.ParseError, UnicodeDecodeError, IndexError) as error:
        raise refuse(path, f"is not a model_config_list of one version each ({error})", "mend or remove it") from None


def _write_pins(root: Path, pins: Mapping[str, int]) -> None:
    """Write models.config in one step; the canary's folder is that of its name."""
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    for entry, number in sorted(pins.items()):
        added = config.model_config_list.config.add()
        added.name, added.model_platform = entry, "tensorflow"
        added.base_path = str((root / entry.removesuffix(CANARY)).absolute())
        added.model_version_policy.specific.versions.append(number)
    config.model_config_list.SetInParent()
    files.write_bytes(root / "models.config", text_format.MessageToString(config).encode())


def _who() -> str:
    """The user's name, or number where the machine (a container, say) knows no name for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
