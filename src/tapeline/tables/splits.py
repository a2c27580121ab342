"""Which rows train, validate and test: periods computed from a table's times, or names of rows or groups.

    tapeline run split=walk_forward split.windows=6 split.purge=1d

Rows of one time (several assets) stay together, so all counts and shares are of distinct times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from tapeline.config.schema import Split
from tapeline.errors import Finding, Refused, choose, refuse
from tapeline.tables.spec import UNITS, Array, Spec, format_duration, parse_duration
from tapeline.tables.table import Table
from tapeline.tables.windows import Window, as_periods, distinct, leaders_of

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
        raise ValueError("must be a date, as in 2014-08-11") from None
    return text


Day = Annotated[str, AfterValidator(_check_day)]
Duration = Annotated[str, BeforeValidator(_check_duration)]


class Section(Split):
    """What every split has."""

    validation: Annotated[float, Field(ge=0, lt=1)] | None
    """Share of the train times (rows, groups) that are kept from training, the last ones; null: as the model asks."""


class Timed(Section):
    """A split by time. A row's label reaches from its time to that time plus the purge."""

    purge: Duration | None
    """Train rows whose label reaches the first validation or test row, and validation rows whose label reaches the
    first test row, are dropped; null: the dataset's horizon."""


class Chronological(Timed):
    """The first rows train, the rest test."""

    train: Share
    """Share of the times, the first ones."""


class Dates(Timed):
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


class WalkForward(Timed):
    """Test folds one behind the other, each with a model trained on what came before it.

    Purge and embargo are Lopez de Prado's. The embargo acts behind the folds of earlier windows: no later window
    trains on rows whose features still look into such a fold, though one of them tests these rows.
    """

    windows: Annotated[int, Field(ge=1)]
    train: Share
    """Share of the times before the first test fold."""
    train_rows: Annotated[int, Field(ge=1)] | None
    """Rolling: train on the last so many times before the fold; null: expanding, on all."""
    test_rows: Annotated[int, Field(ge=1)] | None
    """Times of each fold; null: all that are left, shared out evenly."""
    embargo: Duration
    """After a fold; no later window trains on its rows."""


class Rolling(Timed):
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


class ByRow(Section):
    """Rows without time, drawn with a seed."""

    train: Share
    """Share of the rows (or groups); the rest test."""
    seed: Annotated[int, Field(ge=0)]


class ByGroup(ByRow):
    """Whole groups of rows without time, drawn with a seed."""


Folds = Sequence[tuple[Array, Array]]
"""Train and test of each window: ascending positions among the distinct times, before purge and embargo."""


def periods(split: Split, values: Array, horizon: timedelta | None, validation: float = 0.0) -> tuple[Window, ...]:
    """The windows of a split.

    Args:
        split: its keys.
        values: times, row numbers or groups of all rows, in any order, once or several times each.
        horizon: how far a label reaches behind its row's time; None where rows have no time.
        validation: the share that the model asks for, used where `split.validation` is null.

    Raises:
        Refused: a window would have no rows to train, to validate or to test.
    """
    for section, divide in SPLITS.values():
        if type(split) is section:
            found = distinct([values])
            if not len(found):
                raise refuse(f"split={split.name}", "there are no rows", "give data")
            share = validation if split.validation is None else split.validation
            return divide(split, found, purge_of(split, horizon), share)
    raise TypeError(split)


def of_table(split: Split, table: Table, horizon: timedelta | None, validation: float = 0.0) -> tuple[Window, ...]:
    """The windows of a split of a table; rows of one group are drawn together.

    Raises:
        Refused: as `periods`, or the table lacks the column that the split goes by.
    """
    if not (names := table.manifest.names(role := BY.get(type(split), "time"))):
        problem = f"the table has no column with the role {role}"
        raise refuse(f"split={split.name}", problem, "choose another split, as split=by_row for rows without time")
    if type(split) is ByRow and table.manifest.names("group"):
        rows, leaders = leaders_of(table)
        return tuple(each.led(rows, leaders) for each in periods(split, np.unique(leaders), horizon, validation))
    values = distinct(table.column(part.id, names[0]) for part in table.manifest.parts)
    return periods(split, values, horizon, validation)


