"""Simulated data, made on this machine from `dataset.seed`: the real schema without network or account."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tapeline.config.schema import Dataset
from tapeline.datasets.sources import Known, Simulate
from tapeline.errors import Finding

if TYPE_CHECKING:
    import polars as pl

READS = ()


def read(dataset: Dataset, simulate: Simulate, folder: Path) -> tuple[pl.LazyFrame, str]:
    """The dataset's simulation with `dataset.seed`."""
    frame: pl.LazyFrame = simulate(dataset.seed, **dataset.simulation).lazy()
    return frame, f"simulated data, dataset.seed={dataset.seed}"


def check(dataset: Dataset) -> tuple[Finding, ...]:
    """No findings: the source needs no keys."""
    return ()


def seen(dataset: Dataset, known: Known | None = None) -> str | None:
    """A constant: the result depends on the configuration and our code only."""
    return ""
