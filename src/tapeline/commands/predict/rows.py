"""The rows that a server is asked about: of a date, drawn at random, or from a file.

Rows of a date or drawn at random are made by the dataset's own functions, as for training. A file has the features
themselves, or what a signature of the model takes instead, as the last closes.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tapeline import files
from tapeline.config.schema import Config
from tapeline.errors import Finding, Refused, refuse
from tapeline.lookup import dataset as kind
from tapeline.lookup import signatures, source, spec
from tapeline.pipeline import cache
from tapeline.serving.signatures import DEFAULT, PREDICTORS
from tapeline.tables import splits, writing
from tapeline.tables.spec import Manifest, format_time
from tapeline.tables.table import Table, open_table
from tapeline.tables.windows import distinct, rows_of

Array = np.ndarray[Any, Any]

NO_FEATURES = ("date", "time", "target")
"""Columns of a file of rows that are not sent."""
MOST = 20
"""Findings about a file's cells that are listed."""


@dataclass(frozen=True)
class Rows:
    """What is asked about."""

    dates: list[str | None]
    names: tuple[str, ...]
    """Of the features, or of the columns of the signature's input."""
    features: Array
    """float32 [rows, features], NaN where the dataset allows a missing one; or what the signature takes."""
    context: Mapping[str, Array] = field(default_factory=dict)
    """Context columns of the same rows, which are not sent; none of a file."""
    keys: Mapping[str, Array] = field(default_factory=dict)
    """What says which row of a file of raw data, or of which part, it is."""
    signature: str = DEFAULT
    input: str = PREDICTORS
    """Of the signature."""


@dataclass(frozen=True)
class Raw:
    """A signature with one input of raw data: consecutive rows of some columns, for each answer."""

    signature: str
    input: str
    rows: int
    columns: tuple[str, ...]
    dtype: str


@dataclass(frozen=True)
class Served:
    """What a model takes."""

    features: tuple[str, ...] | None
    """In its order; None where they are not known."""
    raw: tuple[Raw, ...] = ()


def of_signatures(described: Mapping[str, Any]) -> Iterator[Raw]:
    """The signatures of a servable's metadata whose one input has rows of named columns."""
    for name, about in described.items():
        inputs, columns = about.get("inputs", {}), tuple(about.get("columns", ()))
        if len(inputs) == 1 and columns:
            ((key, one),) = inputs.items()
            if len(one["shape"]) == 2 and one["shape"][1] == len(columns):
                yield Raw(name, key, one["shape"][0], columns, one["dtype"])


def of_dataset(name: str) -> tuple[Raw, ...]:
    """The same of a dataset, for servers whose store is not on this machine."""
    described = {
        each.name: {"inputs": {one.name: {"shape": one.shape, "dtype": one.dtype} for one in each.inputs}, **each.about}
        for each in signatures(Manifest(spec(name).task, name, (), ()))
    }
    return tuple(of_signatures(described))


def chosen_rows(config: Config, options: Mapping[str, str], model: Served) -> Rows:
    """The rows that date, rows or random name; without them that of the latest day.

    Args:
        config: says which data, and where from.
        options: of the command.
        model: that is asked.

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
        return from_file(Path(options["rows"]), model, missing=module.SPEC.missing_features)
    newest = getattr(module, "newest", module.table)
    with files.scratch(cache.local_folder(config.target.cache), "predict") as folder:
        frame, origin = source(config.dataset).read(config.dataset, module.simulate, folder)
        raw: Any = module.ingest(config.dataset, frame, origin)
        if module.SPEC.partition:
            raw = {name: part.lazy() for name, part in raw}
        header, parts = newest(config.dataset, raw)
        writing.write(folder / "rows", header, parts)
        found = _chosen(config, open_table(folder / "rows"), options, chosen, origin)
        return in_order(found, model.features)


def _chosen(config: Config, table: Table, options: Mapping[str, str], chosen: list[str], origin: str) -> Rows:
    """One row of the table, or those of a date; of a partitioned table, the last rows of all parts."""
    if partition := kind(config.dataset).SPEC.partition:
        return _of_parts(partition, table, options, chosen, origin)
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


def _of_parts(partition: str, table: Table, options: Mapping[str, str], chosen: list[str], origin: str) -> Rows:
    """The rows of every part at the last time, or at that of `date`."""
    if chosen == ["random"]:
        raise refuse(
            "random=true", f"is not for rows by {partition}", f"give date=, as in date={table.manifest.parts[0].last}"
        )
    times = {part.id: table.times(part.id) for part in table.manifest.parts}
    if chosen == ["date"]:
        every = distinct(times.values())
        moment = every[_dated(every, options["date"], origin)][-1]
    else:
        moment = max(each[-1] for each in times.values() if len(each))
    picked = {name: np.flatnonzero(each == moment) for name, each in times.items()}
    features = table.read(("feature",), picked)["feature"]
    names = table.manifest.extra.get("partitions", {})
    held = [names.get(name, name) for name, rows in picked.items() for _ in rows]
    keys = {partition: np.array(held, dtype=object)}
    return Rows([str(format_time(moment))] * len(features), table.manifest.names("feature"), features, keys=keys)


def _dated(time: Array, text: str, origin: str) -> Array:
    try:
        moment = np.datetime64(text)
    except ValueError:
        moment = np.datetime64("NaT")
    if np.isnat(moment):
        raise refuse(f"date={text}", "is not a date", "write it as in date=2014-08-12")
    picked = np.flatnonzero(time.astype(moment.dtype) == moment)
    if not len(picked):
        first, last = time[0], time[-1]
        raise refuse(f"date={text}", f"{origin} has no row of it", f"give a day of trading from {first} to {last}")
    return picked


@dataclass(frozen=True)
class _File:
    """A CSV file of cells."""

    path: Path
    header: list[str]
    lines: list[list[str]]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns that hold values."""
        return tuple(name for name in self.header if name not in NO_FEATURES)

    @property
    def dates(self) -> list[str | None]:
        """Of each row; None where the file has no such column."""
        day = next((self.header.index(name) for name in ("date", "time") if name in self.header), None)
        return [line[day] if day is not None else None for line in self.lines]


