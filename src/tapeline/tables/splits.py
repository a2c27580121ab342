"""Which rows train and which test: pure functions of the time column.

    tapeline run split=walk_forward split.windows=6 split.purge=1

Rows of one time (several assets) stay together, so all counts and shares are of distinct times; where
every row has its own time, as in daily closes of one market, these are rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from tapeline.config.schema import Split
from tapeline.errors import choose, refuse

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Window:
    """Row numbers, in the order of time. Each window is trained and scored; test rows are pooled."""

    train: Array
    test: Array


class Chronological(Split):
    """The first rows train, the rest test."""

    train: Annotated[float, Field(gt=0, lt=1)]
    """Share of the times, the first ones."""


def _check_day(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a date, as in 2014-08-11") from None
    return text


Day = Annotated[str, AfterValidator(_check_day)]


class Dates(Split):
    """Days, all of them included, mark the two sides; days between them do neither."""

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


class WalkForward(Split):
    """Test folds one behind the other, each with a model trained on what came before it.

    The terms are Lopez de Prado's. Purge: training rows right before a window's own test fold whose
    labels reach into it. Embargo: rows right after a test fold, whose features still look into it.
    A window trains on nothing after its own fold, so the embargo acts behind the folds of the
    windows before: no later window trains on those rows, though one of them tests them.
    """

    windows: Annotated[int, Field(ge=1)]
    train: Annotated[float, Field(gt=0, lt=1)]
    """Share of the times before the first test fold."""
    train_rows: Annotated[int, Field(ge=1)] | None
    """Rolling: train on the last so many times before the fold; null: expanding, on all."""
    test_rows: Annotated[int, Field(ge=1)] | None
    """Of each fold; null: all that is left, shared out evenly."""
    purge: Annotated[int, Field(ge=0)]
    """Times before a fold that its window does not train on: at least the label's horizon."""
    embargo: Annotated[int, Field(ge=0)]
    """Times after a fold that no later window trains on."""


def windows(split: Split, time: Array) -> tuple[Window, ...]:
    """The windows of a split over rows in the order of time.

    Raises:
        Refused: a window would have no rows to train or to test.
    """
    for section, divide in SPLITS.values():
        if isinstance(split, section):
            return divide(split, time)
    raise TypeError(split)


def _chronological(split: Chronological, time: Array) -> tuple[Window, ...]:
    starts = _starts(time)
    cut = int((len(starts) - 1) * split.train)
    if not 0 < cut < len(starts) - 1:
        problem = f"of {len(starts) - 1} rows it leaves none to one side"
        raise refuse(f"split.train={split.train:g}", problem, "set another share")
    return (Window(np.arange(0, starts[cut]), np.arange(starts[cut], starts[-1])),)


def _dates(split: Dates, time: Array) -> tuple[Window, ...]:
    _starts(time)
    days = time.astype("datetime64[D]")
    test = days > np.datetime64(split.train_until)
    if split.test_from:
        test &= days >= np.datetime64(split.test_from)
    if split.test_until:
        test &= days <= np.datetime64(split.test_until)
    train = days <= np.datetime64(split.train_until)
    for key, side in (("train_until", train), ("test_from", test)):
        if not side.any():
            what = f"split.{key}={getattr(split, key)}"
            reach = f"the rows reach from {days[0]} to {days[-1]}" if len(days) else "there are no rows"
            raise refuse(what, f"leaves no rows to {key.partition('_')[0]}: {reach}", "set other dates")
    return (Window(np.flatnonzero(train), np.flatnonzero(test)),)


def _walk_forward(split: WalkForward, time: Array) -> tuple[Window, ...]:
    starts = _starts(time)
    edges = _edges(split, len(starts) - 1)
    made = []
    for number in range(split.windows):
        last = edges[number] - split.purge
        first = 0 if split.train_rows is None else max(0, last - split.train_rows)
        trains = np.zeros(edges[number], dtype=bool)
        trains[first : max(first, last)] = True
        for fold in edges[1 : number + 1]:
            trains[fold : fold + split.embargo] = False
        if not trains.any():
            keys = f"split.purge={split.purge} split.embargo={split.embargo}"
            raise refuse(keys, f"window {number + 1} has no rows left to train", "lower them, or raise split.train")
        rows = np.repeat(trains, np.diff(starts[: edges[number] + 1]))
        made.append(Window(np.flatnonzero(rows), np.arange(starts[edges[number]], starts[edges[number + 1]])))
    return tuple(made)


def _edges(split: WalkForward, times: int) -> list[int]:
    """Where each test fold begins, counted in times, and where the last one ends."""
    first = int(times * split.train)
    left = times - first
    if not first:
        raise refuse(f"split.train={split.train:g}", f"of {times} rows it leaves none to train", "raise it")
    if split.test_rows is None:
        edges = [first + left * number // split.windows for number in range(split.windows + 1)]
    else:
        edges = [first + split.test_rows * number for number in range(split.windows + 1)]
    if edges[-1] > times or left < split.windows:
        each = f" of {split.test_rows}" if split.test_rows else ""
        problem = f"{left} rows are too few for {split.windows} folds{each}"
        raise refuse(f"split.windows={split.windows}", problem, "lower it, or split.train")
    return edges


def _starts(time: Array) -> Array:
    """The first row of each distinct time, and the number of rows at the end."""
    if len(time) and (time[1:] < time[:-1]).any():
        raise ValueError("rows are not in the order of time")
    changes = np.flatnonzero(time[1:] != time[:-1]) + 1
    return np.concatenate([np.zeros(min(len(time), 1), dtype=np.int64), changes, [len(time)]])


SPLITS: dict[str, tuple[type[Split], Callable[[Any, Array], tuple[Window, ...]]]] = {
    "chronological": (Chronological, _chronological),
    "dates": (Dates, _dates),
    "walk_forward": (WalkForward, _walk_forward),
}
"""The keys of each split, and the function that makes its windows."""


def section(name: object) -> type[Split]:
    """The keys of the split `split.name`.

    Raises:
        Refused: there is none of that name.
    """
    if str(name) not in SPLITS:
        raise refuse(f"split.name={name}", "no such split", choose(str(name), list(SPLITS)))
    return SPLITS[str(name)][0]
