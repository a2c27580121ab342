"""The report: tapeline step report --in table=... --in scores=... --in metrics=... --out report=report.html"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tapeline import files
from tapeline.report import page
from tapeline.tables.table import about


@dataclass(frozen=True)
class Reads:
    """What the step reads of the configuration."""


def run(config: Reads, *, table: Path, scores: Path, metrics: Path, report: Path) -> None:
    """Write one HTML file that needs no network."""
    html = page(files.read_json(metrics), files.read_json(scores), about(table))
    files.write_bytes(report, html.encode())
