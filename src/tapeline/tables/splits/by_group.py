"""split=by_group: whole groups of rows without time, drawn with a seed."""

from __future__ import annotations

from datetime import timedelta

from tapeline.tables.spec import Array
from tapeline.tables.splits import by_row
from tapeline.tables.windows import Window

ROLE = "group"


class Section(by_row.Section):
    """Whole groups of rows without time, drawn with a seed."""


def divide(split: Section, values: Array, purge: timedelta, share: float) -> tuple[Window, ...]:
    """One window."""
    return by_row.drawn(split, values, share, "group")
