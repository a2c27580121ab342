"""A sweep on Argo against the stand-in of kubectl: its pods run in this process."""

from __future__ import annotations

import csv
import json
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tapeline.clusters import kubectl
from tapeline.clusters.argo import submit, sweep_run
from tapeline.commands.sweep import on_cluster
from tests.clusters.submit.stand_in import Cluster
from tests.clusters.sweep.argo import Argo
from tests.conftest import Tapeline

LINE = ("model=flat,deep", "seed=0,1", "model.steps=2", "model.report_every=1", "gate.threshold=0")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    stand_in = Cluster()
    monkeypatch.setattr(kubectl, "run", stand_in)
    for module in (on_cluster, submit):
        monkeypatch.setattr(module, "SECONDS", 0)
    return stand_in


@pytest.fixture
def argo(folder: Path, cluster: Cluster) -> Argo:
    cluster.when_created = made = Argo(folder / "pods", folder / "repository")
    return made


@pytest.fixture
def where(folder: Path) -> tuple[str, ...]:
    cache = f"memory://cache/{uuid.uuid4().hex}"
    return ("target=argo", f"target.cache={cache}", f"target.artifacts=file://{folder}/repository", "target.parallelism=2")


def board(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / "sweeps" / name / "leaderboard.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_leaderboard_is_that_of_a_sweep_on_this_machine(
    tapeline: Tapeline, folder: Path, argo: Argo, where: tuple[str, ...], without_report: None
) -> None:
    code, out, err = tapeline("sweep", *LINE, *where, "name=there")
    assert (code, err) == (0, "")
    assert tapeline("sweep", *LINE, "name=here")[0] == 0
    here, there = (board(folder, name) for name in ("here", "there"))
    for row in (*here, *there):
        del row["run"]
    assert here == there
    print(out)
