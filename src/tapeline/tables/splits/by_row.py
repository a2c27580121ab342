"""split=by_row: rows without time, drawn with a seed."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from tapeline.errors import refuse
from tapeline.tables.spec import Array
from tapeline.tables.splits import base
from tapeline.tables.splits.base import Share
from tapeline.tables.windows import Window

ROLE = "row"


class Section(base.Section):
    """Rows without time, drawn with a seed."""

    train: Share
    """Share of the rows (or groups); the rest test."""
    seed: Annotated[int, Field(ge=0)]


def divide(split: Section, values: Array, purge: timedelta, share: float) -> tuple[Window, ...]:
    """One window."""
    return drawn(split, values, share, "row")


def drawn(split: Section, names: Array, share: float, role: Literal["row", "group"]) -> tuple[Window, ...]:
    """Sides of row numbers or groups in the order of a hash: it depends on seed and name alone."""
    keys = [hashlib.sha256(f"{split.seed}:{name}".encode()).digest() for name in names.tolist()]
    shuffled = [names[position].item() for position in sorted(range(len(names)), key=keys.__getitem__)]
    cut = int(len(shuffled) * split.train)
    held = int(cut * share)
    if cut <= held or cut == len(shuffled) or (share and not held):
        problem = f"of {len(shuffled)} {split.name.removeprefix('by_')}s it leaves none to one side"
        raise refuse(f"split.train={split.train:g} split.validation={share:g}", problem, "set other shares")
    sides = (shuffled[: cut - held], shuffled[cut - held : cut], shuffled[cut:])
    return (Window(role, *(tuple(sorted(side)) for side in sides)),)
