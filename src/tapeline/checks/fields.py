"""Fields that Argo does not have, or not so: Hera's models, which ignore what they do not know, read strictly."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

from tapeline.checks.nodes import Node
from tapeline.errors import Finding, nearest


def fields_exist(document: Node) -> Iterator[Finding]:
    """The API server drops, or refuses, a field that Argo does not have."""
    from hera.workflows import models

    model = getattr(models, str(document.at("kind").value))
    yield from _unknown(document, model)


def fields_have_their_types(document: Node) -> Iterator[Finding]:
    """Numbers where numbers belong, lists where lists do; nothing that must be there is missing."""
    from hera.workflows import models
    from pydantic import ValidationError

    model = getattr(models, str(document.at("kind").value))
    try:
        model.model_validate(document.value)
    except ValidationError as error:
        for detail in error.errors():
            if {"requests", "limits"} & set(detail["loc"]) and isinstance(detail["input"], (int, float)):
                # a quantity, which may be a number
                continue
            node = _node(document, detail["loc"])
            problem = detail["msg"].replace("Input should be", "must be").replace("Field required", "is missing")
            yield node.wrong(problem[0].lower() + problem[1:], "mend it")


def _node(document: Node, place: tuple[int | str, ...]) -> Node:
    """The node of pydantic's place, in which models of a union stand between keys."""
    node = document
    for word in place:
        if isinstance(word, int):
            node = [*node.each()][word] if isinstance(node.value, list) and word < len(node.value) else node
        elif isinstance(node.value, dict):
            node = node.at(word)
    return node


def _unknown(node: Node, annotation: Any) -> Iterator[Finding]:
    from pydantic import BaseModel, RootModel

    if get_origin(annotation) in (Union, types.UnionType):
        fitting = [each for each in get_args(annotation) if each is not type(None) and _fits(node.value, each)]
        yield from _unknown(node, fitting[0]) if fitting else ()
    elif get_origin(annotation) is list and isinstance(node.value, list):
        for item in node.each():
            yield from _unknown(item, get_args(annotation)[0])
    elif get_origin(annotation) is dict and isinstance(node.value, dict):
        for item in node.each():
            yield from _unknown(item, get_args(annotation)[1])
    elif isinstance(annotation, type) and issubclass(annotation, RootModel):
        yield from _unknown(node, annotation.model_fields["root"].annotation)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel) and isinstance(node.value, dict):
        known = {field.alias or name: field.annotation for name, field in annotation.model_fields.items()}
        for item in node.each():
            if item.key in known:
                yield from _unknown(item, known[item.key])
            else:
                fix = nearest(item.key, list(known), otherwise="leave it out")
                yield item.wrong(f"{annotation.__name__} has no field {item.key}", fix)


def _fits(value: Any, annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    if origin in (list, dict):
        return isinstance(value, origin)
    return not isinstance(value, list) or hasattr(annotation, "model_fields")


RULES = (fields_exist, fields_have_their_types)
