"""The rows that a server is asked about: of a date, drawn at random, or from a file.

Rows of a date or drawn at random are made by the dataset's own functions, as for training.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tapeline import files
from tapeline.config.schema import Config
from tapeline.errors import refuse
from tapeline.lookup import dataset as kind
from tapeline.lookup import source
from tapeline.serving import saved_model as servable
from tapeline.tables import splits, writing
from tapeline.tables.table import Table, open_table
from tapeline.tables.windows import rows_of

Array = np.ndarray[Any, Any]

NO_FEATURES = ("date", "time", "target")
"""Columns of a file of rows that are not sent."""


@dataclass(frozen=True)
class Rows:
    """What is asked about."""

    dates: list[str | None]
    names: tuple[str, ...]
    """Of the features."""
    features: Array
    """float32 [rows, features]; NaN where the dataset allows a missing one."""
    context: Mapping[str, Array] = field(default_factory=dict)
    """Context columns of the same rows, which are not sent; none of a file."""
    keys: Mapping[str, Array] = field(default_factory=dict)
    """What says which row of a file of raw data it is."""


def chosen_rows(config: Config, options: Mapping[str, str]) -> Rows:
    """The rows that date, rows or random name; without them that of the latest day.

    Raises:
        Refused: the options do not fit together, or there is no such row.
    """
    chosen = [key for key in ("date", "rows") if key in options] + (
        ["random"] if options.get("random") == "true" else []
    )
    if len(chosen) > 1:
        raise refuse(" and ".join(chosen), "name different rows", "give one of date, random and rows")
    module = kind(config.dataset)
    if chosen == ["rows"]:
        return read(Path(options["rows"]), missing=module.SPEC.missing_features)
    newest = getattr(module, "newest", module.table)
    with files.scratch(Path(config.target.cache), "predict") as folder:
        frame, origin = source(config.dataset).read(config.dataset, module.simulate, folder)
        header, parts = newest(config.dataset, module.ingest(config.dataset, frame, origin))
        writing.write(folder / "rows", header, parts)
        return _chosen(config, open_table(folder / "rows"), options, chosen, origin)


def _chosen(config: Config, table: Table, options: Mapping[str, str], chosen: list[str], origin: str) -> Rows:
    """One row of the table, or those of a date."""
    part = table.manifest.parts[0].id
    time = table.times(part)
    if chosen == ["random"]:
        window = splits.of_table(config.split, table, kind(config.dataset).SPEC.horizon)[-1]
        train = np.arange(len(time))[rows_of(window, table, "train")[part]]
        picked = np.random.default_rng(config.seed).choice(train, 1)
    elif chosen == ["date"]:
        picked = _dated(time, options["date"], origin)
    else:
        picked = np.array([len(time) - 1])
    context = table.manifest.names("context")
    arrays = table.read(("feature", *context), {part: picked})
    names, features = table.manifest.names("feature"), arrays.pop("feature").reshape(len(picked), -1)
    features = features.astype(np.float32)  # of an image, bytes
    return Rows([str(each) for each in time[picked]], names, features, arrays)


def _dated(time: Array, text: str, origin: str) -> Array:
    try:
        moment = np.datetime64(text)
    except ValueError:
        raise refuse(f"date={text}", "is no date", "write it as in date=2014-08-12") from None
    if np.isnat(moment):
        raise refuse(f"date={text}", "is no date", "write it as in date=2014-08-12")
    picked = np.flatnonzero(time.astype(moment.dtype) == moment)
    if not len(picked):
        first, last = time[0], time[-1]
        raise refuse(f"date={text}", f"{origin} has no row of it", f"give a day of trading from {first} to {last}")
    return picked


def read(path: Path, *, missing: bool = False) -> Rows:
    """A CSV file with a header: a column for each feature, and `date` if one likes.

    Args:
        path: the file.
        missing: whether a value may be empty.

    Raises:
        Refused: it is no such file, or holds what is no finite number.
    """
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise refuse(f"rows={path}", f"cannot be read ({what})", "give a CSV file in UTF-8") from None
    lines = [line for line in lines if line]
    if len(lines) < 2:
        raise refuse(f"rows={path}", "has no rows", "give a header and one row or more")
    header, *body = [[cell.strip() for cell in line] for line in lines]
    if any(_is_number(name) for name in header):
        raise refuse(f"rows={path}", "has no header", "name the features in the first line")
    if len(set(header)) < len(header):
        raise refuse(f"rows={path}", "names a column twice", "give each column a name of its own")
    names = tuple(name for name in header if name not in NO_FEATURES)
    day = next((header.index(name) for name in ("date", "time") if name in header), None)
    features = np.empty((len(body), len(names)), np.float32)
    for number, line in enumerate(body, 1):
        if len(line) != len(header):
            problem = f"has {len(line)} values, and the header {len(header)}"
            raise refuse(f"rows={path}, row {number}", problem, "complete it")
        values = dict(zip(header, line, strict=True))
        for column, name in enumerate(names):
            if missing and not values[name]:
                features[number - 1, column] = np.nan
                continue
            if not _is_number(values[name]) or not math.isfinite(float(values[name])):
                place = f"rows={path}, row {number}, column {name}"
                raise refuse(place, f"{values[name]!r} is no finite number", "correct it")
            features[number - 1, column] = float(values[name])
    return Rows([line[day] if day is not None else None for line in body], names, features)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def served_features(config: Config, number: int | None) -> tuple[str, ...] | None:
    """The served model's features in its order; None where its store is not on this machine."""
    store = Path(config.serving.store)
    if number is None:
        from tapeline.serving.store.versions import read

        version = read(store, config.serving.name).live() if "://" not in config.serving.store else None
        number = version.number if version else 0
    try:
        return tuple(servable.read_metadata(store / config.serving.name / str(number))["features"])
    except (OSError, ValueError, KeyError):
        return None


def in_order(rows: Rows, wanted: Sequence[str] | None) -> Array:
    """The features in the model's order."""
    if wanted is None or tuple(wanted) == rows.names:
        return rows.features
    missing = [name for name in wanted if name not in rows.names]
    strange = [name for name in rows.names if name not in wanted]
    if missing or strange:
        content = [f"lack {', '.join(missing)}"] if missing else []
        content += [f"have {', '.join(strange)}, which it does not know"] if strange else []
        raise refuse("the model's features", f"the rows {' and '.join(content)}", f"give these: {', '.join(wanted)}")
    return np.ascontiguousarray(rows.features[:, [rows.names.index(name) for name in wanted]])
