"""Parse models.config, the file that names the models and versions that TF Serving serves (model_config_list)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


def version_number(name: str) -> int | None:
    """The version number that a folder's name stands for; None for other names, as 007 or superscript digits."""
    return int(name) if _NUMBER.fullmatch(name) and int(name) < 2**63 else None


@dataclass(frozen=True)
class ModelConfig:
    """One entry of model_config_list: a model, and the versions of it to serve."""

    name: str
    base_path: Path
    """Holds one folder per version; its name is the version number."""
    specific: tuple[int, ...] = ()
    """The policy `specific`: these versions. Empty: the policy `latest` or `all`."""
    latest: int = 1
    """The policy `latest`: so many of the latest versions; 0: the policy `all`."""

    def versions(self) -> list[int]:
        """The version numbers to serve now; specific ones are listed even where their folder does not exist."""
        if self.specific:
            return sorted(self.specific)
        folders = self.base_path.iterdir() if self.base_path.is_dir() else ()
        numbers = (version_number(each.name) for each in folders if each.is_dir())
        found = sorted(number for number in numbers if number is not None)
        return found[-self.latest :]


def parse_message(text: str) -> Any:
    """The ModelServerConfig message of a text.

    Raises:
        ValueError: the text is not one; the message is one sentence.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    try:
        return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise ValueError(f"is not TF Serving's model_config_list ({' '.join(str(error).split())})") from None


def parse(content: bytes) -> dict[str, ModelConfig] | None:
    """The entries by model name; None where there is no model_config_list, as in an empty file.

    Raises:
        ValueError: it is not a model_config_list, or the server cannot serve it; the message is one sentence.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"is not TF Serving's model_config_list ({error})") from None
    return from_message(parse_message(text))


def from_message(config: Any) -> dict[str, ModelConfig] | None:
    """As `parse`, from a ModelServerConfig message."""
    if not config.HasField("model_config_list"):
        return None
    found: dict[str, ModelConfig] = {}
    for entry in config.model_config_list.config:
        if entry.name in found:
            raise ValueError(f"names the model {entry.name!r} twice")
        found[entry.name] = _model_config(entry)
    return found


def _model_config(entry: Any) -> ModelConfig:
    if not entry.name or not entry.base_path:
        raise ValueError("has an entry without name or base_path")
    if entry.model_platform not in ("tensorflow", ""):
        raise ValueError(f"{entry.name}: model_platform {entry.model_platform!r} is not served, only 'tensorflow'")
    if "://" in entry.base_path:
        raise ValueError(f"{entry.name}: base_path {entry.base_path!r} is not a local folder")
    policy = entry.model_version_policy
    choice = policy.WhichOneof("policy_choice")
    path = Path(entry.base_path)
    if choice == "specific":
        if not policy.specific.versions:
            raise ValueError(f"{entry.name}: the policy 'specific' names no version")
        return ModelConfig(entry.name, path, specific=tuple(policy.specific.versions))
    return ModelConfig(entry.name, path, latest=0 if choice == "all" else max(policy.latest.num_versions, 1))


def changed_models(old: Mapping[str, ModelConfig], new: Mapping[str, ModelConfig]) -> list[str]:
    """Names of the models whose entry is new or has changed."""
    return [name for name, entry in new.items() if old.get(name) != entry]
