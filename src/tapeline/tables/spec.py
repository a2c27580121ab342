"""What a dataset declares, what a table's manifest.json says, and durations such as 16m."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import timedelta
from typing import Any, Literal, get_args

import numpy as np

from tapeline import files
from tapeline.errors import Finding

Array = np.ndarray[Any, Any]
Rows = slice | Array
"""Rows of a part: a slice, or row numbers in ascending order."""
Role = Literal["time", "row", "group", "partition", "feature", "target", "weight", "context"]
ROLES: tuple[Role, ...] = get_args(Role)
SCHEMA = 1
MANIFEST = "manifest.json"
ID = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""Of a part: safe as a file name, a URL segment and a Kubernetes parameter."""
UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
"""Seconds of each unit of a duration."""


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    role: Role
    dtype: str
    """NumPy's name, as in float32, uint8, datetime64[us]; `str` for text."""
    shape: tuple[int, ...] = ()
    """Of one row's value; () is one number. A value with a shape is stored as bytes, little-endian, in C order."""


@dataclass(frozen=True)
class Spec:
    """What a dataset declares, so that families and splits can refuse what cannot work before anything starts."""

    task: str
    outputs: tuple[str, ...]
    """Names of the targets."""
    feature_shape: tuple[int, ...] | None = None
    """Of one row's features; None: each feature is a column with one number a row."""
    missing_labels: bool = False
    missing_features: bool = False
    partition: str | None = None
    """What each part holds, as in `asset`; None: the table has one part."""
    horizon: timedelta | None = None
    """How far behind a row's time its label reaches; None: rows have no time."""
    categorical: tuple[str, ...] = ()
    """Features whose values are numbers of categories, for families that know such."""
    by: tuple[str, ...] = ()
    """Of which rows the scores are listed, too: those of each partition, under its name, and of each `month`."""


@dataclass(frozen=True)
class InputSpec:
    """One named input of a signature."""

    name: str
    shape: tuple[int, ...]
    """Of one row of a batch."""
    dtype: str
    """NumPy's name, or "str" for bytes of any length (TensorFlow's string)."""
    example: Any = 1
    """A value of one row, or a number for all its values; the warm-up request repeats it."""


@dataclass(frozen=True)
class SignatureSpec:
    """A signature beside `predictors`: named inputs, and the way from them to features, with TensorFlow only."""

    name: str
    inputs: tuple[InputSpec, ...]
    features: Callable[[Mapping[str, Any]], Any]
    """Tensors [rows, *shape] by input to float32 [rows, features]."""
    answered: Callable[[Mapping[str, Any]], Any] | None = None
    """The same tensors to bool [rows]: which rows get an answer. None: those whose features are all finite."""
    outputs: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]] | None = None
    """Inputs and the model's outputs to further outputs, such as a price from a return; None: there are none."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What a client has to know beside: the order of columns, say."""


@dataclass(frozen=True)
class Part:
    """A Parquet file of a table."""

    id: str
    file: str
    rows: int
    first: str | int | None
    """Time of the first row in ISO format, or its row number; None where there are no rows."""
    last: str | int | None
    digest: str
    """Of canonical values: `tables.digest`."""


@dataclass(frozen=True)
class Manifest:
    """What a table says of itself. Without parts and digest it is the header that `write` takes."""

    task: str
    dataset: str
    columns: tuple[Column, ...]
    outputs: tuple[str, ...]
    feature_shape: tuple[int, ...] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """JSON values that the dataset adds."""
    digest: str = ""
    """Of columns and parts; of the whole table also in its sample."""
    parts: tuple[Part, ...] = ()
    """In the order of their ids."""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            raise ValueError(f"a column's name occurs twice: {names}")
        for column in self.columns:
            alone = column.name not in ROLES or self.names(column.role) == (column.role,)
            if (
                column.role not in ROLES
                or not alone
                or (column.role in ("feature", "target") and column.dtype == "str")
            ):
                raise ValueError(f"column {column.name} of {column.dtype} cannot have the role {column.role} here")
        features = [column.shape for column in self.columns if column.role == "feature"]
        if features != [self.feature_shape] and (self.feature_shape is not None or any(features)):
            raise ValueError(f"feature_shape {self.feature_shape} does not fit the features' shapes {features}")
        if len(self.outputs) != len(self.names("target")):
            raise ValueError(f"outputs {self.outputs} do not name the targets {self.names('target')}")

    def names(self, role: Role) -> tuple[str, ...]:
        """Names of the columns with this role, in their order."""
        return tuple(column.name for column in self.columns if column.role == role)

    @property
    def rows(self) -> int:
        """Of all parts."""
        return sum(part.rows for part in self.parts)

    @property
    def axis(self) -> str | None:
        """The column that orders the rows: the time, else the row number; None where there is neither."""
        return next(iter((*self.names("time"), *self.names("row"))), None)


