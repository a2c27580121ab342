"""Training whose rows go through a file, beside the same in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapeline import lookup
from tapeline.datasets import gresearch
from tapeline.models import fitted as fits
from tapeline.pipeline.execution import view
from tapeline.steps import train
from tapeline.tables import writing
from tests.datasets.gresearch.conftest import section

KEYS = ["experiment=gresearch_sample", "split.train=1d", "split.test=8h", "hw.threads=1", "model.steps=5"]


@pytest.mark.parametrize("weights", ["none", "asset"])
def test_a_model_is_the_same_through_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str) -> None:
    keys = section("dataset.rows=30000", f"dataset.weights={weights}")
    raw = gresearch.ingest(keys, gresearch.simulate(0, 30_000).lazy(), "simulated")
    writing.write(tmp_path / "table", *gresearch.table(keys, {name: part.lazy() for name, part in raw}))
    reads = view(lookup.configure(KEYS), train.Reads)
    assert train.space(reads, table=tmp_path / "table") == 0
    train.run(reads, table=tmp_path / "table", fitted=tmp_path / "memory")
    monkeypatch.setattr(train, "IN_MEMORY", 1000)
    assert train.space(reads, table=tmp_path / "table") == 30_000 * 24 * 4
    train.run(reads, table=tmp_path / "table", fitted=tmp_path / "file")
    texts = [(fits.window(tmp_path / name, 0) / "model.txt").read_bytes() for name in ("memory", "file")]
    assert texts[0] == texts[1]
    assert sorted(path.name for path in tmp_path.glob("file/*")) == ["fitted.json", "window_0"]
    traces = [fits.read(tmp_path / name).traces[0][-1].score for name in ("memory", "file")]
    assert traces[0] == pytest.approx(traces[1])
    assert np.isfinite(traces[0])
