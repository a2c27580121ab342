"""The keys of a group: the meaning from the files in conf/, the type and the range from the schema."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from tapeline.config.compose import folder, options
from tapeline.config.section import Section
from tapeline.errors import choose, refuse
from tapeline.lookup import GROUPS, schema_of

LINE = re.compile(r"^(\s*)([A-Za-z_]\w*):(?:\s+(.*?))?(?:\s+#\s*(.*))?$")
"""A key of a file in conf/: indentation, key, value, and the comment that explains it."""
NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false", dict: "mapping", tuple: "list"}


@dataclass(frozen=True)
class Key:
    """One key of an option."""

    name: str
    value: str
    """In the file of the option."""
    kind: str
    """Type and range, as far as the schema says."""
    meaning: str


@dataclass(frozen=True)
class Choice:
    """An option of a group."""

    name: str
    about: str
    """The first lines of its file."""
    keys: tuple[Key, ...]


def lines(group: str) -> Iterator[str]:
    """What `tapeline config group=...` prints.

    Raises:
        Refused: there is no such group.
    """
    for choice in choices(group):
        yield f"{group}={choice.name}"
        yield from (f"  # {line}" for line in choice.about.splitlines())
        for key in choice.keys:
            value = f"={key.value}" if key.value else ""
            kind = f"  ({key.kind})" if key.kind else ""
            yield f"  {full(group, key)}{value}{kind}"
            if key.meaning:
                yield f"      {key.meaning}"
        yield ""


def full(group: str, key: Key) -> str:
    """The key as an override has it; files that set keys of all sections have the section in their keys."""
    return key.name if group not in GROUPS or key.name.startswith(f"{group}.") else f"{group}.{key.name}"


def groups() -> list[str]:
    """All groups with files in conf/."""
    return sorted(
        path.name for path in folder().iterdir() if path.is_dir() and path.name != "local" and options(path.name)
    )


def choices(group: str) -> list[Choice]:
    """The options of a group, each with its keys.

    Raises:
        Refused: there is no such group.
    """
    if group not in groups():
        raise refuse(f"group={group}", "conf/ has no such group", choose(group, groups()))
    return [_choice(group, name) for name in options(group)]


def _choice(group: str, name: str) -> Choice:
    text = (folder() / group / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    about, rest = list[str](), list[str]()
    for line in text:
        if line.startswith("#") and not rest:
            about += [] if "@package" in line else [line.lstrip("# ")]
        else:
            rest.append(line)
    schema = schema_of(group, name)
    return Choice(name, "\n".join(about), tuple(_keys(rest, schema, group)))


def _keys(text: list[str], schema: type[Section] | None, group: str) -> Iterator[Key]:
    """The keys of a file, nested ones dotted; `defaults` is Hydra's own."""
    parents: list[tuple[int, str]] = []
    before = ""
    for line in text:
        if line.strip().startswith("#"):
            before = f"{before} {line.strip('# ')}".strip()
            continue
        found = LINE.match(line)
        if not found or found[2] == "defaults":
            before = ""
            continue
        indent, name, value, comment = len(found[1]), found[2], found[3] or "", found[4] or before
        before = ""
        parents = [each for each in parents if each[0] < indent]
        dotted = ".".join([*(each for _, each in parents), name])
        parents.append((indent, name))
        if value or comment:
            yield Key(dotted, value, kind_of(schema, dotted.removeprefix(f"{group}.")), comment)


def kind_of(schema: type[Section] | None, dotted: str) -> str:
    """The type and the range of a key, for people; empty where the schema has no such key."""
    for part in dotted.split(".")[:-1]:
        field = _field(schema, part)
        schema = next((each for each in _members(field.annotation) if _is_section(each)), None) if field else None
    field = _field(schema, dotted.rpartition(".")[2])
    if field is None:
        return ""
    nullable = type(None) in _members(field.annotation)
    kinds = dict.fromkeys(_described(each) for each in _members(field.annotation) if each is not type(None))
    limits = _limits([*field.metadata, *_metadata(field.annotation)])
    text = " or ".join(kinds) + (f" {limits}" if limits else "")
    return f"{text}, or null" if nullable else text


def _field(schema: type[Section] | None, name: str) -> FieldInfo | None:
    """The field of that name, or with it as its alias, as `from`, which is not a name in Python."""
    known = schema.model_fields if schema else {}
    return known.get(name) or next((each for each in known.values() if each.alias == name), None)


def _members(annotation: Any) -> tuple[Any, ...]:
    """The types of a union; of Annotated what it annotates."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(member for each in get_args(annotation) for member in _members(each))
    return (annotation,)


def _metadata(annotation: Any) -> list[Any]:
    """What Annotated says inside a union."""
    if get_origin(annotation) is Annotated:
        return [*get_args(annotation)[1:]]
    if get_origin(annotation) in (Union, types.UnionType):
        return [each for member in get_args(annotation) for each in _metadata(member)]
    return []


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _described(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    if _is_section(annotation):
        return "section"
    origin = get_origin(annotation) or annotation
    if origin in (list, tuple):
        inner = [each for each in get_args(annotation) if each is not Ellipsis]
        return f"list of {_described(inner[0])}s" if inner else "list"
    return NAMES.get(origin, "mapping" if isinstance(origin, type) and issubclass(origin, Mapping) else "text")


def _limits(metadata: list[Any]) -> str:
    """The range that constraints of pydantic give, as in `from 1 to 256`."""
    flat = [inner for each in metadata for inner in (each, *getattr(each, "metadata", ()))]
    texts = []
    for attribute, word in (("ge", "from"), ("gt", "above"), ("le", "to"), ("lt", "below")):
        found = [getattr(each, attribute) for each in flat if getattr(each, attribute, None) is not None]
        texts += [f"{word} {found[0]:g}"] if found else []
    return " ".join(texts)
