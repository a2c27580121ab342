"""What the graph leaves in the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tapeline.datasets import indices
from tapeline.serving import saved_model as servable
from tapeline.tables.table import read
from tests.conftest import Tapeline

SMALL = ["model=flat", "model.steps=40", "model.report_every=20", "gate.threshold=0", "gate.baseline_margin=null"]


def test_a_published_model_answers_closes(tapeline: Tapeline, folder: Path) -> None:
    assert tapeline("run", *SMALL)[0] == 0
    latest, version = folder / "runs" / "latest", folder / "store" / "indices-simulated" / "1"
    table = read(latest / "table.parquet")
    assert table.about["dataset"] == "indices"
    days = pl.read_parquet(latest / "raw.parquet").filter(pl.col("snp").is_not_null())
    closes = days.select(list(indices.CLOSES)).fill_null(strategy="forward").to_numpy()[-5:]
    closes[4, :3] = np.nan
    answer = servable.load(version, "closes")(closes[None])
    np.testing.assert_array_equal(answer["probability"], servable.load(version)(table.features[-1:])["probability"])


def test_a_dataset_that_offers_nothing_else_has_predictors_only(
    tapeline: Tapeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(indices, "served")
    assert tapeline("run", *SMALL)[0] == 0
    made = folder / "runs" / "latest" / "servable"
    assert servable.about(made)["signatures"] == {}
    servable.verify(made)
