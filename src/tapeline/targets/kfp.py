"""The graph as a pipeline of Kubeflow Pipelines."""

from __future__ import annotations

from tapeline.targets.plan import Cluster


class Section(Cluster):
    """Its keys."""

    address: str
    """Of the API, for `submit`."""
