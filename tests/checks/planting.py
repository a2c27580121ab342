"""Mistakes planted into what is right: each is found, by one rule, with one line."""

from __future__ import annotations

import copy
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tapeline import checks

DROP = object()


class Planted(NamedTuple):
    """A mistake: the rule that should find it, where it goes, and the line that should report it."""

    rule: str
    path: str
    value: Any
    line: str


def identity(planted: Any) -> str:
    """For pytest's ids."""
    return str(planted.rule)


def plant(right: Any, path: str, value: Any) -> Any:
    """A copy with another value at a path like "spec templates [train] container image"; DROP removes it."""
    whole = copy.deepcopy(right)
    *before, last = path.split(" ")
    at = whole
    for word in before:
        at = at[_index(at, word)]
    key = last if isinstance(at, dict) else _index(at, last)
    if value is DROP:
        del at[key]
    elif isinstance(at, list) and key == len(at):
        at.append(value)
    else:
        at[key] = value(copy.deepcopy(at[key])) if callable(value) else value
    return whole


def _index(at: Any, word: str) -> Any:
    """A key, or an item by "[name]", by "[0]", or "[]" for a new one at the end."""
    if isinstance(at, dict):
        return word
    name = word.strip("[]")
    if not name:
        return len(at)
    return (
        next((number for number, each in enumerate(at) if isinstance(each, dict) and each.get("name") == name), name)
        if (not re.fullmatch(r"\d+", name))
        else int(name)
    )


def rules() -> dict[str, Callable[..., Any]]:
    """All rules of make check, by module and name."""
    found = {}
    for info in pkgutil.iter_modules(checks.__path__):
        module = importlib.import_module(f"tapeline.checks.{info.name}")
        for rule in getattr(module, "RULES", ()):
            found[f"{rule.__module__.rpartition('.')[2]}.{rule.__name__}"] = rule
    return found


def forget(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a rule out of every table, to show that it alone finds what it is for."""
    rule = rules()[name]
    for info in pkgutil.iter_modules(checks.__path__):
        module = importlib.import_module(f"tapeline.checks.{info.name}")
        if rule in getattr(module, "RULES", ()):
            monkeypatch.setattr(module, "RULES", tuple(each for each in module.RULES if each is not rule))


WRONG_TYPES: tuple[Any, ...] = ([], ["x"], {}, {"x": ["y"]}, "x", 7, True, None)
"""Values in the place of others."""


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each value inside."""
    if path:
        yield path
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from paths(value[key], (*path, key))


def replaced(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """A copy with another value at a path."""
    whole = copy.deepcopy(value)
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = other
    return whole
