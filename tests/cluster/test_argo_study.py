"""A search by three pods on one PostgreSQL, of which one is killed: the component, and a submitted run on Argo."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cluster import tree
from tests.cluster.argo import at_work, line_with, prepared, store, until
from tests.cluster.conftest import Image, Kubectl
from tests.cluster.objects import object_store
from tests.deploy.rendering import overlay

TRIALS = 24
STUDY = (
    *("tune.workers=3", "tune.storage=postgresql://tapeline@study-database/studies", "tune.heartbeat_seconds=2"),
    *("tune.password_env=STUDY_PASSWORD", "target.data_secret=study-database"),
)
SEARCH = ("tune=optuna", f"tune.trials={TRIALS}", "tune.pruner=none")
LINE = (
    *("experiment=snp_flat", "model.steps=15000", "model.report_every=15000"),
    *("gate.threshold=0.1", "gate.baseline_margin=null", "hw.requests.memory=400Mi"),
)
"""A trial takes some seconds; the model is accepted."""
OPEN = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "runners-to-all"},
    "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]},
}
"""The component's policy opens one place for runners; what else they reach is the base's, which is not applied here."""


class Row(NamedTuple):
    """A trial in the database."""

    number: int
    worker: str
    state: str


@pytest.fixture(scope="module")
def database(
    kubectl: Kubectl, namespace: str, image: Image, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """The component alone, as its README says, in a namespace that enforces `restricted`."""
    image("cpu")
    tree.build_stand_ins(tmp_path_factory.mktemp("images"), "postgres")
    password = f"--from-literal=STUDY_PASSWORD={secrets.token_hex(20)}"
    kubectl("-n", namespace, "create", "secret", "generic", "study-database", password)
    kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(OPEN))
    own: dict[str, Any] = {"namespace": namespace, "resources": []}
    kubectl("apply", "-k", str(overlay(tmp_path_factory.mktemp("overlay"), ["with-study-database"], **own)))
    tree.own_volumes(kubectl, namespace)
    kubectl("-n", namespace, "rollout", "status", "statefulset/study-database", "--timeout=300s")
    yield
    volumes = tree.volumes(kubectl, namespace)
    kubectl("-n", namespace, "delete", "statefulset", "study-database", "--timeout=120s")
    kubectl("-n", namespace, "delete", "pvc", "--all", "--timeout=120s")
    until(lambda: not any(_phase(kubectl, each) == "Bound" for each in volumes), "the volume is not given back")
    tree.free(kubectl, volumes)


def _phase(kubectl: Kubectl, volume: str) -> str:
    found = kubectl("get", "pv", volume, "-ojson", "--ignore-not-found")
    return str(json.loads(found)["status"]["phase"]) if found else ""


def ask(kubectl: Kubectl, namespace: str, query: str) -> list[str]:
    """The lines of a query's answer."""
    words = ("psql", "--username=tapeline", "--dbname=studies", "--tuples-only", "--no-align", f"--command={query}")
    return kubectl("-n", namespace, "exec", "study-database-0", "--", *words).splitlines()


def rows(kubectl: Kubectl, namespace: str) -> list[Row]:
    """The trials of the only study."""
    if ask(kubectl, namespace, "SELECT to_regclass('tapeline_trials')") == [""]:
        return []
    found = ask(kubectl, namespace, "SELECT number, worker, state FROM tapeline_trials ORDER BY number")
    return [Row(int(number), worker, state) for number, worker, state in (line.split("|") for line in found)]


def at_work_there(kubectl: Kubectl, namespace: str, run: str) -> list[str]:
    """Pods beside the step's own that run, and of which Argo has seen so: before, it would create a pod again."""
    nodes = json.loads(kubectl("-n", namespace, "get", "workflow", run, "-ojson")).get("status", {}).get("nodes", {})
    running = {each["id"] for each in nodes.values() if (each["type"], each["phase"]) == ("Pod", "Running")}
    which = ("-l", f"app.kubernetes.io/component=tune-worker,workflows.argoproj.io/workflow={run}")
    pods = json.loads(kubectl("-n", namespace, "get", "pods", *which, "-ojson"))["items"]
    of_node = {
        each["metadata"]["annotations"]["workflows.argoproj.io/node-id"]: each["metadata"]["name"] for each in pods
    }
    return [name for node, name in of_node.items() if node in running]


def has_finished_a_trial(kubectl: Kubectl, namespace: str, run: str) -> str:
    """A pod that runs and has finished a trial, while others are missing; "" if there is none yet."""
    finished = [each for each in rows(kubectl, namespace) if each.state == "complete"]
    assert len(finished) < TRIALS - 3, "the search ended before a pod could be killed; make its trials longer"
    pods = at_work_there(kubectl, namespace, run)
    return next((pod for pod in pods if any(each.worker.startswith(pod) for each in finished)), "")


@pytest.mark.usefixtures("database")
def test_24_trials_by_three_pods_of_which_one_is_killed_and_the_best_values_are_served(
    folder: Path, kubectl: Kubectl, namespace: str, image: Image
) -> None:
    words = (*prepared(kubectl, namespace, image), store(namespace, "study"), *LINE, *SEARCH, *STUDY)
    with at_work(folder, "submit", *words, "apply=true") as process:
        run = line_with(process, "argo: ").split()[-1]
        killed = until(lambda: has_finished_a_trial(kubectl, namespace, run), "no other pod finishes a trial", 600)
        kubectl("-n", namespace, "delete", "pod", killed, "--grace-period=0", "--force", "--wait=false")
        shown, problem = process.communicate(timeout=1500)
    assert process.returncode == 0, problem
    assert "published: " in shown

    found = rows(kubectl, namespace)
    assert [each.number for each in found] == list(range(TRIALS))
    assert {each.state for each in found} == {"complete"}
    by_pod = Counter(each.worker.rpartition("-")[0].rpartition("-")[0] for each in found)
    assert killed in by_pod
    assert len(by_pod) >= 2

    objects = object_store()
    where = f"tapeline/artifacts/{namespace}/{run}"
    study, best = (json.loads(objects.cat_file(f"{where}/{name}.json")) for name in ("study", "best"))
    assert [each["number"] for each in study["trials"]] == list(range(TRIALS))
    assert study["best"]["value"] == max(each["value"] for each in study["trials"])
    assert best["overrides"] == study["best"]["params"]
    local = json.loads((folder / "runs" / "latest" / "metrics.json").read_text())
    published = json.loads((folder / "runs" / "latest" / "published.json").read_text())
    version = f"tapeline/stores/{namespace}/study/{published['name']}/{published['number']}"
    for record in (local, json.loads(objects.cat_file(f"{version}/assets.extra/metrics.json"))):
        searched(record, best["overrides"], study["best"])


def searched(metrics: dict[str, Any], values: dict[str, Any], best: dict[str, Any]) -> None:
    """The record of a model is that of one which these values trained."""
    assert metrics["tune"]["best"] == best
    assert metrics["tune"]["counts"] == {"complete": TRIALS, "pruned": 0, "failed": 0}
    for key, value in values.items():
        name = key.removeprefix("model.")
        assert (metrics["trained"]["model"][name], metrics["trained"]["origin"][name]) == (value, "tune")
