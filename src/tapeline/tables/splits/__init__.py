"""Which rows train, validate and test. Each split is a module of this folder, found by its name.

    Section                               its keys, a subclass of base.Section or base.Timed
    ROLE                                  the role of the column that it splits by: time, row or group
    divide(split, values, purge, share)   its windows, from the distinct values of that column in ascending order,
                                          the purge and the share of validation rows

Rows of one time (several assets) stay together, so all counts and shares are of distinct times; where every row has
its own time, as in daily closes of one market, these are rows.

    tapeline run split=walk_forward split.windows=6 split.purge=1d
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Literal, Protocol, cast

import numpy as np

from tapeline import files
from tapeline.config.schema import Split
from tapeline.errors import Finding, choose, refuse
from tapeline.tables.spec import Array, Spec, format_duration, parse_duration
from tapeline.tables.splits.base import NONE, Section, Timed
from tapeline.tables.table import Table
from tapeline.tables.windows import Window, distinct, leaders_of


class SplitModule(Protocol):
    """The interface of a split's module."""

    Section: type[Split]
    ROLE: Literal["time", "row", "group"]

    def divide(self, split: Any, values: Array, purge: timedelta, share: float) -> tuple[Window, ...]:
        """The windows.

        Raises:
            Refused: a window would have no rows to train, to validate or to test.
        """


def modules() -> dict[str, SplitModule]:
    """All splits by name: the modules of this folder that have a ROLE."""
    found = {name: importlib.import_module(f"{__name__}.{name}") for name in files.modules(__name__)}
    return {name: cast(SplitModule, each) for name, each in found.items() if hasattr(each, "ROLE")}


def periods(split: Split, values: Array, horizon: timedelta | None, validation: float = 0.0) -> tuple[Window, ...]:
    """The windows of a split.

    Args:
        split: its keys.
        values: times, row numbers or groups of all rows, in any order, once or several times each.
        horizon: the duration from a row's time to the moment when its label is known; None where rows have no time.
        validation: the share that the model asks for, used where `split.validation` is null.

    Raises:
        Refused: a window would have no rows to train, to validate or to test.
    """
    found = distinct([values])
    if not len(found):
        raise refuse(f"split={split.name}", "there are no rows", "give data")
    own = cast(Section, split).validation
    share = validation if own is None else own
    return modules()[split.name].divide(split, found, purge_of(split, horizon), share)


def of_table(split: Split, table: Table, horizon: timedelta | None, validation: float = 0.0) -> tuple[Window, ...]:
    """The windows of a split of a table; rows of one group are drawn together.

    Raises:
        Refused: as `periods`, or the table has no column with the role of the split.
    """
    if not (names := table.manifest.names(role := modules()[split.name].ROLE)):
        problem = f"the table has no column with the role {role}"
        raise refuse(f"split={split.name}", problem, "choose another split, as split=by_row for rows without time")
    if role == "row" and table.manifest.names("group"):
        rows, leaders = leaders_of(table)
        return tuple(each.led(rows, leaders) for each in periods(split, np.unique(leaders), horizon, validation))
    values = distinct(table.column(part.id, names[0]) for part in table.manifest.parts)
    return periods(split, values, horizon, validation)


def findings(split: Split, spec: Spec) -> Iterator[Finding]:
    """Findings about a split that does not fit the dataset."""
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
    """The purge of the split, or else the horizon."""
    text = getattr(split, "purge", None)
    return (horizon or NONE) if text is None else parse_duration(text)


def section(name: object) -> type[Split]:
    """The keys of the split `split.name`.

    Raises:
        Refused: there is none of that name.
    """
    known = modules()
    if str(name) not in known:
        raise refuse(f"split.name={name}", "there is no such split", choose(str(name), list(known)))
    return known[str(name)].Section
