"""What models.config says, and how it changes: whole, and only where nobody else changed it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tapeline.errors import refuse
from tapeline.serving.store import pins as texts
from tapeline.serving.store.backend import Conflict, Place
from tapeline.serving.store.location import at
from tapeline.serving.store.pins import CANARY as CANARY

CONFIG = "models.config"
_GONE = re.compile(r"^# forgotten: (\S+)/(\d+)$", re.MULTILINE)
_LINE = re.compile(r"^# last change: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class State:
    """models.config as it was read or written; under a lock, only the pins are needed."""

    pins: Mapping[str, int]
    """Entry to number."""
    gone: frozenset[tuple[str, int]] = frozenset()
    """Names and numbers that are being removed."""
    line: str = ""
    """Of the log, about the last change of the pins."""
    tag: str = ""
    """The file's; "" where there is none."""


def load(place: Place) -> State:
    """The state of a store.

    Raises:
        Refused: models.config cannot be read as one.
    """
    try:
        content, tag = place.read(CONFIG)
    except FileNotFoundError:
        return State({})
    try:
        told = content.decode()
        pins = texts.read(told)
    except ValueError as error:
        where = f"{place}/{CONFIG}"
        raise refuse(where, f"is not a model_config_list of one version each ({error})", "mend or remove it") from None
    gone = frozenset((name, int(number)) for name, number in _GONE.findall(told))
    line = _LINE.search(told)
    return State(pins, gone, line[1] if line else "", tag)


def write(place: Place, wanted: State, tag: str) -> State:
    """Write models.config in one step, where it has that tag.

    Without a lock no two contents are the same: a tag that is made of the content would not show
    that others came and went in between.

    Raises:
        Conflict: it has another.
    """
    comments = []
    if not place.locks:
        comments = [f"forgotten: {name}/{number}" for name, number in sorted(wanted.gone)]
        comments += [f"last change: {wanted.line}"] if wanted.line else []
        comments += [f"write: {uuid.uuid4().hex}"]
    content = texts.text(wanted.pins, place.base, comments).encode()
    return replace(wanted, tag=place.replace(CONFIG, content, tag))


def init(where: str, lock_seconds: float) -> bool:
    """Make an empty, valid models.config where there is none; whether anything was written.

    Raises:
        Refused: the one that is there is not valid.
    """
    place = at(where)
    with place.alone(lock_seconds):
        if load(place).tag:
            return False
        try:
            write(place, State({}), "")
        except Conflict:
            return False
    return True
