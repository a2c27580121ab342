"""Types of keys, base sections, and the windows of splits by time after purge, embargo and validation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from tapeline.config.schema import Split
from tapeline.errors import refuse
from tapeline.tables.spec import Array, parse_duration
from tapeline.tables.windows import Window, as_periods

NONE = timedelta(0)
Share = Annotated[float, Field(gt=0, lt=1)]


def _check_duration(value: object) -> str:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    parse_duration(text)
    return text


def _check_day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a date, for example 2014-08-11") from None
    return text


Day = Annotated[str, AfterValidator(_check_day)]
Duration = Annotated[str, BeforeValidator(_check_duration)]


class Section(Split):
    """The keys of every split."""

    validation: Annotated[float, Field(ge=0, lt=1)] | None
    """Share of the train times (rows, groups) that are kept from training, the last ones; null: as the model asks."""


class Timed(Section):
    """A split by time. A row's label reaches from its time to that time plus the purge."""

    purge: Duration | None
    """Train rows whose label reaches the first validation or test row, and validation rows whose label reaches the
    first test row, are dropped; null: the dataset's horizon."""


Folds = Sequence[tuple[Array, Array]]
"""Train and test of each window: ascending positions among the distinct times, before purge and embargo."""


def windows(
    split: Split, times: Array, folds: Folds, purge: timedelta, share: float, embargo: timedelta = NONE
) -> tuple[Window, ...]:
    """The windows of test folds in the order of time, after purge and embargo, with validation rows set apart."""
    made = []
    for number, (before, test) in enumerate(folds):
        train = _before(times, before, times[test[0]], purge)
        for _, earlier in folds[:number]:
            end = times[earlier[-1]]
            train = train[(times[train] <= end) | (times[train] > end + np.timedelta64(embargo))]
        cut = len(train) - int(len(train) * share)
        validation = train[cut:]
        train = _before(times, train[:cut], times[validation[0]], purge) if len(validation) else train
        if not len(train) or (share and not len(validation)):
            side = "validate" if len(train) else "train"
            keys = [f"split.{key}={getattr(split, key)}" for key in ("purge", "embargo") if hasattr(split, key)]
            problem = f"window {number + 1} has no rows left to {side}"
            raise refuse(" ".join(keys), problem, "lower them, or give more train rows")
        made.append(Window("time", *(as_periods(times, positions) for positions in (train, validation, test))))
    return tuple(made)


def _before(times: Array, positions: Array, first: np.datetime64, purge: timedelta) -> Array:
    """The positions whose label is known before the time `first`."""
    return positions[times[positions] < first - np.timedelta64(purge)]
