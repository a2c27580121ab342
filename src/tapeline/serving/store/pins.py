"""models.config as a store writes it: each entry pins one version."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tapeline.serving.models_config import message

CANARY = "-canary"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,69}")


def read(text: str) -> dict[str, int]:
    """Entry to number.

    Raises:
        ValueError: it is not a model_config_list of one version each.
    """
    pins: dict[str, int] = {}
    for entry in message(text).model_config_list.config:
        numbers = list(entry.model_version_policy.specific.versions)
        if not NAME.fullmatch(entry.name) or len(numbers) != 1 or entry.name in pins:
            raise ValueError(f"an entry names {entry.name!r} with versions {numbers}")
        pins[entry.name] = int(numbers[0])
    return pins


def text(pins: Mapping[str, int], base: str, comments: Iterable[str] = ()) -> str:
    """A models.config; the canary's folder is that of its name.

    Args:
        pins: entry to number.
        base: what the models' folders lie in.
        comments: lines above it.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.SetInParent()
    for name, number in sorted(pins.items()):
        entry = config.model_config_list.config.add()
        entry.name, entry.model_platform = name, "tensorflow"
        entry.base_path = f"{base}/{name.removesuffix(CANARY)}"
        entry.model_version_policy.specific.versions.append(number)
    return "".join(f"# {line}\n" for line in comments) + str(text_format.MessageToString(config))
