"""Read and write models.config as a store keeps it: each entry pins one version (policy `specific`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tapeline.config.schema import CANARY as CANARY
from tapeline.serving.models_config import parse_message

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,69}")


def parse(text: str) -> dict[str, int]:
    """The version number by entry: a model's name, or that of its canary.

    Raises:
        ValueError: it is not a model_config_list with one version per entry.
    """
    pins: dict[str, int] = {}
    for entry in parse_message(text).model_config_list.config:
        versions = list(entry.model_version_policy.specific.versions)
        if not NAME.fullmatch(entry.name) or len(versions) != 1 or entry.name in pins:
            raise ValueError(f"an entry has the name {entry.name!r} and the versions {versions}")
        pins[entry.name] = int(versions[0])
    return pins


def base_of(text: str) -> str | None:
    """The folder or URL that all entries have as the parent of their base_path; None where they differ, or none is.

    Raises:
        ValueError: it is not a model_config_list.
    """
    found = {entry.base_path.rpartition("/")[0] for entry in parse_message(text).model_config_list.config}
    return found.pop() or None if len(found) == 1 else None


def to_text(pins: Mapping[str, int], base: str, comments: Iterable[str] = ()) -> str:
    """The text of a models.config; a canary has the base_path of its model.

    Args:
        pins: the version number by entry.
        base: the folder or URL that holds the folders of the models.
        comments: lines above the list.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.SetInParent()
    for name, version in sorted(pins.items()):
        entry = config.model_config_list.config.add()
        entry.name, entry.model_platform = name, "tensorflow"
        entry.base_path = f"{base}/{name.removesuffix(CANARY)}"
        entry.model_version_policy.specific.versions.append(version)
    return "".join(f"# {line}\n" for line in comments) + str(text_format.MessageToString(config))
