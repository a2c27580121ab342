"""What tests of emitted YAML share: the files of overrides, their templates, and what is refused."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from tapeline import checks, lookup
from tapeline.clusters import emit as build
from tapeline.errors import Refused


@cache
def texts(*typed: str) -> dict[str, str]:
    """The content of each file by name."""
    return build.emit(lookup.configure(typed), typed)


def templates(*typed: str) -> dict[str, Any]:
    """The templates of the WorkflowTemplate, by name."""
    found = yaml.safe_load(next(iter(texts(*typed).values())))["spec"]["templates"]
    return {each["name"]: each for each in found}


def lines(*typed: str) -> list[str]:
    """What is refused; [] if the files can be emitted."""
    try:
        config = lookup.configure(typed)
        checks.before_build(config)
        build.emit(config, typed)
    except Refused as error:
        return list(map(str, error.findings))
    return []
