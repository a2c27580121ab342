"""Features and target: tapeline step features --in raw=raw.parquet --out table=table.parquet"""

from __future__ import annotations

from pathlib import Path

from tapeline.config import Config
from tapeline.datasets import kind
from tapeline.datasets.table import write


def run(config: Config, *, raw: Path, table: Path) -> None:
    """Write the table that models learn from."""
    import polars as pl

    write(kind(config.dataset).table(config.dataset, pl.read_parquet(raw)), table)
