"""One Parquet file; its types are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tapeline.config.schema import Dataset
from tapeline.datasets.sources.fetch import check, scanned, seen
from tapeline.errors import refuse

if TYPE_CHECKING:
    import polars as pl

__all__ = ["check", "read", "scan", "seen"]


def read(dataset: Dataset, simulate: object, folder: Path) -> tuple[pl.LazyFrame, str]:
    """The file at `dataset.path`."""
    return scanned(dataset, folder, scan)


def scan(path: Path, name: str) -> pl.LazyFrame:
    """The table, which is read later, in batches.

    Raises:
        Refused: its end, where a Parquet file says what is in it, is not there.
    """
    import polars as pl

    try:
        frame = pl.scan_parquet(path, glob=False)
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError):
        raise refuse(name, "is not a whole Parquet file", "write or fetch it again") from None
    return frame
