"""Seconds of pods beside the work of a job, what a second parallel pod gains, and what a job asks for and leaves.

KUBECONFIG=FILE python -m benchmarks fanout

The namespace and the object store are those of `benchmarks cluster`. A sweep of equal jobs, which differ in their
seed, runs one after the other and two at a time; the rounds alternate. Counted for each job: requests to the API
server, objects and bytes in the object store, and bytes of the workflow.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cluster import LINE, divided, here, kubectl, namespace, pods, tapeline, there, where

ROUNDS = int(os.environ.get("ROUNDS", "3"))
JOBS = int(os.environ.get("JOBS", "6"))
PODS = ("pods", "requeue", "import")
"""The parts of a stepwise run that a local one does not have."""
NOT_IN_JOBS = ("ingest", "features", "publish")
"""Steps that jobs find in the cache, or do not have."""
IDLE = 30
"""Seconds in which the requests of a cluster at rest are counted."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep took."""

    spans: list[dict[str, Any]]
    """The pods of its jobs, with their times, by their end."""
    seconds: float
    requests: float
    """To the API server, while it ran."""
    objects: int
    stored: int
    """Bytes."""
    workflow: int
    """Bytes of its object."""


def main() -> None:
    """Print the median of the rounds."""
    sweeps: dict[int, list[Sweep]] = {1: [], 2: []}
    fused, stepwise = [], []
    with namespace() as name, tempfile.TemporaryDirectory() as folder:
        before = requests()
        time.sleep(IDLE)
        idle = (requests() - before) / IDLE
        for number in range(ROUNDS):
            _, local = here(Path(folder) / f"here-{number}")
            run = there(Path(folder) / f"step-{number}", name, "target.granularity=step")
            parts = divided(name, run, local, time.time())
            stepwise.append(sum(parts[part] for part in PODS))
            work = sum(seconds for step, seconds in local.items() if step not in NOT_IN_JOBS)
            for parallel, found in sweeps.items():
                found.append(swept(Path(folder) / f"{parallel}-{number}", name, parallel))
            fused.append(statistics.median(each["ended"] - each["created"] for each in sweeps[1][-1].spans) - work)
    one, two = (
        statistics.median(each.spans[-1]["ended"] - min(span["created"] for span in each.spans) for each in found)
        for found in sweeps.values()
    )
    print(
        f"  pods and imports of a job: fused {statistics.median(fused):.1f} s, "
        f"step by step {statistics.median(stepwise):.1f} s"
    )
    print(f"  {JOBS} jobs: {one:.1f} s one after the other, {two:.1f} s two at a time")
    print(f"  efficiency of 2 parallel pods over 1: {one / (2 * two):.2f}; load {os.getloadavg()[0]:.1f}")
    every = [each for found in sweeps.values() for each in found]
    calls = statistics.median((each.requests - idle * each.seconds) / JOBS for each in every)
    objects, size, workflow = (
        statistics.median(getattr(each, what) for each in every) / JOBS for what in ("objects", "stored", "workflow")
    )
    print(f"  for each job of a sweep: {calls:.0f} requests to the API server (at rest {idle:.1f}/s),")
    print(f"    {objects:.1f} objects and {size / 1e6:.2f} MB stored, {workflow / 1e3:.1f} kB of the workflow")


def swept(folder: Path, name: str, parallel: int) -> Sweep:
    """Run a sweep, and count what it took."""
    seeds = ",".join(map(str, range(JOBS)))
    cache = (f"target.cache=s3://tapeline/caches/{name}-{folder.name}", "target.cache_secret=store")
    words = ("sweep", *where(name, folder.name), *cache, f"target.parallelism={parallel}", *LINE, f"seed={seeds}")
    sizes, calls, begun = stored(name), requests(), time.time()
    (run,) = re.findall(r"^argo: (\S+)", tapeline(folder, *words), re.MULTILINE)
    seconds, calls = time.time() - begun, requests() - calls
    spans = [each for each in pods(name, run) if each["component"] == "jobs"]
    assert len(spans) == JOBS
    added = [size for key, size in stored(name).items() if key not in sizes]
    return Sweep(
        sorted(spans, key=lambda span: float(span["ended"])),
        seconds,
        calls,
        len(added),
        sum(added),
        len(json.dumps(json.loads(kubectl("-n", name, "get", "workflow", run, "-ojson")))),
    )


def requests() -> float:
    """Requests that the API server has answered since it started."""
    counted = re.findall(r"^apiserver_request_total\{.*\} (\S+)$", kubectl("get", "--raw", "/metrics"), re.MULTILINE)
    return sum(map(float, counted))


def stored(name: str) -> dict[str, int]:
    """Bytes of each object of a namespace in the artifact store, its cache and its store of models included."""
    from tests.cluster.objects import object_store

    found = object_store().find("tapeline", detail=True)
    return {key: about["size"] for key, about in found.items() if name in key}


if __name__ == "__main__":
    main()