def categorical(spec: Spec, manifest: Manifest) -> tuple[int, ...]:
    """Positions of the features of a table that are categories."""
    return tuple(at for at, name in enumerate(manifest.names("feature")) if name in spec.categorical)


def header_of(spec: Spec, dataset: str, columns: Iterable[Column], extra: Mapping[str, Any]) -> Manifest:
    """The header of a table that a dataset with this spec makes."""
    return Manifest(spec.task, dataset, tuple(columns), spec.outputs, spec.feature_shape, extra)


def complete(header: Manifest, parts: Iterable[Part]) -> Manifest:
    """The manifest of a table: its header with the parts, in the order of their ids, and the digest of all.

    Raises:
        ValueError: an id is not allowed, or occurs twice.
    """
    ordered = tuple(sorted(parts, key=lambda part: part.id))
    if problems := list(wrong_ids(part.id for part in ordered)):
        raise ValueError("\n".join(map(str, problems)))
    columns = [asdict(column) for column in header.columns]
    digest = files.digest(header.task, columns, [[part.id, part.rows, part.digest] for part in ordered])
    return replace(header, parts=ordered, digest=digest)


def wrong_ids(ids: Iterable[str]) -> Iterator[Finding]:
    """Findings about ids of parts: each matches `ID`, and no two are equal without regard to case."""
    seen: dict[str, str] = {}
    for text in ids:
        if not ID.fullmatch(text):
            rule = "use 1 to 40 letters, digits, _ and -, as in BTC_USD"
            yield Finding(f"partition {text!r}", "cannot be a file's name", rule)
        elif text.lower() in seen:
            other = seen[text.lower()]
            problem = "occurs twice" if other == text else f"differs from {other!r} only by case"
            yield Finding(f"partition {text!r}", problem, "give each partition its own name")
        seen.setdefault(text.lower(), text)


def to_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as JSON values."""
    return asdict(manifest)


def from_json(values: Mapping[str, Any]) -> Manifest:
    """The manifest that `to_json` wrote.

    Raises:
        ValueError: it is of another schema.
    """
    if values.get("schema") != SCHEMA:
        raise ValueError(f"a manifest of schema {values.get('schema')}, not {SCHEMA}")
    shape = values["feature_shape"]
    known = {name.name for name in fields(Manifest)}
    return Manifest(
        **{
            **{key: value for key, value in values.items() if key in known},
            "columns": tuple(Column(**{**each, "shape": tuple(each["shape"])}) for each in values["columns"]),
            "outputs": tuple(values["outputs"]),
            "feature_shape": None if shape is None else tuple(shape),
            "parts": tuple(Part(**each) for each in values["parts"]),
        }
    )


def parse_duration(text: str) -> timedelta:
    """A duration such as 30s, 16m, 1h, 3d or 40w.

    Raises:
        ValueError: it is none; the message says what to write.
    """
    if found := re.fullmatch(r"([0-9]{1,9})([wdhms])", text):
        try:
            return timedelta(seconds=int(found[1]) * UNITS[found[2]])
        except OverflowError:
            raise ValueError("must be a shorter duration, as in 40w") from None
    if re.fullmatch(r"[0-9]+", text):
        raise ValueError(f"must be a duration with a unit: {text}d for days, {text}h, {text}m for minutes, {text}s")
    raise ValueError("must be a duration: a whole number and a unit of w, d, h, m, s, as in 16m or 3d")


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads as this duration of whole seconds."""
    seconds = round(duration.total_seconds())
    unit = next((unit for unit, length in UNITS.items() if seconds and seconds % length == 0), "d")
    return f"{seconds // UNITS[unit]}{unit}"


def format_time(value: np.datetime64 | np.integer[Any]) -> str | int:
    """A time in ISO format without trailing zeros of a fraction, or a row number, as JSON holds it."""
    if isinstance(value, np.integer):
        return int(value)
    text = str(value)
    return text.rstrip("0").rstrip(".") if "." in text else text
