"""Seconds of pods beside the work of a job, step by step and fused, and what a second parallel pod gains.

KUBECONFIG=FILE python -m benchmarks fanout

The namespace and the object store are those of `benchmarks cluster`. A sweep of equal jobs, which differ in their
seed, runs one after the other and two at a time; the rounds alternate.
"""

from __future__ import annotations

import os
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.cluster import LINE, divided, here, namespace, pods, tapeline, there, where

ROUNDS = int(os.environ.get("ROUNDS", "3"))
JOBS = int(os.environ.get("JOBS", "6"))
PODS = ("pods", "requeue", "import")
"""The parts of a stepwise run that a local one does not have."""
NOT_IN_JOBS = ("ingest", "features", "publish")
"""Steps that jobs find in the cache, or do not have."""


def main() -> None:
    """Print the median of the rounds."""
    walls: dict[int, list[float]] = {1: [], 2: []}
    fused, stepwise = [], []
    with namespace() as name, tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            _, local = here(Path(folder) / f"here-{number}")
            run = there(Path(folder) / f"step-{number}", name, "target.granularity=step")
            parts = divided(name, run, local, time.time())
            stepwise.append(sum(parts[part] for part in PODS))
            work = sum(seconds for step, seconds in local.items() if step not in NOT_IN_JOBS)
            for parallel, found in walls.items():
                spans = swept(Path(folder) / f"{parallel}-{number}", name, parallel)
                found.append(spans[-1]["ended"] - spans[0]["created"])
                if parallel == 1:
                    fused.append(statistics.median(each["ended"] - each["created"] for each in spans) - work)
    one, two = (statistics.median(each) for each in walls.values())
    print(
        f"  pods and imports of a job: fused {statistics.median(fused):.1f} s, "
        f"step by step {statistics.median(stepwise):.1f} s"
    )
    print(f"  {JOBS} jobs: {one:.1f} s one after the other, {two:.1f} s two at a time")
    print(f"  efficiency of 2 parallel pods over 1: {one / (2 * two):.2f}; load {os.getloadavg()[0]:.1f}")


def swept(folder: Path, name: str, parallel: int) -> list[dict[str, Any]]:
    """The pods of a sweep's jobs, with their times, by their end."""
    seeds = ",".join(map(str, range(JOBS)))
    cache = (f"target.cache=s3://tapeline/caches/{name}-{folder.name}", "target.cache_secret=store")
    words = ("sweep", *where(name, folder.name), *cache, f"target.parallelism={parallel}", *LINE, f"seed={seeds}")
    (run,) = re.findall(r"^argo: (\S+)", tapeline(folder, *words), re.MULTILINE)
    spans = [each for each in pods(name, run) if each["component"] == "jobs"]
    assert len(spans) == JOBS
    return sorted(spans, key=lambda span: float(span["ended"]))


if __name__ == "__main__":
    main()
