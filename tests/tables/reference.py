"""The recipe of chronological, dates and walk_forward before splits were periods: row numbers, purge and embargo 0."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Windows = list[tuple[Array, Array]]


def chronological(time: Array, train: float) -> Windows:
    starts = _starts(time)
    cut = int((len(starts) - 1) * train)
    return [(np.arange(0, starts[cut]), np.arange(starts[cut], starts[-1]))]


def dates(time: Array, train_until: str, test_from: str | None, test_until: str | None) -> Windows:
    days = time.astype("datetime64[D]")
    test = days > np.datetime64(train_until)
    if test_from:
        test &= days >= np.datetime64(test_from)
    if test_until:
        test &= days <= np.datetime64(test_until)
    return [(np.flatnonzero(days <= np.datetime64(train_until)), np.flatnonzero(test))]


def walk_forward(time: Array, windows: int, train: float, train_rows: int | None, test_rows: int | None) -> Windows:
    starts = _starts(time)
    times = len(starts) - 1
    first = int(times * train)
    left = times - first
    if test_rows is None:
        edges = [first + left * number // windows for number in range(windows + 1)]
    else:
        edges = [first + test_rows * number for number in range(windows + 1)]
    made = []
    for number in range(windows):
        begin = 0 if train_rows is None else max(0, edges[number] - train_rows)
        made.append(
            (
                np.arange(starts[begin], starts[edges[number]]),
                np.arange(starts[edges[number]], starts[edges[number + 1]]),
            )
        )
    return made


def _starts(time: Array) -> Array:
    changes = np.flatnonzero(time[1:] != time[:-1]) + 1
    return np.concatenate([np.zeros(min(len(time), 1), dtype=np.int64), changes, [len(time)]])
