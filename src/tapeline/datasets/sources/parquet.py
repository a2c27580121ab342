"""One Parquet file; its types are kept."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from tapeline.config import Dataset
from tapeline.datasets.sources.location import fetch, seen
from tapeline.errors import refuse

if TYPE_CHECKING:
    import polars as pl

__all__ = ["read", "seen"]


def read(dataset: Dataset) -> tuple[pl.DataFrame, str]:
    """The whole file."""
    import polars as pl

    content, name = fetch(dataset)
    try:
        return pl.read_parquet(io.BytesIO(content)), name
    except (pl.exceptions.PolarsError, OSError):
        raise refuse(name, "is not a whole Parquet file", "write or fetch it again") from None
