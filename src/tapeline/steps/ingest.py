"""Raw data from its source, checked: tapeline step ingest --out raw=raw.parquet"""

from __future__ import annotations

from pathlib import Path

from tapeline import files
from tapeline.config.schema import Config
from tapeline.lookup import dataset as kind
from tapeline.lookup import source
from tapeline.tables.table import write_frame


def seen(config: Config) -> str | None:
    """A digest of what `run` would read, or None where only reading tells."""
    return source(config.dataset).seen(config.dataset)


def run(config: Config, *, raw: Path) -> None:
    """Write the raw data: typed, sorted, unique."""
    module = kind(config.dataset)
    with files.scratch(raw.parent, "source") as folder:
        frame, where = source(config.dataset).read(config.dataset, module.simulate, folder)
        write_frame(module.ingest(config.dataset, frame, where), raw, {})
