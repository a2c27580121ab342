"""Minute bars: the real ones, where they lie beside the checkout, and simulated ones."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import polars as pl
import pytest

from tapeline import lookup
from tapeline.datasets import gresearch
from tests.conftest import DATA

Array = np.ndarray[Any, Any]
BINANCE = DATA / "crypto_1m" / "gresearch_like_binance_train.csv.gz"


@functools.cache
def section(*overrides: str) -> Any:
    return lookup.configure(["dataset=gresearch", *overrides]).dataset


def arrays(part: pl.DataFrame) -> dict[str, Array]:
    """Bars of one asset as `columns.features` takes them."""
    prices = {name: part[name].to_numpy() for name in ("open", "high", "low", "close")}
    return {"seconds": part["time"].dt.epoch("s").to_numpy(), **prices}


@pytest.fixture(scope="session")
def binance() -> dict[str, pl.DataFrame]:
    """The raw parts of the file with real bars."""
    if not BINANCE.is_file():
        pytest.skip(f"the real data is not here ({BINANCE}); set TAPELINE_DATA")
    frame = pl.read_csv(BINANCE, infer_schema=False).lazy()
    return dict(gresearch.ingest(section(), frame, BINANCE.name))


@pytest.fixture(scope="session")
def simulated() -> pl.DataFrame:
    """Some days of all assets, as train.csv has them."""
    return gresearch.simulate(3, 30_000)


@pytest.fixture(scope="session")
def raw(simulated: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Its raw parts."""
    return dict(gresearch.ingest(section(), simulated.lazy(), "simulated"))
