"""The graph as one TFJob with one worker, as the original ran it."""

from __future__ import annotations

from tapeline.targets.plan import Cluster as Section

__all__ = ["Section"]
