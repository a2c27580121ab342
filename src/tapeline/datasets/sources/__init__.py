"""Where raw data comes from: one module for each `dataset.source`.

    read(dataset, simulate, folder)   a polars LazyFrame, and the name of its origin in refusals
    seen(dataset)                     a digest of what `read` would read, or None where only reading shows it
    check(dataset)                    findings: keys that it needs and that are not set

csv and parquet give the file's columns as they are (csv: all text), to be read in batches: `parsing.scan`.
files and sql join one series for each market, typed and under the dataset's own names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tapeline.config.schema import Dataset
from tapeline.errors import Finding

if TYPE_CHECKING:
    import polars as pl


Simulate = Callable[[int], Any]
"""A dataset's own simulation: seed to raw data, a polars frame."""


class Source(Protocol):
    """What the module of a source offers."""

    def read(self, dataset: Dataset, simulate: Simulate, folder: Path) -> tuple[pl.LazyFrame, str]:
        """The data and its origin; `folder` holds temporary files, as long as the data is used."""

    def seen(self, dataset: Dataset) -> str | None:
        """A digest of what would be read."""

    def check(self, dataset: Dataset) -> Iterable[Finding]:
        """What is missing or amiss in its keys."""


SOURCES = ("simulated", "csv", "parquet", "files", "sql")
