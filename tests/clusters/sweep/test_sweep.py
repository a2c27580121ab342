"""A sweep on Argo against the stand-in of kubectl: its pods run in this process."""

from __future__ import annotations

import csv
import itertools
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tapeline.clusters import kubectl
from tapeline.clusters import run_status as outcome
from tapeline.clusters.argo import submit
from tapeline.clusters.argo import sweep as argo_sweep
from tapeline.commands.step import program
from tapeline.commands.sweep import on_cluster
from tapeline.commands.sweep_pod import results
from tapeline.errors import refuse
from tests.clusters.submit.stand_in import Cluster
from tests.clusters.sweep.argo import Argo
from tests.conftest import Tapeline
from tests.metrics_json import sample

LINE = ("model=flat", "seed=0,1,2")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    stand_in = Cluster()
    monkeypatch.setattr(kubectl, "run", stand_in)
    for module in (on_cluster, submit):
        monkeypatch.setattr(module, "SECONDS", 0)
    return stand_in


@pytest.fixture
def argo(folder: Path, cluster: Cluster) -> Argo:
    cluster.when_created = made = Argo(folder / "pods", folder / "repository")
    return made


@pytest.fixture
def where(folder: Path) -> tuple[str, ...]:
    cache = f"target.cache=memory://cache/{uuid.uuid4().hex}"
    return ("target=argo", cache, f"target.artifacts=file://{folder}/repository", "target.parallelism=2")


class Steps:
    """In the place of `tapeline step`: metrics that follow from the seed, without a model."""

    data = "first"
    refused: str = ""

    def __call__(self, arguments: Sequence[str]) -> None:
        outputs = [each for word, each in itertools.pairwise(arguments) if word == "--out"]
        paths = dict(each.split("=", 1) for each in outputs)
        if "profile" in paths:
            Path(paths["profile"]).write_text(json.dumps({"digest": self.data}))
            return
        seed = next((word for word in arguments if word.startswith("seed=")), "seed=0")
        if seed == self.refused:
            raise refuse(seed, "is not to be had", "write another")
        scores = {"rows": 4, "accuracy": 0.5 + 0.1 * int(seed[-1]), "intervals": {}}
        made = sample(test={"overall": scores, "by": {}}, data={**sample()["data"], "digest": self.data})
        Path(paths["metrics"]).write_text(json.dumps(made))
        Path(paths["report"]).write_text(f"<p>{seed}")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    made = Steps()
    monkeypatch.setattr(program, "run", made)
    return made


def board(folder: Path, name: str = "latest") -> list[dict[str, str]]:
    with open(folder / "sweeps" / name / "leaderboard.csv", newline="") as file:
        return list(csv.DictReader(file))


def jobs(argo: Argo) -> list[str]:
    return [item for task, item in argo.ran if task.startswith("jobs")]


def created(cluster: Cluster) -> list[dict[str, Any]]:
    return [what for verb, what in cluster.sent if verb == "create"]


def test_the_leaderboard_is_that_of_a_sweep_on_this_machine(
    tapeline: Tapeline, folder: Path, argo: Argo, where: tuple[str, ...], without_report: None
) -> None:
    """One job trains, and one is refused by its pod; the data is made once."""
    line = ("model=flat", "split.train=0.8,0.00001", "model.steps=2", "model.report_every=1", "gate.threshold=0")
    code, out, err = tapeline("sweep", *line, *where, "name=there")
    assert (code, err) == (0, "")
    assert [out.count(f"  {step:10} runs because") for step in ("ingest", "features")] == [1, 1]
    assert "split.train=0.8: accuracy 0." in out
    assert tapeline("sweep", *line, "name=here")[0] == 0
    here, there = (board(folder, name) for name in ("here", "there"))
    assert [row.pop("run") == "" for row in here] == [row.pop("run") == "" for row in there] == [False, True]
    assert here == there
    assert "leaves none to one side" in there[1]["beside the best"]
    [ran] = (folder / "sweeps" / "there" / "runs").iterdir()
    [local] = (folder / "runs").glob("2*/metrics.json")
    assert (ran / "metrics.json").read_bytes() == local.read_bytes()
    assert f'href="runs/{ran.name}/report.html"' in (folder / "sweeps" / "there" / "leaderboard.html").read_text()
    assert not (folder / "store").exists()


