"""The small step behind: manifest.json from what the parts say of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tapeline import files
from tapeline.tables.parts import collect


@dataclass(frozen=True)
class Reads:
    pass


def run(config: Reads, *, parts: Path, table: Path) -> None:
    files.write_json(table / "manifest.json", {"parts": collect(parts, table)})
