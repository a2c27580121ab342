"""Partitions of the data as pods: where they can be, and what is said where they cannot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tapeline.config.schema import Argo, Cluster, Config
from tapeline.errors import Finding
from tapeline.lookup import spec
from tapeline.pipeline.graph import STEPS, Step


def lost_partitions(config: Config, target: Cluster, steps: Sequence[Step], *, fused: bool) -> Iterator[Finding]:
    """A pod for each partition needs several partitions, and steps with pods of their own."""
    if not isinstance(target, Argo) or not any(step.ids for step in steps):
        return
    where, without = f"target.partitions={target.partitions}", "set target.partitions=null"
    if spec(config.dataset.name).partition is None:
        yield Finding(where, f"dataset={config.dataset.name} has one partition", without)
    if target.granularity == "fused":
        problem = "target.granularity=fused starts one pod for all steps"
        yield Finding(where, problem, "set target.granularity=step, or target.partitions=null")
    elif fused:
        yield Finding(where, "a job of a sweep is one pod", f"{without}, or submit the jobs one by one")


def in_one_pod(config: Config) -> Iterator[str]:
    """A sentence for each key that would start a pod for each partition, where the target does not have it."""
    partition = spec(config.dataset.name).partition
    if partition and not isinstance(config.target, Argo):
        for step in STEPS:
            if step.ids:
                yield f"one pod for all partitions; with target=argo, {step.only_with} gives each {partition} a pod"
