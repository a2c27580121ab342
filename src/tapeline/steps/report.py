"""The report: tapeline step report --in table=... --in scores=... --in metrics=... --out report=report.html"""

from __future__ import annotations

from pathlib import Path

from tapeline import files
from tapeline.config.schema import Config
from tapeline.report import page
from tapeline.tables.table import about


def run(config: Config, *, table: Path, scores: Path, metrics: Path, report: Path) -> None:
    """Write one HTML file that needs no network."""
    html = page(files.read_json(metrics), files.read_json(scores), about(table))
    files.write_bytes(report, html.encode())
