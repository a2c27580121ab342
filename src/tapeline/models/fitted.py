"""What training leaves: a folder with fitted.json and a folder for each window of the split."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.models import Point


@dataclass(frozen=True)
class Fitted:
    """All that is to be known about a trained model, for steps that see nothing else."""

    family: str
    task: str
    section: dict[str, Any]
    """The model's keys."""
    hw: str
    seed: int
    threads: int
    device: str
    tensorflow: str | None
    """That trained it; None where none did."""
    traces: list[list[Point]]
    """Of each window."""
    validation: int
    """Rows of the last window's train rows that the family kept from training."""
    last_label: str
    """Time of the last row that trained the last window."""


def window(folder: Path, number: int) -> Path:
    """The folder of one window's model, counted from 0."""
    return folder / f"window_{number}"


def write(fitted: Fitted, folder: Path) -> None:
    """Write fitted.json."""
    files.write_json(folder / "fitted.json", asdict(fitted))


def read(folder: Path) -> Fitted:
    """Read fitted.json."""
    told = files.read_json(folder / "fitted.json")
    return Fitted(**{**told, "traces": [[Point(**point) for point in trace] for trace in told["traces"]]})
