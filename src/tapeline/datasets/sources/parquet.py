"""One Parquet file; its columns keep their types."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tapeline.config.schema import Dataset
from tapeline.datasets.sources.fetch import check, scanned, seen, size
from tapeline.errors import refuse

if TYPE_CHECKING:
    import polars as pl

__all__ = ["check", "read", "scan", "seen", "size"]

READS = ("path",)


def read(dataset: Dataset, simulate: object, folder: Path) -> tuple[pl.LazyFrame, str]:
    """The file at `dataset.path`."""
    return scanned(dataset, folder, scan)


def scan(path: Path, name: str) -> pl.LazyFrame:
    """The table as a LazyFrame, to be read in batches.

    Raises:
        Refused: the file has no valid footer.
    """
    import polars as pl

    try:
        frame = pl.scan_parquet(path, glob=False)
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError):
        raise refuse(name, "is not a complete Parquet file", "write or download it again") from None
    return frame
