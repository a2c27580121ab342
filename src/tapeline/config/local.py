"""Overrides of this machine: conf/local/*.yaml, for run, sweep and explore; the files are not in the repository.

A file has keys as conf/ has them, and the overrides that are typed win:

    hw: {threads: 2}
    serving.rest_port: 8601
    model: lightgbm

The variable TAPELINE_LOCAL=false leaves the files out, as the project's tests do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tapeline.config.compose import folder, is_group
from tapeline.errors import refuse


def files() -> list[Path]:
    """The files, in the order of their names."""
    if os.environ.get("TAPELINE_LOCAL", "true").lower() == "false":
        return []
    return sorted((folder() / "local").glob("*.yaml"))


def overrides() -> list[str]:
    """What the files set, as overrides.

    Raises:
        Refused: a file is not YAML with keys.
    """
    return [text for path in files() for text in _of(path)]


def with_typed(typed: list[str]) -> list[str]:
    """The overrides of this machine and behind them those that were typed, which win."""
    given = {text.lstrip("+~").partition("=")[0] for text in typed}
    return [*(text for text in overrides() if text.partition("=")[0] not in given), *typed]


def _of(path: Path) -> Iterator[str]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise refuse(path, f"cannot be read ({reason})", "write YAML, for example serving.rest_port: 8601") from None
    if content is not None and not isinstance(content, dict):
        raise refuse(path, "has no keys", "write YAML with keys, for example serving.rest_port: 8601")
    yield from _flat(content or {}, "")


def _flat(values: dict[Any, Any], prefix: str) -> Iterator[str]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{name}.")
        elif isinstance(value, str) and not is_group(name):
            yield f"{name}={json.dumps(value, ensure_ascii=False)}"
        else:
            yield f"{name}={value if isinstance(value, str) else json.dumps(value)}"
