"""The train rows of a search where it takes a part of them: whole blocks of time, rows or groups, drawn with a seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tapeline import files
from tapeline.config.search import Tune
from tapeline.errors import refuse
from tapeline.tables.spec import Array, parse_duration
from tapeline.tables.table import Table
from tapeline.tables.windows import Period, Window

Block = tuple[Period | int | str, int]
"""A part of the train side of a window, and how many rows it has."""


def draw(window: Window, table: Table, tune: Tune) -> Window:
    """The window with at most `tune.rows` train rows, in whole blocks; the window itself where all are taken.

    Blocks of `tune.block` begin at the first train time. Blocks (or rows, or groups, where there is no time) are
    taken in an order that is drawn with `tune.seed`, as long as all their rows fit.

    Raises:
        Refused: no block fits.
    """
    if tune.rows is None:
        return window
    blocks = _blocks(window, _column(window, table), tune)
    if sum(size for _, size in blocks) <= tune.rows:
        return window
    random = np.random.default_rng(int(files.digest("sample", tune.seed)[:8], 16))
    chosen, left = list[int](), tune.rows
    for position in random.permutation(len(blocks)).tolist():
        if blocks[position][1] <= left:
            chosen.append(position)
            left -= blocks[position][1]
    if not chosen:
        least = min(size for _, size in blocks)
        where = f"tune.rows={tune.rows}" + (f" tune.block={tune.block}" if tune.block else "")
        raise refuse(where, f"the smallest block has {least} rows", f"set tune.rows={least} or more, or shorter blocks")
    train: Any = tuple(blocks[position][0] for position in sorted(chosen))
    return replace(window, train=train)


def _column(window: Window, table: Table) -> Array:
    """Times, row numbers or groups of all train rows."""
    name = table.manifest.names(window.by)[0]
    every = [table.column(part.id, name) for part in table.manifest.parts]
    return np.concatenate([values[window.rows(values, "train")] for values in every])


def _blocks(window: Window, values: Array, tune: Tune) -> list[Block]:
    """In ascending order."""
    if window.by != "time":
        names, counts = np.unique(values.astype(str) if values.dtype == object else values, return_counts=True)
        return list(zip(names.tolist(), counts.tolist(), strict=True))
    times = np.sort(values)
    at = (times - times[0]) // np.timedelta64(parse_duration(tune.block or "1w"))
    firsts = np.flatnonzero(np.r_[True, np.diff(at) > 0])
    lasts = np.r_[firsts[1:], len(times)] - 1
    return [(Period(times[a], times[b]), int(b - a + 1)) for a, b in zip(firsts, lasts, strict=True)]
