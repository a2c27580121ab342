"""models.config as TF Serving reads it: which versions of which models to serve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Wanted:
    """An entry: a model and which of its versions to serve."""

    name: str
    base_path: Path
    """Holds a folder for each version, named by its number."""
    specific: tuple[int, ...] = ()
    """These versions; none: the latest ones."""
    latest: int = 1
    """How many of the latest, where none is named; 0: all there are."""

    def numbers(self) -> list[int]:
        """The versions to serve now. Pinned ones are in it though they be missing."""
        if self.specific:
            return sorted(self.specific)
        folders = self.base_path.iterdir() if self.base_path.is_dir() else ()
        found = sorted(int(each.name) for each in folders if each.name.isdecimal() and each.is_dir())
        return found[-self.latest :]


def message(text: str) -> Any:
    """The ModelServerConfig that a text holds.

    Raises:
        ValueError: it holds none; one sentence.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    try:
        return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise ValueError(f"is not TF Serving's model_config_list ({' '.join(str(error).split())})") from None


def parse(content: bytes) -> dict[str, Wanted] | None:
    """The entries, by name; None where there is no list at all, as in an empty file.

    Raises:
        ValueError: it is no model_config_list, or not one that can be served; one sentence.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"is not TF Serving's model_config_list ({error})") from None
    return entries(message(text))


def entries(config: Any) -> dict[str, Wanted] | None:
    """The same of a ModelServerConfig."""
    if not config.HasField("model_config_list"):
        return None
    found: dict[str, Wanted] = {}
    for entry in config.model_config_list.config:
        if entry.name in found:
            raise ValueError(f"names the model {entry.name!r} twice")
        found[entry.name] = _entry(entry)
    return found


def _entry(entry: Any) -> Wanted:
    if not entry.name or not entry.base_path:
        raise ValueError("has an entry without name or base_path")
    if entry.model_platform not in ("tensorflow", ""):
        raise ValueError(f"{entry.name}: model_platform {entry.model_platform!r} is not served, only 'tensorflow'")
    if "://" in entry.base_path:
        raise ValueError(f"{entry.name}: base_path {entry.base_path!r} is no local folder")
    policy = entry.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    path = Path(entry.base_path)
    if kind == "specific":
        if not policy.specific.versions:
            raise ValueError(f"{entry.name}: the policy 'specific' names no version")
        return Wanted(entry.name, path, specific=tuple(policy.specific.versions))
    return Wanted(entry.name, path, latest=0 if kind == "all" else max(policy.latest.num_versions, 1))


def changed(old: Mapping[str, Wanted], new: Mapping[str, Wanted]) -> list[str]:
    """Names whose entry is new or not as it was."""
    return [name for name, entry in new.items() if old.get(name) != entry]
