"""What training leaves: a folder with fitted.json and a folder for each window of the split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.models import Point
from tapeline.tables import windows as periods
from tapeline.tables.windows import Window

SCHEMA = 2
FILE = "fitted.json"


@dataclass(frozen=True)
class Fitted:
    """All that is to be known about a trained model, for steps that see nothing else."""

    dataset: str
    task: str
    family: str
    section: dict[str, Any]
    """The model's keys as they were really used."""
    origin: dict[str, str]
    """Where each of them came from: configuration, or tune."""
    hw: str
    seed: int
    threads: int
    device: str
    tensorflow: str | None
    """That trained it; None where none did."""
    windows: tuple[Window, ...]
    """Which times, rows or groups trained, validated and test each window's model."""
    rows: list[dict[str, int]]
    """How many rows these are, by side, of each window."""
    traces: list[list[Point]]
    """Of each window."""
    last_label: str | int | None
    """Time of the last row that trained the last window; None where rows have no time."""
    workers: int = 1
    """Processes that trained each model together."""


def window(folder: Path, number: int) -> Path:
    """The folder of one window's model, counted from 0."""
    return folder / f"window_{number}"


def write(fitted: Fitted, folder: Path) -> None:
    """Write fitted.json."""
    traces = [[point.record() for point in trace] for trace in fitted.traces]
    values = {**asdict(fitted), "windows": [each.record() for each in fitted.windows], "traces": traces}
    files.write_json(folder / FILE, {"schema": SCHEMA, **values})


def read(path: Path) -> Fitted:
    """Read fitted.json, or that of a folder."""
    return of(files.read_json(path / FILE if path.is_dir() else path))


def of(record: Mapping[str, Any]) -> Fitted:
    """The content of a fitted.json."""
    values = {name: value for name, value in record.items() if name != "schema"}
    windows = tuple(periods.read(each) for each in values["windows"])
    traces = [[Point(**point) for point in trace] for trace in values["traces"]]
    return Fitted(**{**values, "windows": windows, "traces": traces})


def split_record(fitted: Fitted) -> dict[str, Any]:
    """Which times trained, validated and test each window, and how many rows, for metrics.json.

    Drawn rows or groups are too many to list there; a digest stands for them, and fitted.json has them.
    """
    windows = []
    for window, rows in zip(fitted.windows, fitted.rows, strict=True):
        record = window.record()
        sides: dict[str, Any] = {
            side: record[side] if window.by == "time" else files.digest(record[side]) for side in periods.SIDES
        }
        windows.append({**sides, "rows": rows})
    return {"by": fitted.windows[0].by, "windows": windows}
