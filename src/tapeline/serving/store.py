"""The store that TF Serving reads.

    <store>/models.config         what is served; replaced atomically, under the store's lock
    <store>/<name>/<number>/      a version, never modified
    <store>/log.jsonl             who made what live, when

A deploy is one write of models.config: TF Serving polls it and loads the new number before it
drops the old one.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.errors import refuse
from tapeline.serving import servable


@dataclass(frozen=True)
class Version:
    """A published model."""

    name: str
    number: int
    """The folder's name, as TF Serving counts."""
    model_version: str


def live(store: Path, name: str) -> Version | None:
    """The version that models.config pins under `name`."""
    entries = _read(store)
    number = next((int(each.model_version_policy.specific.versions[0]) for each in entries if each.name == name), None)
    return None if number is None else _version(store, name, number)


def versions(store: Path, name: str) -> list[Version]:
    """All versions under a name, the oldest first."""
    folders = (store / name).iterdir() if (store / name).is_dir() else ()
    return [
        _version(store, name, number) for number in sorted(int(each.name) for each in folders if each.name.isdigit())
    ]


def _version(store: Path, name: str, number: int) -> Version:
    folder = store / name / str(number)
    try:
        told = servable.about(folder)["model_version"]
    except (OSError, ValueError, KeyError):
        raise refuse(folder, "is not a version that tapeline published", "move it out of the store") from None
    return Version(name, number, told)


def publish(model: Path, store: Path, name: str, *, lock_seconds: float) -> tuple[Version, bool]:
    """Make a servable the live version under `name`: copy, rename, verify by loading, then one write.

    Returns:
        The version, and whether anything was written: not where the same model_version is live.

    Raises:
        Refused: the lock stays with another, the store cannot be written, or the copy does not load.
    """
    wanted = servable.about(model)["model_version"]
    with files.locked(store / ".lock", seconds=lock_seconds, what="the store"):
        before = live(store, name)
        if before and before.model_version == wanted:
            return before, False
        known = versions(store, name)
        version = next((each for each in known if each.model_version == wanted), None)
        if version is None:
            version = Version(name, max((each.number for each in known), default=0) + 1, wanted)
            _add(model, store, version)
        _point(store, name, version.number)
        _log(store, "publish", version, before)
    return version, True


def _add(model: Path, store: Path, version: Version) -> None:
    final = store / version.name / str(version.number)
    with files.whole(final) as temporary:
        shutil.copytree(model, temporary, copy_function=shutil.copyfile)
        servable.verify(temporary)


def _read(store: Path) -> list[Any]:
    """The entries of models.config."""
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    path = store / "models.config"
    if not path.is_file():
        return []
    try:
        config = text_format.Parse(path.read_text(encoding="utf-8"), model_server_config_pb2.ModelServerConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise refuse(path, f"is not TF Serving's model_config_list ({error})", "mend or remove it") from None
    return list(config.model_config_list.config)


def _point(store: Path, name: str, number: int) -> None:
    """Pin `name` to `number`; other entries stay as they are."""
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    for entry in _read(store):
        if entry.name != name:
            config.model_config_list.config.add().CopyFrom(entry)
    entry = config.model_config_list.config.add()
    entry.name, entry.base_path, entry.model_platform = name, str((store / name).absolute()), "tensorflow"
    entry.model_version_policy.specific.versions.append(number)
    entries = sorted(config.model_config_list.config, key=lambda each: str(each.name))
    ordered = model_server_config_pb2.ModelServerConfig()
    ordered.model_config_list.config.extend(entries)
    files.write_bytes(store / "models.config", text_format.MessageToString(ordered).encode())


def _log(store: Path, verb: str, version: Version, before: Version | None) -> None:
    """Append one line to the store's log."""
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": _who(),
        "verb": verb,
        "name": version.name,
        "number": version.number,
        "model_version": version.model_version,
        "before": before.number if before else None,
    }
    with open(store / "log.jsonl", "a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
        log.flush()
        os.fsync(log.fileno())


def _who() -> str:
    """The user's name, or number where the machine (a container, say) knows no name for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