def test_the_same_line_again_runs_what_is_missing(
    tapeline: Tapeline, folder: Path, argo: Argo, where: tuple[str, ...], steps: Steps
) -> None:
    """A pod is lost: its job has no result, the others have; the next workflow runs this one alone."""
    argo.lost = lambda task, item: task == "jobs" and len(jobs(argo)) == 2
    code, out, _ = tapeline("sweep", *LINE, *where)
    assert code == 0
    assert "seed=1: failed, pod deleted" in out
    assert [(row["status"], row["job"]) for row in board(folder)][-1] == ("failed", "model=flat seed=1")
    lost = jobs(argo)[1]
    argo.ran.clear()
    argo.lost = lambda task, item: False
    code, out, _ = tapeline("sweep", *LINE, *where)
    assert (code, jobs(argo), out.count("finished before")) == (0, [lost], 2)
    assert [row["job"][-6:] for row in board(folder)] == ["seed=2", "seed=1", "seed=0"]
    argo.ran.clear()
    assert tapeline("sweep", *LINE, *where)[0] == 0
    assert jobs(argo) == []


def test_other_data_is_another_result(
    tapeline: Tapeline, folder: Path, argo: Argo, where: tuple[str, ...], steps: Steps
) -> None:
    assert tapeline("sweep", *LINE, *where)[0] == 0
    steps.data = "second"
    assert tapeline("sweep", *LINE, *where)[0] == 0
    assert len(jobs(argo)) == 6
    assert [task for task, _ in argo.ran].count("data") == 2


def test_where_no_pod_makes_the_data_the_jobs_do(
    tapeline: Tapeline, folder: Path, argo: Argo, where: tuple[str, ...], steps: Steps
) -> None:
    argo.lost = lambda task, item: task == "data"
    assert tapeline("sweep", *LINE, *where)[0] == 0
    assert [row["status"] for row in board(folder)] == ["finished"] * 3


def test_jobs_that_are_refused_are_named(
    tapeline: Tapeline, folder: Path, argo: Argo, where: tuple[str, ...], steps: Steps
) -> None:
    """One by its pod; others, here with a threshold that no accuracy can reach, before a pod starts."""
    steps.refused = "seed=1"
    line = ("model=flat", "seed=0,1", "gate.threshold=0.5,1.5")
    code, out, _ = tapeline("sweep", *line, *where)
    assert (code, len(jobs(argo))) == (0, 2)
    assert "seed=1 gate.threshold=0.5: seed=1: is not to be had; write another" in out
    rows = board(folder)
    assert [row["status"] for row in rows] == ["finished", "failed", "failed", "failed"]
    assert sum("gate.threshold" in row["beside the best"] for row in rows) == 2
    assert "  seed=0 gate.threshold=1.5: gate.threshold=1.5: accuracy is never above it" in out
    assert "finished before" not in out
    steps.refused = "seed=0"
    code, _, err = tapeline("sweep", "model=flat", *where)
    assert code == 2
    assert "no job of this sweep finished" in err


