"""Features and target: tapeline step features --in raw=raw.parquet --out table=table.parquet"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tapeline.config.schema import Config
from tapeline.lookup import dataset as kind
from tapeline.lookup import task
from tapeline.tables.profile import Series, of_series, of_table
from tapeline.tables.table import Table, write


def run(config: Config, *, raw: Path, table: Path) -> None:
    """Write the table that models learn from; it tells later steps whose it is, and what it is like."""
    import polars as pl

    frame = pl.read_parquet(raw)
    made = kind(config.dataset).table(config.dataset, frame)
    seen, spec = _overview(config, frame, made), kind(config.dataset).SPEC
    write(
        replace(made, about={**made.about, "task": spec.task, "dataset": config.dataset.name, "overview": seen}), table
    )


def _overview(config: Config, raw: Any, table: Table) -> dict[str, Any]:
    """What the data is like, for reports: the dataset's series, where it offers some, and its table."""
    offer = getattr(kind(config.dataset), "series", None)
    shown: Series | None = offer(config.dataset, raw) if offer else None
    spec = kind(config.dataset).SPEC
    target = task(spec.task).describe(table.time, table.target, spec.outputs)
    summary = of_table(table.time, table.names, table.features, target)
    return {**({"series": of_series(shown)} if shown else {}), "table": summary}
