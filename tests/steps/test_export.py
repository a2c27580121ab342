"""What the graph leaves in the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tapeline.datasets import indices
from tapeline.serving import saved_model as servable
from tapeline.tables import raw as raws
from tapeline.tables.table import open_table
from tests.conftest import Tapeline, artifact

SMALL = ["model=flat", "model.steps=40", "model.report_every=20", "gate.threshold=0", "gate.baseline_margin=null"]


def test_a_published_model_answers_closes(tapeline: Tapeline, folder: Path) -> None:
    assert tapeline("run", *SMALL)[0] == 0
    latest, version = folder / "runs" / "latest", folder / "store" / "indices-simulated" / "1"
    sample = open_table(latest / "sample.parquet")
    assert (sample.manifest.dataset, sample.manifest.rows) == ("indices", 64)
    raw = raws.read(artifact(latest, "raw", folder / ".tapeline" / "cache"))
    days = raw.filter(pl.col("snp").is_not_null())
    assert str(days["date"][-1]) == sample.manifest.parts[0].last, "the last row of the table is in the sample"
    closes = days.select(list(indices.CLOSES)).fill_null(strategy="forward").to_numpy()[-5:]
    closes[4, :3] = np.nan
    features = sample.read(["feature"])["feature"]
    answer = servable.load(version, "closes")(closes[None])
    np.testing.assert_array_equal(answer["probability"], servable.load(version)(features[-1:])["probability"])


def test_a_dataset_that_offers_nothing_else_has_predictors_only(
    tapeline: Tapeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(indices, "signatures")
    assert tapeline("run", *SMALL)[0] == 0
    made = folder / "runs" / "latest" / "servable"
    assert servable.read_metadata(made)["signatures"] == {}
    servable.verify(made)
