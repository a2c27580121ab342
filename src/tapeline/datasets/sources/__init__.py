"""Sources of raw data: one module for each `dataset.source`, found by its name. Modules without READS are helpers.

    READS                             keys of dataset that it alone, or with other sources, reads: ("path",)
    read(dataset, simulate, folder)   a polars LazyFrame, and the name of the source for error messages
    seen(dataset, known)              a digest of the data that `read` would read; None if that needs reading it
    check(dataset)                    findings about keys that it needs and that are not set
    size(dataset)                     optional: bytes of the data, decompressed, about

csv, kaggle and parquet return the columns of the file (parquet: with types, else all text), which `parsing.scan`
reads in batches.
files and sql return one column for each market, joined by date, with types and the dataset's names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tapeline.config.schema import Dataset
from tapeline.errors import Finding

if TYPE_CHECKING:
    import polars as pl


Known = MutableMapping[str, str]
"""Digests of objects in object storages, by URL and ETag."""
Simulate = Callable[..., Any]
"""The `simulate` of a dataset: a seed, and `dataset.simulation` by name, to raw data, a polars frame."""


class Source(Protocol):
    """The interface of a source's module."""

    READS: tuple[str, ...]
    """Keys of dataset that this source reads and that not every source reads; `configure` refuses them with others."""

    def read(self, dataset: Dataset, simulate: Simulate, folder: Path) -> tuple[pl.LazyFrame, str]:
        """The data, and its name for error messages.

        Args:
            dataset: its keys say what to read.
            simulate: the dataset's simulation.
            folder: takes temporary files; it must exist while the data is used.
        """

    def seen(self, dataset: Dataset, known: Known | None = None) -> str | None:
        """A digest of the data; None if only reading the data shows whether it changed.

        Args:
            dataset: its keys say what to read.
            known: digests of objects in object storages, by URL and ETag; new ones are added.
        """

    def check(self, dataset: Dataset) -> Iterable[Finding]:
        """Findings about its keys."""
