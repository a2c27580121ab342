r"""The report, one HTML file.

tapeline step report --in profile=... --in fitted=... --in scores=... --in predictions=... --in examples=... \
    --in metrics=... --out report=report.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tapeline import files
from tapeline.models import fitted as fits
from tapeline.report import page
from tapeline.tables import examples as kept
from tapeline.tables import predictions as forecasts


@dataclass(frozen=True)
class Reads:
    """What the step reads of the configuration: nothing."""


def run(
    config: Reads,
    *,
    profile: Path,
    fitted: Path,
    scores: Path,
    predictions: Path,
    examples: Path | None = None,
    metrics: Path,
    study: Path | None = None,
    report: Path,
) -> None:
    """Write one HTML file that needs no network."""
    html = page(
        files.read_json(metrics),
        files.read_json(scores),
        files.read_json(profile),
        fits.read(fitted),
        forecasts.read(predictions),
        None if study is None else files.read_json(study),
        kept.read(examples) if examples else None,
    )
    files.write_bytes(report, html.encode())
