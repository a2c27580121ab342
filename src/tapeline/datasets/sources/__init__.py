"""Where raw data comes from: one module for each `dataset.source`.

    read(dataset)    a polars frame, and words for where it is from, as refusals name it
    seen(dataset)    a digest of what `read` would read, or None where only reading tells
    check(dataset)   findings: keys that it needs and that are not set

csv and parquet give the file's columns as they are (csv: all text); what they mean is the dataset's affair.
files and sql join one series for each market, typed and under the dataset's own names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, cast

from tapeline.config import Dataset, module
from tapeline.errors import Finding, choose, refuse

if TYPE_CHECKING:
    import polars as pl


class Source(Protocol):
    """What the module of a source offers."""

    def read(self, dataset: Dataset) -> tuple[pl.DataFrame, str]:
        """The data and its origin."""

    def seen(self, dataset: Dataset) -> str | None:
        """A digest of what would be read."""

    def check(self, dataset: Dataset) -> Iterable[Finding]:
        """What is missing or amiss in its keys."""


SOURCES = ("simulated", "csv", "parquet", "files", "sql")


def source(dataset: Dataset) -> Source:
    """The module of a dataset's source.

    Raises:
        Refused: there is none of that name.
    """
    if dataset.source not in SOURCES:
        fix = choose(dataset.source, SOURCES)
        raise refuse(f"dataset.source={dataset.source}", "unknown source", fix)
    return cast(Source, module("datasets.sources", dataset.source, "dataset.source"))
