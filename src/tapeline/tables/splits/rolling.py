"""split=rolling: windows of fixed durations."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from pydantic import ValidationInfo, field_validator

from tapeline.errors import Refused, refuse
from tapeline.tables.spec import UNITS, Array, parse_duration
from tapeline.tables.splits.base import NONE, Duration, Timed, windows
from tapeline.tables.windows import Window

ROLE = "time"


class Section(Timed):
    """Windows of fixed durations; the last test fold ends with the last row, and windows fill the file backwards."""

    train: Duration
    test: Duration
    gap: Duration
    """Between train and test."""
    step: Duration | None
    """From one window to the next, at least split.test; null: split.test."""
    embargo: Duration
    """After a fold; no later window trains on its rows."""

    @field_validator("train", "test", "step")
    @classmethod
    def _not_empty(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text and parse_duration(text) == NONE:
            raise ValueError("must be longer than 0")
        test = info.data.get("test") if info.field_name == "step" else None
        if text and test and parse_duration(text) < parse_duration(test):
            raise ValueError(f"must be at least split.test={test}, or rows would be tested twice")
        return text


def divide(split: Section, times: Array, purge: timedelta, share: float) -> tuple[Window, ...]:
    """One window for each step."""
    train, test, gap = (parse_duration(text) for text in (split.train, split.test, split.gap))
    step = test if split.step is None else parse_duration(split.step)
    seconds = (times - times[0]).astype("timedelta64[s]").astype(np.int64)
    interval = int(np.diff(seconds).min()) if len(seconds) > 1 else 0
    reach = timedelta(seconds=int(seconds[-1]) + interval)
    if train + gap + test > reach:
        raise _too_short(split, reach, reach - gap - test)
    folds = []
    for number in reversed(range((reach - train - gap - test) // step + 1)):
        end = times[-1] - np.timedelta64(step * number)
        bounds = [end - np.timedelta64(back) for back in (test + gap + train, test + gap, test, NONE)]
        begin, stop, first, last = np.searchsorted(times, bounds, side="right")
        if first == last:
            problem = f"no row lies in the test fold from {bounds[2]} to {end}"
            raise refuse(f"split.test={split.test}", problem, "raise it")
        folds.append((np.arange(begin, stop), np.arange(first, last)))
    return windows(split, times, folds, purge, share, parse_duration(split.embargo))


def _too_short(split: Section, reach: timedelta, longest: timedelta) -> Refused:
    problem = f"with split.gap={split.gap} and split.test={split.test} it is longer than the data"
    if longest <= NONE:
        return refuse(f"split.test={split.test}", f"the data span {_rounded(reach, split.test)}", "lower it")
    fix = f"set split.train={_rounded(longest, split.train)}, the longest that fits, or less"
    return refuse(f"split.train={split.train}", f"{problem}, which span {_rounded(reach, split.train)}", fix)


def _rounded(duration: timedelta, text: str) -> str:
    """The duration in the unit of `text`, rounded down, or in the largest smaller unit in which it is not 0."""
    units = list(UNITS)
    seconds = int(duration.total_seconds())
    unit = next((unit for unit in units[units.index(text[-1]) :] if seconds >= UNITS[unit]), "s")
    return f"{seconds // UNITS[unit]}{unit}"
