"""Where raw data comes from: one module for each `dataset.source`.

    read(dataset)    a polars frame, and words for where it is from, as refusals name it
    seen(dataset)    a digest of what `read` would read, or None where only reading tells

csv and parquet give the file's columns as they are (csv: all text); what they mean is the dataset's affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from tapeline.config import Dataset, module

if TYPE_CHECKING:
    import polars as pl


class Source(Protocol):
    """What the module of a source offers."""

    def read(self, dataset: Dataset) -> tuple[pl.DataFrame, str]:
        """The data and its origin."""

    def seen(self, dataset: Dataset) -> str | None:
        """A digest of what would be read."""


def source(dataset: Dataset) -> Source:
    """The module of a dataset's source."""
    return cast(Source, module("datasets.sources", dataset.source, "dataset.source"))
