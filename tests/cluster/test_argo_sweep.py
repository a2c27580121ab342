"""A sweep on a real Argo, beside the same sweep on this machine, in a namespace that enforces `restricted`."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.argo import at_work, line_with, prepared, store, until
from tests.cluster.conftest import Image, Kubectl
from tests.cluster.objects import object_store
from tests.conftest import subprocess_tapeline

SHORT = ("gate.threshold=0.4", "gate.baseline_margin=null")


@pytest.fixture(scope="module")
def where(kubectl: Kubectl, namespace: str, image: Image) -> tuple[str, ...]:
    """What is typed behind `tapeline sweep`, but for the jobs and the cache."""
    return (*prepared(kubectl, namespace, image), store(namespace, "sweep"), "target.parallelism=2")


def cache(namespace: str, name: str) -> tuple[str, str]:
    """Overrides: a cache of its own."""
    return (f"target.cache=s3://tapeline/caches/{namespace}-{name}", "target.cache_secret=store")


def entries(namespace: str, name: str) -> list[str]:
    """The steps of the entries in a cache."""
    found = object_store().find(f"tapeline/caches/{namespace}-{name}")
    return [path.split("/")[-3] for path in found if path.endswith("/entry.json")]


def board(folder: Path) -> list[dict[str, str]]:
    """The rows of the leaderboard, without the names of the runs."""
    with open(folder / "sweeps" / "latest" / "leaderboard.csv", newline="") as file:
        return [{key: value for key, value in row.items() if key != "run"} for row in csv.DictReader(file)]


def job_at_work(kubectl: Kubectl, namespace: str, run: str) -> str:
    """A job's pod that runs, and of which Argo has seen so: before, it would create the pod again; "" if none does."""
    nodes = json.loads(kubectl("-n", namespace, "get", "workflow", run, "-ojson")).get("status", {}).get("nodes", {})
    at_work = {each["id"] for each in nodes.values() if (each["type"], each["phase"]) == ("Pod", "Running")}
    which = ("-l", f"app.kubernetes.io/component=jobs,workflows.argoproj.io/workflow={run}")
    for pod in json.loads(kubectl("-n", namespace, "get", "pods", *which, "-ojson"))["items"]:
        if pod["metadata"]["annotations"]["workflows.argoproj.io/node-id"] in at_work:
            return f"pod/{pod['metadata']['name']}"
    return ""


def logs(kubectl: Kubectl, namespace: str, run: str) -> list[str]:
    """The logs of the jobs' pods of a workflow that are still there."""
    which = ("-l", f"app.kubernetes.io/component=jobs,workflows.argoproj.io/workflow={run}")
    names = kubectl("-n", namespace, "get", "pods", *which, "-oname").split()
    return [kubectl("-n", namespace, "logs", name, "-c", "main") for name in names]


def test_twelve_jobs_with_a_killed_pod_and_a_killed_controller_give_the_leaderboard_of_this_machine(
    folder: Path, where: tuple[str, ...], namespace: str, kubectl: Kubectl, restart_controller: Callable[[], None]
) -> None:
    line = ("model=lightgbm", "seed=0,1", "model.learning_rate=0.1,0.03", "model.steps=5,30,60", *SHORT)
    with at_work(folder, "sweep", *where, *cache(namespace, "twelve"), *line) as process:
        run = line_with(process, "argo: ").split()[-1]
        pod = until(lambda: job_at_work(kubectl, namespace, run), "no job's pod runs", 300)
        kubectl("-n", namespace, "delete", pod, "--wait=false")
        restart_controller()
        out, problem = process.communicate(timeout=1500)
    assert process.returncode == 0, problem
    assert "was lost" in out
    assert [entries(namespace, "twelve").count(step) for step in ("ingest", "features")] == [1, 1]
    assert all("ingest     cached" in log and "features   cached" in log for log in logs(kubectl, namespace, run))
    assert json.loads(kubectl("-n", namespace, "get", "workflow", run, "-ojson"))["spec"]["parallelism"] == 2
    there = board(folder)
    here = folder / "here"
    here.mkdir()
    hw = [text for text in where if text.startswith("hw.")]
    ran = subprocess_tapeline("sweep", *hw, *line, cwd=here)
    assert ran.returncode == 0, ran.stderr
    assert len(there) == 12
    assert len({row["test"] for row in there}) > 3
    assert there == board(here)
    for path in (folder / "sweeps" / "latest" / "jobs").glob("*.json"):
        local = here / "sweeps" / "latest" / "jobs" / path.name
        theirs, ours = (Path(json.loads(each.read_text())["run"]) for each in (path, local))
        assert (theirs / "metrics.json").read_bytes() == (ours / "metrics.json").read_bytes()
        assert (theirs / "report.html").stat().st_size > 10_000


def test_what_was_interrupted_goes_on_with_what_is_missing(
    folder: Path, where: tuple[str, ...], namespace: str, kubectl: Kubectl
) -> None:
    """The command gets SIGTERM, and the workflow is deleted; one job of the line is refused by its pod."""
    line = ("model=flat", "model.steps=20", "model.report_every=20", "split.train=0.8,0.7,0.00001", *SHORT)
    words = (*where, *cache(namespace, "interrupted"), *line)
    with at_work(folder, "sweep", *words) as process:
        run = line_with(process, "argo: ").split()[-1]
        line_with(process, "split.train=0.8: accuracy")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert run in said
    kubectl("-n", namespace, "delete", "workflow", run, "--timeout=120s")
    again = subprocess_tapeline("sweep", *words, cwd=folder)
    assert again.returncode == 0, again.stderr
    assert "split.train=0.8: finished before" in again.stdout
    assert [row["status"] for row in board(folder)] == ["finished", "finished", "failed"]
    assert "leaves none to one side" in board(folder)[-1]["beside the best"]
    assert entries(namespace, "interrupted").count("ingest") == 1


def test_a_sweep_above_the_quota_starts_nothing(
    folder: Path, where: tuple[str, ...], namespace: str, kubectl: Kubectl
) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small"},
        "spec": {"hard": {"pods": "1"}},
    }
    kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(quota))
    try:
        shown = subprocess_tapeline("sweep", *where, *cache(namespace, "quota"), "seed=0,1", cwd=folder)
    finally:
        kubectl("-n", namespace, "delete", "resourcequota", "small")
    assert shown.returncode == 2
    assert "2 pods need 2 pods, and the quota is 1" in shown.stderr