def test_ctrl_c_leaves_the_workflow_and_the_same_line_follows_it(
    tapeline: Tapeline, folder: Path, cluster: Cluster, where: tuple[str, ...], steps: Steps,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def starts(name: str, made: dict[str, Any]) -> None:
        made["metadata"]["creationTimestamp"] = "2026-11-21T15:00:00Z"
        made["status"] = {"phase": "Running", "nodes": {}}

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    cluster.when_created = starts
    monkeypatch.setattr("time.sleep", interrupt)
    with pytest.raises(SystemExit) as ended:
        tapeline("sweep", *LINE, *where)
    assert ended.value.code == 130
    [made] = [each for (kind, _), each in cluster.objects.items() if kind == "workflow"]
    argo = Argo(folder / "pods", folder / "repository")
    monkeypatch.setattr("time.sleep", lambda seconds: argo(made["metadata"]["name"], made))
    code, out, _ = tapeline("sweep", *LINE, *where)
    assert (code, len(created(cluster)), len(jobs(argo))) == (0, 1, 3)
    assert f"{made['metadata']['name']} still runs" in out


def test_a_workflow_without_a_leaderboard_says_why(
    tapeline: Tapeline, folder: Path, argo: Argo, where: tuple[str, ...], steps: Steps
) -> None:
    argo.lost = lambda task, item: task == "leaderboard"
    code, _, err = tapeline("sweep", *LINE, *where)
    assert code == 2
    assert "leaderboard: pod deleted" in err
    assert not (folder / "sweeps" / "latest").exists()


def test_a_cluster_that_is_lost_names_the_workflow(
    tapeline: Tapeline, folder: Path, cluster: Cluster, where: tuple[str, ...]
) -> None:
    def vanishes(name: str, made: dict[str, Any]) -> None:
        del cluster.objects[("workflow", name)]

    cluster.when_created = vanishes
    code, _, err = tapeline("sweep", *LINE, *where)
    assert code == 2
    assert "does not exist any more" in err
    assert "was started, and may still run; the same line again" in err


def test_results_come_in_parts_and_through_logs_where_the_repository_is_not_reached(
    tapeline: Tapeline, folder: Path, cluster: Cluster, argo: Argo, where: tuple[str, ...], steps: Steps,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(results, "MOST_BYTES", 1000)

    def runs(name: str, made: dict[str, Any]) -> None:
        if not name.startswith("sweep-") or "-files-" not in name:
            argo(name, made)
            return
        [taken] = made["spec"]["templates"][0]["inputs"]["artifacts"]
        cluster.log = "\n".join(outcome.pack([folder / "repository" / taken["s3"]["key"]]))
        made["status"] = {"phase": "Succeeded", "nodes": {}}

    cluster.when_created = runs
    assert tapeline("sweep", *LINE, *(word for word in where if "artifacts" not in word))[0] == 0
    assert len(created(cluster)) > 2
    assert len(list((folder / "sweeps" / "latest").glob("runs/*/report.html"))) == 3
    for path in (folder / "sweeps" / "latest" / "jobs").glob("*.json"):
        assert (Path(json.loads(path.read_text())["run"]) / "metrics.json").is_file()


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (("target=argo",), "target.cache=.tapeline/cache"),
        (("target=kfp",), "write target=argo"),
        (("target=tfjob",), "write target=argo"),
        (("target=argo,kfp",), "in one place"),
        (("target=argo", "target.parallelism=1,2"), "in one place"),
        (("target=argo", "target.parallelism=0"), "target.parallelism"),
        (("target=argo", "hydra/launcher=joblib"), "target.parallelism"),
        (("target=argo", "target.cache=s3://a/b", "dataset=indices,indexes"), "dataset has no option indexes"),
        (("target=argo", "target.cache=s3://a/b", "gate.threshold=2,3"), "gate.threshold"),
    ],
)
def test_what_cannot_be_a_sweep_is_refused_before_anything_starts(
    tapeline: Tapeline, folder: Path, cluster: Cluster, typed: tuple[str, ...], says: str
) -> None:
    code, out, err = tapeline("sweep", *LINE, *typed)
    assert (code, out) == (2, "")
    assert says in err
    assert created(cluster) == []
    assert not (folder / "sweeps").exists()


def test_a_sweep_above_the_quota_is_refused_with_both_numbers(
    tapeline: Tapeline, folder: Path, cluster: Cluster, where: tuple[str, ...]
) -> None:
    hard = {"requests.cpu": "10", "pods": "50"}
    cluster.objects[("resourcequota", "q")] = {"metadata": {"name": "q"}, "spec": {"hard": hard}}
    code, _, err = tapeline("sweep", *LINE, *where, "hw.requests.cpu='3'", "hw.limits.cpu='3'", "target.parallelism=4")
    assert code == 2
    assert "target.parallelism=4: " in err
    assert "12.2 requests.cpu" in err
    assert "the quota is 10" in err
    assert created(cluster) == []


def test_it_never_publishes_and_its_pods_are_restricted(
    tapeline: Tapeline, folder: Path, cluster: Cluster, argo: Argo, where: tuple[str, ...], steps: Steps
) -> None:
    assert tapeline("sweep", *LINE, *where)[0] == 0
    [made] = created(cluster)
    spec = made["spec"]
    assert spec["parallelism"] == 2
    assert "publish" not in json.dumps(spec["templates"])
    assert {each["metadata"]["labels"]["tapeline.dev/role"] for each in spec["templates"] if "container" in each} == {
        "runner"
    }
    assert made["metadata"]["labels"][argo_sweep.SWEEP] == (folder / "sweeps" / "latest").resolve().name
