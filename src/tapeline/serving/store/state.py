"""The state of a store, which is its models.config; it is replaced atomically, and only where nobody changed it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tapeline.errors import refuse
from tapeline.serving.store import pins as pinned
from tapeline.serving.store.backend import Backend, Conflict, retry_on_conflict
from tapeline.serving.store.location import backend as backend_at
from tapeline.serving.store.pins import CANARY as CANARY

CONFIG = "models.config"
# Comments of models.config; the words belong to the layout of stores that exist.
_BASE = re.compile(r"^# base_path: (.+)$", re.MULTILINE)
_REMOVED = re.compile(r"^# forgotten: (\S+)/(\d+)$", re.MULTILINE)
_LAST_CHANGE = re.compile(r"^# last change: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class StoreState:
    """The content of models.config. Only a store without a lock uses `removed`."""

    pins: Mapping[str, int]
    """The version number by entry: a model's name, or that of its canary."""
    removed: frozenset[tuple[str, int]] = frozenset()
    """Model and version number of the versions that are being removed."""
    last_change: str = ""
    """The line of the log about the last change of `pins`."""
    etag: str = ""
    """The ETag of models.config; "" where the file does not exist."""
    base: str | None = None
    """The folder or URL of the store as servers see it, which the base_path of each entry contains; None: as opened."""


def load(backend: Backend) -> StoreState:
    """Read the state of a store.

    Raises:
        Refused: models.config is not a model_config_list with one version per entry.
    """
    try:
        content, etag = backend.read(CONFIG)
    except FileNotFoundError:
        return StoreState({})
    try:
        text = content.decode()
        pins, base = pinned.parse(text), pinned.base_of(text)
    except ValueError as error:
        problem = f"is not a model_config_list with one version per entry ({error})"
        fix = "correct it, or remove it and publish again: tapeline publish run=latest"
        raise refuse(f"{backend}/{CONFIG}", problem, fix) from None
    removed = frozenset((name, int(version)) for name, version in _REMOVED.findall(text))
    last_change, written = _LAST_CHANGE.search(text), _BASE.search(text)
    return StoreState(pins, removed, last_change[1] if last_change else "", etag, written[1] if written else base)


def write(backend: Backend, state: StoreState, etag: str) -> StoreState:
    """Replace models.config, which must still have this ETag; returns the state with the new ETag.

    Without a lock, every content that is written is unique. Some storages compute the ETag from the content: if two
    contents could be equal, a change and its undoing in between would not be detected.

    Raises:
        Conflict: models.config has another ETag.
    """
    base = state.base or backend.base
    comments = [f"base_path: {base}"] if base.isprintable() else []
    comments += [f"forgotten: {name}/{version}" for name, version in sorted(state.removed)]
    comments += [f"last change: {state.last_change}"] if state.last_change else []
    if not backend.has_lock:
        comments += [f"write: {uuid.uuid4().hex}"]
    content = pinned.to_text(state.pins, base, comments).encode()
    return replace(state, base=base, etag=backend.put(CONFIG, content, etag))


@retry_on_conflict
def move(location: str, base: str, lock_seconds: float) -> str | None:
    """Write another base_path: where servers see the store. Returns the one before; None where it is the same.

    Raises:
        Refused: the store has no models.config, or it is not valid.
    """
    backend = backend_at(location)
    with backend.lock(lock_seconds):
        before = load(backend)
        if not before.etag:
            raise refuse(location, "has no models.config", f"make a store first: tapeline store init {location}")
        if before.base == base:
            return None
        write(backend, replace(before, base=base), before.etag)
        return before.base or backend.base


def init(location: str, lock_seconds: float) -> bool:
    """Write an empty models.config where there is none; returns whether it was written.

    Raises:
        Refused: there is one, and it is not valid.
    """
    backend = backend_at(location)
    with backend.lock(lock_seconds):
        if load(backend).etag:
            return False
        try:
            write(backend, StoreState({}), "")
        except Conflict:
            return False
    return True
