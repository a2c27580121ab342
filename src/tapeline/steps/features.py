"""Features and target: tapeline step features --in raw=raw.parquet --out table=table.parquet"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tapeline.config.schema import Dataset
from tapeline.lookup import dataset as kind
from tapeline.tables.profile import Series, of_series, of_table
from tapeline.tables.table import Table, write


@dataclass(frozen=True)
class Reads:
    """What the step reads of the configuration."""

    dataset: Dataset


def run(config: Reads, *, raw: Path, table: Path) -> None:
    """Write the table that models learn from; it tells later steps whose it is, and what it is like."""
    import polars as pl

    frame = pl.read_parquet(raw)
    made = kind(config.dataset).table(config.dataset, frame)
    seen = _overview(config, frame, made)
    write(replace(made, about={**made.about, "dataset": config.dataset.name, "overview": seen}), table)


def _overview(config: Reads, raw: Any, table: Table) -> dict[str, Any]:
    """What the data is like, for reports: the dataset's series, where it offers some, and its table."""
    offer = getattr(kind(config.dataset), "series", None)
    shown: Series | None = offer(config.dataset, raw) if offer else None
    summary = of_table(table.time, table.names, table.features, table.target, table.about["task"])
    return {**({"series": of_series(shown)} if shown else {}), "table": summary}
