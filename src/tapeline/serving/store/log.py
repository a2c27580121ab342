"""The log of a store, log.jsonl: who made which version live, when and why; one JSON object a line, the oldest first.

models.config contains the line of the last change (`last change`), so a change and its line are written at once. Where
log.jsonl lacks that line, since a process was killed or the disk was full, the next change appends it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any

from tapeline.serving.store.backend import Backend, Conflict

LOG = "log.jsonl"
LIMIT = 2**20
"""Bytes. Of a larger log, the lines that no command needs go to another file."""
RECENT = 100
"""Lines that stay in the log at least, and among which the last change is looked for."""
Record = Mapping[str, Any]


def records(backend: Backend, name: str, last_change: str) -> Iterator[Record]:
    """The records about a model, the newest first; lines that are damaged are left out.

    Args:
        backend: of the store.
        name: of the model.
        last_change: the line in models.config.
    """
    lines = (line.decode(errors="replace") for line in backend.lines(LOG))
    recent = list(islice(lines, RECENT))
    first = [last_change] if last_change and last_change not in recent else []
    for line in chain(first, recent, lines):
        record = _record(line) if name in line else None
        if record and record["name"] == name:
            yield record


def _record(line: str) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not {"name", "verb", "number", "before"} <= record.keys():
        return None
    numbers = all(record[key] is None or type(record[key]) is int for key in ("number", "before"))
    return record if numbers and all(isinstance(record[key], str) for key in ("name", "verb")) else None


@dataclass
class Fates:
    """What the log says of the versions of a model."""

    order: list[int] = field(default_factory=list)
    """Numbers that were live and not rolled back since, the last one first."""
    rolled_back: dict[int, Record] = field(default_factory=dict)
    """The record of the rollback, by the number of a version that was rolled back and not promoted since."""


def fates(found: Iterator[Record], numbers: Collection[int]) -> Fates:
    """What records, the newest first, say; they are read only until each of `numbers` was found."""
    fates, left = Fates(), set(numbers)
    for record in found:
        rolled_back = record["verb"] == "rollback"
        number = record["before"] if rolled_back else record["number"]
        known = number is None or number in fates.order or number in fates.rolled_back
        if known or record["verb"] == "canary":
            continue
        if rolled_back:
            fates.rolled_back[number] = record
        else:
            fates.order.append(number)
        left.discard(number)
        if not left:
            break
    return fates


def append(backend: Backend, line: str) -> None:
    """Append a line, unless it is one of the last lines already."""
    if not line or (backend.has_lock and line.encode() in islice(backend.lines(LOG), RECENT)):
        return
    if backend.append(LOG, line.encode()) > LIMIT:
        _rotate(backend)


def _rotate(backend: Backend) -> None:
    """Keep the lines that commands need; a copy of the whole log stays beside it."""
    content, etag = backend.read(LOG)
    lines = content.split(b"\n")[:-1]
    needed, seen = list[bytes](), set[tuple[Any, ...]]()
    for back, line in enumerate(reversed(lines)):
        record = _record(line.decode(errors="replace"))
        if record is None:
            continue
        rolled_back = record["verb"] == "rollback"
        key = (record["name"], rolled_back, record["before"] if rolled_back else record["number"])
        if back < RECENT or (record["verb"] != "canary" and key not in seen):
            needed.append(line)
        if record["verb"] != "canary":
            seen.add(key)
    if len(needed) > len(lines) // 2:
        return
    copy = f"log-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}.jsonl"
    backend.put(copy, content, "")
    try:
        backend.put(LOG, b"\n".join([*reversed(needed), b""]), etag)
    except Conflict:
        return  # the next change rotates