def findings(split: Split, spec: Spec) -> Iterator[Finding]:
    """What of a split cannot go with a dataset."""
    key = f"split={split.name}"
    if isinstance(split, Timed) and spec.horizon is None:
        yield Finding(key, "the dataset's rows have no time", "set split=by_group or split=by_row")
    elif not isinstance(split, Timed) and spec.horizon is not None:
        problem = "the dataset's rows have a time, and rows drawn at random would train on the future"
        yield Finding(key, problem, "set split=chronological")
    elif isinstance(split, Timed) and spec.horizon is not None and purge_of(split, spec.horizon) < spec.horizon:
        reach = format_duration(spec.horizon)
        problem = f"train rows would have labels that reach into the test rows, since a label reaches {reach} ahead"
        yield Finding(f"split.purge={split.purge}", problem, f"set split.purge=null or split.purge={reach}")


def purge_of(split: Split, horizon: timedelta | None) -> timedelta:
    """The purge: that of the split, else the horizon."""
    text = getattr(split, "purge", None)
    return (horizon or NONE) if text is None else parse_duration(text)


def _chronological(split: Chronological, times: Array, purge: timedelta, share: float) -> tuple[Window, ...]:
    cut = int(len(times) * split.train)
    if not 0 < cut < len(times):
        problem = f"of {len(times)} rows it leaves none to one side"
        raise refuse(f"split.train={split.train:g}", problem, "set another share")
    return _windows(split, times, [(np.arange(cut), np.arange(cut, len(times)))], purge, share)


def _dates(split: Dates, times: Array, purge: timedelta, share: float) -> tuple[Window, ...]:
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
    return _windows(split, times, [(np.flatnonzero(train), np.flatnonzero(test))], purge, share)


def _walk_forward(split: WalkForward, times: Array, purge: timedelta, share: float) -> tuple[Window, ...]:
    edges = _edges(split, len(times))
    folds = []
    for first, end in pairwise(edges):
        last = int(np.searchsorted(times, times[first] - np.timedelta64(purge), side="left"))
        begin = 0 if split.train_rows is None else max(0, last - split.train_rows)
        folds.append((np.arange(begin, last), np.arange(first, end)))
    return _windows(split, times, folds, purge, share, parse_duration(split.embargo))


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


def _rolling(split: Rolling, times: Array, purge: timedelta, share: float) -> tuple[Window, ...]:
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
    return _windows(split, times, folds, purge, share, parse_duration(split.embargo))


def _too_short(split: Rolling, reach: timedelta, longest: timedelta) -> Refused:
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


def _windows(
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
    """Those whose label ends before the time `first`."""
    return positions[times[positions] < first - np.timedelta64(purge)]


def _drawn(split: ByRow, names: Array, purge: timedelta, share: float) -> tuple[Window, ...]:
    """Sides of row numbers or groups in the order of a hash: it depends on seed and name alone."""
    keys = [hashlib.sha256(f"{split.seed}:{name}".encode()).digest() for name in names.tolist()]
    shuffled = [names[position].item() for position in sorted(range(len(names)), key=keys.__getitem__)]
    cut = int(len(shuffled) * split.train)
    held = int(cut * share)
    if cut <= held or cut == len(shuffled) or (share and not held):
        problem = f"of {len(shuffled)} {split.name.removeprefix('by_')}s it leaves none to one side"
        raise refuse(f"split.train={split.train:g} split.validation={share:g}", problem, "set other shares")
    sides = (shuffled[: cut - held], shuffled[cut - held : cut], shuffled[cut:])
    return (Window(BY[type(split)], *(tuple(sorted(side)) for side in sides)),)


Divide = Callable[[Any, Array, timedelta, float], tuple[Window, ...]]
SPLITS: dict[str, tuple[type[Section], Divide]] = {
    "chronological": (Chronological, _chronological),
    "dates": (Dates, _dates),
    "walk_forward": (WalkForward, _walk_forward),
    "rolling": (Rolling, _rolling),
    "by_row": (ByRow, _drawn),
    "by_group": (ByGroup, _drawn),
}
"""The keys of each split, and the function that makes its windows."""
BY: dict[type[Split], Literal["time", "row", "group"]] = {ByRow: "row", ByGroup: "group"}


def section(name: object) -> type[Section]:
    """The keys of the split `split.name`.

    Raises:
        Refused: there is none of that name.
    """
    if str(name) not in SPLITS:
        raise refuse(f"split.name={name}", "no such split", choose(str(name), list(SPLITS)))
    return SPLITS[str(name)][0]
