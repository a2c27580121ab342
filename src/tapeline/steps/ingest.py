"""Raw data from its source, checked: tapeline step ingest --out raw=raw.parquet"""

from __future__ import annotations

from pathlib import Path

from tapeline.config.schema import Config
from tapeline.lookup import dataset as kind
from tapeline.lookup import source
from tapeline.tables.table import write_frame


def seen(config: Config) -> str | None:
    """A digest of what `run` would read, or None where only reading tells."""
    return source(config.dataset).seen(config.dataset)


def run(config: Config, *, raw: Path) -> None:
    """Write the raw data: typed, sorted, unique."""
    frame, where = source(config.dataset).read(config.dataset, kind(config.dataset).simulate)
    write_frame(kind(config.dataset).ingest(config.dataset, frame, where), raw, {})
