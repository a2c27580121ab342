"""Seconds from submit to accepted on the cluster of KUBECONFIG, step by step and fused, beside `tapeline run`.

KUBECONFIG=FILE python -m benchmarks cluster

It makes a namespace like that of the cluster tests, in the object store that they use, and removes it. Each side runs
the same line on an empty cache; the rounds alternate.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from tapeline.commands import images

ROUNDS = int(os.environ.get("ROUNDS", "3"))
LINE = ("experiment=snp_flat", "gate.threshold=0.4")
GOAL = 40
"""Seconds that a stepwise run may take beside a local one and the pods' own imports."""
PARTS = ("pods", "requeue", "import", "steps", "hand-over")
"""Start and end of pods with their artifacts; waiting for the next look of Argo; Python and its packages in each pod;
the work of the steps; from the end of the graph to the end of submit."""
WAYS = {"step by step": "target.granularity=step", "fused": "target.granularity=fused"}


def main() -> None:
    """Print the median of each way, and the parts of those on the cluster."""
    wall: dict[str, list[float]] = {way: [] for way in ("make run", *WAYS)}
    parts: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with namespace() as name, tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            seconds, local = here(Path(folder) / f"here-{number}")
            wall["make run"].append(seconds)
            for way, granularity in WAYS.items():
                begun = time.time()
                run = there(Path(folder) / f"{granularity}-{number}", name, granularity)
                ended = time.time()
                wall[way].append(ended - begun)
                parts[way].append(divided(name, run, local, ended))
    for way, each in wall.items():
        print(f"  {way:13}{statistics.median(each):8.1f} s, {min(each):.1f} to {max(each):.1f}")
    for way, rounds in parts.items():
        middle = {part: statistics.median(each[part] for each in rounds) for part in (*PARTS, "number")}
        shown = ", ".join(f"{part} {middle[part]:.1f}" for part in PARTS)
        print(f"  {way}: {middle['number']:.0f} pods; {shown} s")
    middle = {part: statistics.median(each[part] for each in parts["step by step"]) for part in PARTS}
    over = statistics.median(wall["step by step"]) - statistics.median(wall["make run"]) - middle["import"]
    print(f"  step by step, beside the local run and the imports: {over:.1f} s, at most {GOAL} wanted")
    print(f"  load {os.getloadavg()[0]:.1f}; DEFAULT_REQUEUE_TIME is the controller's, 10 s where nobody set it")


@contextmanager
def namespace() -> Iterator[str]:
    """A namespace with accounts, Secrets and the artifact repository."""
    from tests.cluster.objects import workplace

    name = f"tapeline-bench-{uuid.uuid4().hex[:6]}"
    kubectl("create", "namespace", name)
    try:
        kubectl("-n", name, "create", "-f", "-", stdin=json.dumps(workplace()))
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


def kubectl(*words: str, stdin: str | None = None) -> str:
    """Run kubectl; its standard output."""
    return subprocess.run(["kubectl", *words], input=stdin, capture_output=True, text=True, check=True).stdout


def tapeline(folder: Path, *words: str) -> str:
    """Run tapeline in a new folder; its standard output."""
    folder.mkdir()
    command = [sys.executable, "-m", "tapeline", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def latest(folder: Path) -> dict[str, Any]:
    """The run.json of the latest run."""
    record: dict[str, Any] = json.loads((folder / "runs" / "latest" / "run.json").read_text())
    return record


def here(folder: Path) -> tuple[float, dict[str, float]]:
    """Seconds of a local run, and of each of its steps."""
    begun = time.perf_counter()
    tapeline(folder, "run", *LINE)
    return time.perf_counter() - begun, {each["step"]: each["seconds"] for each in latest(folder)["steps"]}


def there(folder: Path, name: str, granularity: str) -> str:
    """Submit a run and wait for it; its name."""
    tapeline(folder, "submit", *where(name, folder.name), *LINE, granularity, "apply=true")
    return str(latest(folder)["submitted"])


def where(name: str, store: str) -> tuple[str, ...]:
    """The overrides of a namespace, with a store of models of its own."""
    from tests.cluster.argo import SMALL
    from tests.cluster.objects import OUTSIDE, STORE

    os.environ.update(OUTSIDE)
    image = images.tag("cpu")
    place = (f"target.namespace={name}", f"target.image={image}", f"hw.image={image}", "target.artifacts=s3://tapeline")
    return "target=argo", *place, *SMALL, f"serving.store={STORE}/{name}/{store.replace('=', '-')}"


def divided(name: str, run: str, local: Mapping[str, float], ended: float) -> dict[str, float]:
    """The parts of a run's seconds, along the pods in their order.

    Args:
        name: of the namespace.
        run: on the cluster.
        local: seconds of the steps in a local run.
        ended: when submit ended, in seconds since 1970.
    """
    spans = pods(name, run)
    # what runs beside another pod takes no time of its own: report and publish come after gate together
    line = [spans[0]] if spans else []
    for span in spans[1:]:
        if span["created"] >= line[-1]["ended"]:
            line.append(span)
    container = sum(each["finished"] - each["started"] for each in line)
    steps = sum(min(_work(each["component"], local), each["finished"] - each["started"]) for each in line)
    return {
        "number": len(spans),
        "pods": sum(each["started"] - each["created"] + each["ended"] - each["finished"] for each in line),
        "requeue": sum(after["created"] - before["ended"] for before, after in pairwise(line)),
        "import": container - steps,
        "steps": steps,
        "hand-over": ended - line[-1]["ended"] if line else 0.0,
    }


def pods(name: str, run: str) -> list[dict[str, Any]]:
    """Of each pod of a run but the one that writes the summary: its component and its times, by creation."""
    label = f"workflows.argoproj.io/workflow={run}"
    items = json.loads(kubectl("-n", name, "get", "pods", "-l", label, "-ojson"))["items"]
    spans = (_span(each) for each in items if _component(each) != "summary")
    return sorted(spans, key=lambda span: float(span["created"]))


def _component(pod: Mapping[str, Any]) -> str:
    return str(pod["metadata"]["labels"]["app.kubernetes.io/component"])


def _work(component: str, local: Mapping[str, float]) -> float:
    """Seconds of the same work in a local run."""
    if component != "run":
        return local.get(component, 0.0)
    return sum(seconds for step, seconds in local.items() if step != "publish")


def _span(pod: Mapping[str, Any]) -> dict[str, Any]:
    """When a pod was created, its main container ran, and its last container ended, in seconds since 1970."""
    ended = {each["name"]: each["state"]["terminated"] for each in pod["status"]["containerStatuses"]}
    times: Sequence[float] = [_time(each["finishedAt"]) for each in ended.values()]
    return {
        "component": _component(pod),
        "created": _time(pod["metadata"]["creationTimestamp"]),
        "started": _time(ended["main"]["startedAt"]),
        "finished": _time(ended["main"]["finishedAt"]),
        "ended": max(times),
    }


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    main()
