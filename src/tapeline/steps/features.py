"""Features and target: tapeline step features --in raw=raw.parquet --out table=table.parquet"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tapeline.config import Config
from tapeline.datasets import kind, overview
from tapeline.datasets.table import write


def run(config: Config, *, raw: Path, table: Path) -> None:
    """Write the table that models learn from; it tells later steps whose it is, and what it is like."""
    import polars as pl

    frame = pl.read_parquet(raw)
    made = kind(config.dataset).table(config.dataset, frame)
    seen = overview(config.dataset, frame, made)
    write(replace(made, about={**made.about, "dataset": config.dataset.name, "overview": seen}), table)
