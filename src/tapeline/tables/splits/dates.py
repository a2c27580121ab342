"""split=dates: days mark the train and the test rows."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from pydantic import ValidationInfo, field_validator

from tapeline.errors import refuse
from tapeline.tables.spec import Array
from tapeline.tables.splits.base import Day, Timed, windows
from tapeline.tables.windows import Window

ROLE = "time"


class Section(Timed):
    """Days, all of them included, mark the two sides; days between them are in neither."""

    train_until: Day
    test_from: Day | None
    """null: the day after train_until."""
    test_until: Day | None
    """null: the last."""

    @field_validator("test_from", "test_until")
    @classmethod
    def _after_training(cls, day: str | None, info: ValidationInfo) -> str | None:
        until = info.data.get("train_until")
        if day and until and date.fromisoformat(day) <= date.fromisoformat(until):
            raise ValueError(f"must be later than split.train_until={until}")
        return day


def divide(split: Section, times: Array, purge: timedelta, share: float) -> tuple[Window, ...]:
    """One window."""
    days = times.astype("datetime64[D]")
    test = days > np.datetime64(split.train_until)
    if split.test_from:
        test &= days >= np.datetime64(split.test_from)
    if split.test_until:
        test &= days <= np.datetime64(split.test_until)
    train = days <= np.datetime64(split.train_until)
    for key, side in (("train_until", train), ("test_from", test)):
        if not side.any():
            what = f"split.{key}={getattr(split, key)}"
            reach = f"the rows reach from {days[0]} to {days[-1]}"
            raise refuse(what, f"leaves no rows to {key.partition('_')[0]}: {reach}", "set other dates")
    return windows(split, times, [(np.flatnonzero(train), np.flatnonzero(test))], purge, share)
