"""The stand-in of a cluster, in the place of kubectl."""

from __future__ import annotations

import pytest

from tapeline.clusters import kubectl
from tapeline.clusters.argo import status
from tapeline.clusters.argo import submit as on_argo
from tests.clusters.submit.stand_in import Cluster


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    stand_in = Cluster()
    monkeypatch.setattr(kubectl, "run", stand_in)
    monkeypatch.setattr(on_argo, "_PODS", status.Pods())
    return stand_in
