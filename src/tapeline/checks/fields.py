"""Fields and values that the API server would drop or refuse, by the published schemas read strictly.

schemas/ contains those of Argo and of the training operator (`make schemas` copies them); those of Kubernetes'
own kinds are in the package kubernetes-validate, which is installed for `make check` and not in images.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tapeline.checks.nodes import Node
from tapeline.errors import Finding, nearest

CUSTOM = ("ClusterWorkflowTemplate", "CronWorkflow", "TFJob", "Workflow", "WorkflowTemplate")
"""Kinds with a schema in schemas/."""
KUBERNETES = "1.32"
"""The oldest version of Kubernetes that the objects support."""
TEXTS = ("annotations", "labels", "matchLabels", "nodeSelector")
"""Mappings of text to text; names.py reports other values in them, for every kind."""
METADATA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        **{name: {"type": "string"} for name in ("name", "generateName", "namespace")},
        **{name: {"type": "object"} for name in ("labels", "annotations")},
        **{name: {} for name in ("creationTimestamp", "finalizers", "ownerReferences")},
    },
}
"""The schema of metadata, which CRDs leave out."""


def fields_fit_their_schema(document: Node) -> Iterator[Finding]:
    """No unknown field, no missing field and no wrong type."""
    kind = str(document.at("kind").value)
    head = [document.at(key) for key in ("apiVersion", "kind")]
    if wrong := [node for node in head if node.value is not None and not node.text]:
        yield from (node.wrong("must be text", "write it as in apiVersion: v1") for node in wrong)
        return
    for error in _custom(kind).iter_errors(document.value) if kind in CUSTOM else _built_in(document):
        yield from _findings(document, error)


def can_check_built_in() -> bool:
    """Whether the schemas of Kubernetes' own kinds are installed."""
    return find_spec("kubernetes_validate") is not None


@cache
def _custom(kind: str) -> Any:
    from jsonschema import Draft202012Validator

    packed = (Path(__file__).with_name("schemas") / f"{kind.lower()}s.json.gz").read_bytes()
    schema = strict(json.loads(gzip.decompress(packed)))
    return Draft202012Validator({**schema, "properties": {**schema["properties"], "metadata": METADATA}})


def strict(schema: Any) -> Any:
    """The schema that refuses undeclared fields; names.py checks quantities."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "number", "string"]}
    made = {key: strict(value) for key, value in schema.items()}
    if made.get("type") == "object" and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def _built_in(document: Node) -> Iterator[Any]:
    """The most specific error of an object of Kubernetes' own kinds; none for kinds without a published schema."""
    version, kind = document.at("apiVersion").text, document.at("kind").text
    if not can_check_built_in() or not (version and kind):
        return
    from jsonschema.exceptions import best_match

    if validator := _kubernetes(kind.lower(), version):
        error = best_match(validator.iter_errors(document.value))
        if error:
            yield error


@cache
def _kubernetes(kind: str, version: str) -> Any:
    """The validator of a kind; None where there is no schema. kubernetes-validate itself reads 2 MB for each object."""
    from jsonschema import Draft202012Validator

    group, _, number = version.rpartition("/")
    name = f"{kind}-{group.partition('.')[0]}{'-' if group else ''}{number}.json"
    path = _schemas() / name
    if not path.is_file():
        return None
    return Draft202012Validator(json.loads(path.read_bytes()), registry=_definitions())


@cache
def _schemas() -> Path:
    found = find_spec("kubernetes_validate")
    assert found
    assert found.origin
    [folder] = Path(found.origin).parent.glob(f"kubernetes-json-schema/v{KUBERNETES}.*-local-strict")
    return folder


@cache
def _definitions() -> Any:
    from referencing import Registry, Resource

    return Resource.from_contents(json.loads((_schemas() / "_definitions.json").read_bytes())) @ Registry()


def _findings(document: Node, error: Any) -> Iterator[Finding]:
    node = document
    for key in error.absolute_path:
        node = list(node.each())[key] if isinstance(key, int) else node.at(key)
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", ()))
        for key in node.value:
            if key not in known:
                fix = nearest(key, known, otherwise="remove it")
                yield node.at(key).wrong("there is no such field", fix)
    elif error.validator == "required":
        for key in error.validator_value:
            if key not in node.value:
                yield node.at(key).wrong("is missing", "add it")
    elif error.validator == "type" and node.keys[-2:-1] and node.keys[-2] in TEXTS:
        return
    elif error.validator == "type":
        types = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        problem = f"must be of type {' or '.join(types)}, and is {json.dumps(error.instance, default=str)}"
        yield node.wrong(problem, f"write {'an' if types[0][0] in 'aio' else 'a'} {types[0]}")
    else:
        yield node.wrong(error.message, "change it")


ABOUT = "object"
RULES = (fields_fit_their_schema,)
