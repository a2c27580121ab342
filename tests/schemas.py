"""The schemas of custom resources that lie beside the checkout, made strict."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

SCHEMAS = Path(os.environ.get("TAPELINE_SCHEMAS") or Path(__file__).parents[2] / "shared" / "schemas")


def strictly(release: str, name: str, thing: dict[str, Any]) -> list[str]:
    """What a schema finds wrong with an object, unknown fields included; skips where there is no schema."""
    told = _validator(release, name).iter_errors(thing)
    return [f"{'.'.join(map(str, each.absolute_path))}: {each.message}" for each in told]


@cache
def _validator(release: str, name: str) -> Any:
    from jsonschema import Draft202012Validator

    path = SCHEMAS / release / f"{name}.yaml"
    if not path.is_file():
        pytest.skip(f"the schemas are not here ({path}); set TAPELINE_SCHEMAS")
    with path.open() as handle:
        told = yaml.load(handle, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    schema = told["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    _strict(schema)
    return Draft202012Validator(schema)


def _strict(schema: Any) -> None:
    """Refuse fields that are not declared; quantities may be numbers."""
    if isinstance(schema, dict):
        if "properties" in schema and "additionalProperties" not in schema:
            schema["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        if schema.get("x-kubernetes-int-or-string"):
            schema.pop("type", None)
        if "metadata" in schema.get("properties", {}) and schema["properties"]["metadata"] == {"type": "object"}:
            schema["properties"]["metadata"] = {"type": "object", "additionalProperties": True}
        for each in schema.values():
            _strict(each)
    elif isinstance(schema, list):
        for each in schema:
            _strict(each)
