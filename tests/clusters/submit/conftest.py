"""A KFP on loopback, and the stand-in of a cluster in the place of kubectl."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tapeline.clusters import kubectl
from tapeline.clusters.argo import status
from tapeline.clusters.argo import submit as on_argo
from tapeline.clusters.kfp import api, pipeline
from tapeline.clusters.kfp import submit as place
from tapeline.clusters.plan import Plan
from tapeline.commands.submit import follow as submit
from tapeline.errors import refuse
from tests.clusters.submit.kfp_api import Backend, Look, served
from tests.clusters.submit.kfp_runs import ALL, PENDING, graph, keep
from tests.clusters.submit.stand_in import Cluster

TEXT = pipeline.text
COMPILED: dict[str, str] = {}
"""Pipelines, which take a second to compile, by their plans."""


def _compiled(plan: Plan) -> str:
    key = repr((plan.overrides, plan.target, [task.name for task in plan.tasks]))
    if key not in COMPILED:
        COMPILED[key] = TEXT(plan)
    return COMPILED[key]


@pytest.fixture
def backend(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """One run that comes to be accepted, and its artifacts in the folder `kept`; kubectl is not installed."""

    def none(*words: str, **_: Any) -> str:
        raise refuse("kubectl", "is not installed", "install it")

    monkeypatch.setattr(kubectl, "run", none)
    monkeypatch.setattr(pipeline, "text", _compiled)
    monkeypatch.setattr(submit, "SECONDS", 0)
    monkeypatch.setattr(place, "SECONDS", 0)
    monkeypatch.delenv(api.TOKEN, raising=False)
    keep(folder)
    half = graph("ingest").task("features", ("Running", ""))
    with served(Backend([PENDING, Look("RUNNING", half), Look("SUCCEEDED", graph(*ALL))])) as made:
        yield made


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """What kubectl answers in these tests."""
    stand_in = Cluster()
    monkeypatch.setattr(kubectl, "run", stand_in)
    monkeypatch.setattr(on_argo, "_PODS", status.Pods())
    return stand_in
