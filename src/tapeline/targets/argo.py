"""The graph as a WorkflowTemplate of Argo Workflows."""

from __future__ import annotations

from typing import Literal

from tapeline.targets.plan import Cluster, Name


class Section(Cluster):
    """Its keys."""

    granularity: Literal["step", "fused"]
    schedule: str
    """Of the CronWorkflow: minute, hour, day of the month, month, weekday."""
    timezone: str
    semaphore: Name
    """ConfigMap with the number of runs for each hardware profile that has an accelerator, by its name."""