def from_file(path: Path, model: Served, *, missing: bool = False) -> Rows:
    """The rows of a CSV file with a header: features by name, or raw data by the columns of a signature; and `date`.

    Args:
        path: the file.
        model: that is asked.
        missing: whether a feature may be empty.

    Raises:
        Refused: it is not such a file, or holds what is not a finite number: each cell that is wrong, at once.
    """
    file, wanted = _read(path), model.features
    for each in model.raw:
        columns = _columns_of(file, each)
        if columns is not None and not set(wanted or ()) <= set(file.names):
            return _windows(file, each, columns)
    if wanted is not None and not set(wanted) & set(file.names):
        choices = [f"a column for each feature ({', '.join(wanted)})"]
        choices += [f"or date and {', '.join(each.columns)}" for each in model.raw]
        raise refuse(f"rows={path}", "has none of the columns that the model takes", f"give {' '.join(choices)}")
    values = _numbers(file, list(file.names), missing=missing).astype(np.float32)
    return in_order(Rows(file.dates, file.names, values), wanted)


def _read(path: Path) -> _File:
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
        raise refuse(f"rows={path}", "has no header", "name the columns in the first line")
    if len(set(header)) < len(header):
        raise refuse(f"rows={path}", "names a column twice", "give each column a name of its own")
    uneven = [
        Finding(f"rows={path}, row {number}", f"has {len(line)} values, and the header {len(header)}", "complete it")
        for number, line in enumerate(body, 1)
        if len(line) != len(header)
    ]
    if uneven:
        raise Refused(*uneven[:MOST])
    return _File(path, header, body)


def _columns_of(file: _File, taken: Raw) -> list[str] | None:
    """The file's columns in the order of the input's, named as there or with _close behind; None if one is missing."""
    known = {name.lower(): name for name in file.names}
    wanted = [name.lower() for name in taken.columns]
    found = [known.get(name) or known.get(f"{name}_close") for name in wanted]
    return [name for name in found if name] if all(found) else None


def _windows(file: _File, taken: Raw, columns: list[str]) -> Rows:
    """Consecutive rows of the file, as many as the input takes, for each row that has enough before it."""
    length, dates = taken.rows, file.dates
    if len(file.lines) < length:
        fix = f"give the row that you ask about and the {length - 1} before it"
        raise refuse(f"rows={file.path}", f"has {len(file.lines)} rows, and an answer needs {length}", fix)
    for before, after in pairwise(dates):
        if before is not None and after is not None and before >= after:
            fix = "sort the rows by date, the oldest first, with dates as in 2015-10-01"
            raise refuse(f"rows={file.path}", f"{after} stands below {before}", fix)
    values = _numbers(file, columns, missing=True)
    known = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values))[:, None], 0), axis=0)
    # 0 is not a price, so it stands for a missing one
    filled = np.nan_to_num(np.take_along_axis(values, known, axis=0))
    windows = np.stack([filled[end - length : end] for end in range(length, len(filled) + 1)])
    found = windows.astype(taken.dtype)
    return Rows(dates[length - 1 :], tuple(columns), found, signature=taken.signature, input=taken.input)


def _numbers(file: _File, columns: Sequence[str], *, missing: bool) -> Array:
    """Cells of some columns, float64 [rows, columns]; NaN for an empty one, where it may be `missing`."""
    values = np.full((len(file.lines), len(columns)), np.nan)
    findings = []
    for number, line in enumerate(file.lines, 1):
        cells = dict(zip(file.header, line, strict=True))
        for column, name in enumerate(columns):
            if missing and not cells[name]:
                continue
            if not _is_number(cells[name]) or not math.isfinite(float(cells[name])):
                place = f"rows={file.path}, row {number}, column {name}"
                findings.append(Finding(place, f"{cells[name]!r} is not a finite number", "correct it"))
                continue
            values[number - 1, column] = float(cells[name])
    if findings:
        more = [Finding(f"rows={file.path}", f"has {len(findings) - MOST} more such cells", "correct them, too")]
        raise Refused(*findings[:MOST], *(more if len(findings) > MOST else ()))
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def in_order(rows: Rows, wanted: Sequence[str] | None) -> Rows:
    """The features in the model's order."""
    if wanted is None or tuple(wanted) == rows.names or rows.signature != DEFAULT:
        return rows
    missing = [name for name in wanted if name not in rows.names]
    strange = [name for name in rows.names if name not in wanted]
    if missing or strange:
        content = [f"lack {', '.join(missing)}"] if missing else []
        content += [f"have {', '.join(strange)}, which it does not know"] if strange else []
        raise refuse("the model's features", f"the rows {' and '.join(content)}", f"give these: {', '.join(wanted)}")
    order = [rows.names.index(name) for name in wanted]
    return replace(rows, names=tuple(wanted), features=np.ascontiguousarray(rows.features[:, order]))
