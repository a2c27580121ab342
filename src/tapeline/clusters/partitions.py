"""Partitions of the data as pods: where they can be, and what is said where they cannot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tapeline.config.schema import Argo, Cluster, Config
from tapeline.errors import Finding
from tapeline.lookup import spec
from tapeline.pipeline.graph import STEPS, Step


def lost(config: Config, target: Cluster, steps: Sequence[Step], *, fused: bool) -> Iterator[Finding]:
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
    """A sentence for each step that makes all partitions in one pod, where this target starts no pod for each."""
    partition = spec(config.dataset.name).partition
    if partition is None or isinstance(config.target, Argo):
        return
    for mapped in (step for step in STEPS if step.ids):
        for step in STEPS:
            if {made.name for made in mapped.makes} & {*step.inputs}:
                yield f"{step.name}: one pod for each {partition} is possible with target=argo; here one pod makes all"
