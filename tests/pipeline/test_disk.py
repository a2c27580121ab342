"""Disk space: how much a step needs is logged, and where less is free it is refused before it starts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tapeline import lookup
from tapeline.datasets.sources import fetch
from tapeline.steps import features, ingest, train
from tests.conftest import Ran, Tapeline

SMALL = ["model=flat", "model.steps=40", "model.report_every=20", "gate.threshold=0", "gate.baseline_margin=null"]


class Usage(NamedTuple):
    free: int


def test_a_step_that_needs_more_than_is_free_does_not_start(
    tapeline: Tapeline, folder: Path, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(*SMALL)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=1000))
    runs = set((folder / "runs").iterdir())
    assert tapeline("run", *SMALL)[0] == 0, "what is in the cache needs no space"
    (folder / "runs" / "latest").unlink()
    code, _, err = tapeline("run", *SMALL, "dataset.cutoff_year=2012")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "the step features needs about " in err
    assert "1 kB are free" in err
    assert "target.cache=" in err
    assert len(set((folder / "runs").glob("2*")) - runs) == 1, "the refused run leaves no folder"


def test_a_large_need_is_logged(tapeline: Tapeline, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "space", lambda *_, **__: 3_100_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=20_000_000_000))
    assert tapeline("step", "ingest", "--out", "raw=raw")[0] == 0
    code, out, _ = tapeline("step", "features", "--in", "raw=raw", "--out", "table=table")
    assert (code, "needs about 3.1 GB of disk space; 20 GB are free" in out) == (0, True)


def test_the_need_of_ingest_follows_from_its_files(folder: Path) -> None:
    (folder / "closes.csv").write_bytes(b"x" * 1000)
    (folder / "closes.csv.gz").write_bytes(b"x" * 1000)
    plain, packed = (
        ingest.space(lookup.configure(["dataset.source=csv", f"dataset.path={name}"]))  # type: ignore[arg-type]
        for name in ("closes.csv", "closes.csv.gz")
    )
    assert 1000 <= plain < packed
    assert fetch.size_of("https://example.com/closes.csv") == 0
    assert ingest.space(lookup.configure([])) == 0  # type: ignore[arg-type]


def test_training_search_and_scores_are_refused_where_too_little_is_free(
    tapeline: Tapeline, folder: Path, monkeypatch: pytest.MonkeyPatch, ran: Ran
) -> None:
    ran(*SMALL)
    tables = ["--in", f"table={made(folder, 'table')}"]
    fitted = ["--in", f"fitted={made(folder, 'fitted')}", "--in", f"servable={folder}/runs/latest/servable"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=1000))
    monkeypatch.setattr(train, "IN_MEMORY", 1000)
    for line in (
        ["train", *SMALL, *tables, "--out", "fitted=fitted"],
        ["tune", *SMALL, "tune=optuna", *tables, "--out", "best=best.json"],
        ["evaluate", *SMALL, *tables, *fitted, "--out", "scores=scores.json"],
    ):
        code, _, err = tapeline("step", *line)
        assert (code, f"the step {line[0]} needs about " in err, len(err.splitlines())) == (2, True, 1)


def made(folder: Path, artifact: str) -> Path:
    """An artifact in the cache."""
    return next((folder / ".tapeline").rglob(artifact))
