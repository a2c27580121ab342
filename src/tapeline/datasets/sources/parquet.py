"""One Parquet file; its types are kept."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from tapeline.config.schema import Dataset
from tapeline.datasets.sources.fetch import check, fetch, seen
from tapeline.errors import refuse

if TYPE_CHECKING:
    import polars as pl

__all__ = ["check", "parse", "read", "seen"]


def read(dataset: Dataset, simulate: object = None) -> tuple[pl.DataFrame, str]:
    """The file at `dataset.path`."""
    content, name = fetch(dataset)
    return parse(content, name), name


def parse(content: bytes, name: str) -> pl.DataFrame:
    """The whole table."""
    import polars as pl

    try:
        return pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, OSError):
        raise refuse(name, "is not a whole Parquet file", "write or fetch it again") from None
