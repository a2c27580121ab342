"""What make submit target=kfp says of a run: why it waits or failed, its end, and what stops or loses it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tapeline.clusters.kfp import submit as place
from tests.clusters.submit.kfp_api import RUN, Backend, Look
from tests.clusters.submit.kfp_runs import ALL, METRICS, PENDING, arguments, graph, listed
from tests.clusters.submit.kfp_workflow import FINE, Graph
from tests.conftest import Tapeline, steps

UNSCHEDULABLE = "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."
NOT_FOUND = 'pods "x" is forbidden: error looking up service account kubeflow/mine: serviceaccount "mine" not found'


def test_why_a_step_waits_is_said(tapeline: Tapeline, backend: Backend) -> None:
    pull = Graph().task("ingest", ("Pending", "ImagePullBackOff: Back-off pulling image x"))
    backend.looks = [PENDING, Look("RUNNING", Graph().task("ingest", driver=("Pending", UNSCHEDULABLE))),
                     Look("RUNNING", pull), Look("SUCCEEDED", graph(*ALL))]  # fmt: skip
    code, out, _ = tapeline(*arguments(backend))
    assert code == 0
    assert [" ".join(line) for line in listed(out)][:3] == [
        f"ingest waits {UNSCHEDULABLE}",
        "ingest waits ImagePullBackOff: Back-off pulling image x",
        "ingest ran 12.0 s",
    ]


def test_the_reason_is_asked_for_when_nothing_moves(
    tapeline: Tapeline, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, said = Graph().task("ingest", ("Pending", "")), Graph().task("ingest", ("Pending", UNSCHEDULABLE))
    backend.looks = [PENDING, Look("RUNNING", quiet), Look("RUNNING", said), Look("SUCCEEDED", graph(*ALL))]
    monkeypatch.setattr(place, "STILL", 1e9)
    assert UNSCHEDULABLE not in tapeline(*arguments(backend))[1]
    monkeypatch.setattr(place, "STILL", -1.0)
    backend.looks = [PENDING, Look("RUNNING", quiet), Look("RUNNING", said), Look("SUCCEEDED", graph(*ALL))]
    assert UNSCHEDULABLE in tapeline(*arguments(backend))[1]


def _failed(**more: Any) -> Graph:
    return graph("ingest", "features").task("train", **more).omitted("export", "evaluate", "gate", "report")


FAILED = ("Failed", "main: Error (exit code 1)")
GLOG = "I1127 03:00:00.000000      16 launcher_v2.go:197] publish success\n"
AT = "F1127 03:00:01.000000      16 main.go:58] "
FATAL = f"{AT}failed to execute component: exit status 1\n"
REASONS: dict[str, tuple[Graph, dict[str, str], str]] = {
    "tapeline refused": (
        graph("ingest").task("features", FAILED),
        {"features": f"{GLOG}  features\ntapeline: dataset.path=s3://b: is empty; give another\n{FATAL}"},
        "features: dataset.path=s3://b: is empty; give another",
    ),
    "a program that died": (
        graph("ingest").task("features", FAILED),
        {"features": f"{GLOG}Traceback:\nMemoryError: 3 GiB\n{FATAL}"},
        "features: MemoryError: 3 GiB",
    ),
    "no memory": (
        graph("ingest", "features").task("train", ("Failed", "main: OOMKilled (exit code 137)")),
        {"train": "  step 100\n"},
        "train: main: OOMKilled (exit code 137); its memory is hw.limits.memory",
    ),
    "a pod that is gone": (
        graph("ingest").task("features", ("Error", "pod deleted")), {}, "features: pod deleted",
    ),
    "a driver without rights": (
        Graph().task("ingest", driver=FAILED),
        {"ingest-driver": f"{AT}KFP driver: configmaps is forbidden\n"},
        "ingest: KFP driver: configmaps is forbidden",
    ),
    "no account": (
        Graph(nodes={}).task("root", driver=("Error", NOT_FOUND)), {}, f"root-driver: {NOT_FOUND}",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("made", "logs", "says"), REASONS.values(), ids=REASONS.keys())
def test_why_a_step_failed_is_said(
    tapeline: Tapeline, backend: Backend, folder: Path, made: Graph, logs: dict[str, str], says: str
) -> None:
    backend.looks = [PENDING, Look("FAILED", made.omitted("evaluate", "gate"))]
    backend.logs = {made.pod(name): text for name, text in logs.items()}
    code, out, err = tapeline(*arguments(backend))
    assert code == 2
    assert err.startswith(f"tapeline: {RUN}: {says}")
    assert f"see {backend.address}/#/runs/details/" in err
    assert [line[1] for line in listed(out)].count("failed") == 1
    assert not {"evaluate", "gate"} & {line[0] for line in listed(out)}, "they never ran"
    assert list((folder / "runs").iterdir()) == []


def test_the_log_of_a_pod_that_is_gone_comes_from_the_artifacts(
    tapeline: Tapeline, backend: Backend, folder: Path
) -> None:
    backend.looks = [PENDING, Look("FAILED", graph("ingest").task("features", FAILED))]
    for number in range(2):
        path = folder / "kept" / "snp-flat-cpu" / RUN / "features" / "77aa" / f"executor-logs-{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"tapeline: raw: try {number} went wrong; look again\n")
        os.utime(path, (number + 1, number + 1))
    assert "features: raw: try 1 went wrong; look again;" in tapeline(*arguments(backend))[2]


def test_a_run_that_ended_before_its_tasks_names_the_step(tapeline: Tapeline, backend: Backend) -> None:
    failed, before = graph("ingest").task("features", FAILED), graph("ingest").task("features", ("Running", ""))
    backend.answers = {"/apis/v1beta1/": [(404, {"message": "Not Found"})] * 9}
    backend.looks = [PENDING, *[Look("FAILED", failed, before)] * 3, Look("FAILED", failed)]
    code, out, err = tapeline(*arguments(backend))
    assert code == 2
    assert [line[:2] for line in listed(out)] == [["ingest", "ran"], ["features", "failed"]]
    assert err.startswith(f"tapeline: {RUN}: features: ")
    backend.looks = [PENDING, *[Look("SUCCEEDED", graph(*ALL), before)] * 3, Look("SUCCEEDED", graph(*ALL))]
    assert [line[0] for line in listed(tapeline(*arguments(backend))[1])] == list(ALL)


def test_an_end_whose_tasks_are_never_stored_is_an_end(
    tapeline: Tapeline, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "LOOKS", 2)
    backend.looks = [PENDING, Look("FAILED")]
    code, _, err = tapeline(*arguments(backend))
    assert code == 2
    assert f"{RUN}: it failed; see" in err


def test_attempts_and_results_from_the_cache_are_shown(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    made = Graph().task("ingest", cached=True).task("features", ("Error", "pod deleted"), FINE)
    for name in ALL[2:]:
        made.task(name)
    backend.looks = [PENDING, Look("SUCCEEDED", made)]
    code, out, _ = tapeline(*arguments(backend))
    assert code == 0
    assert [" ".join(line) for line in listed(out)][:3] == [
        "ingest cached",
        "features again try 1 was lost: pod deleted",
        "features ran 12.0 s",
    ]
    assert steps(folder)["ingest"] == "cached"


def test_a_look_in_vain_is_no_end(tapeline: Tapeline, backend: Backend) -> None:
    backend.answers = {f"v2beta1/runs/{RUN}": [(503, {"message": "starting"})] * 2}
    assert tapeline(*arguments(backend))[0] == 0


def test_a_lost_connection_names_what_follows_the_run(tapeline: Tapeline, backend: Backend) -> None:
    backend.answers = {f"v2beta1/runs/{RUN}": [(503, {"message": "starting"})] * place.TRIES}
    code, _, err = tapeline(*arguments(backend))
    assert code == 2
    assert f"{RUN}: was started, and may still run; the same command with run={RUN} goes on with it" in err


def test_an_answer_that_is_lost_may_have_started_a_run(tapeline: Tapeline, backend: Backend) -> None:
    backend.answers = {"/v2beta1/runs": [(502, {"message": "bad gateway"})]}
    code, _, err = tapeline(*arguments(backend))
    assert code == 2
    assert f"look at {backend.address}/#/runs before you submit again" in err


def test_a_run_that_does_not_exist(tapeline: Tapeline, backend: Backend) -> None:
    code, _, err = tapeline(*arguments(backend, "run=0000"))
    assert code == 2
    assert err.startswith("tapeline: run=0000: KFP has no such run; write the ID that make submit printed\n")


def test_a_run_that_is_stopped_ends_in_the_folder_in_which_it_began(
    tapeline: Tapeline, backend: Backend, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.looks = [PENDING, Look("RUNNING", graph("ingest").task("features", ("Running", "")))]

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", interrupt)
        with pytest.raises(SystemExit) as ended:
            tapeline(*arguments(backend))
    assert ended.value.code == 130
    (begun,) = (folder / "runs").iterdir()
    assert json.loads((begun / "run.json").read_text())["state"] == "stopped"
    code, out, _ = tapeline(*arguments(backend, f"run={RUN}", "stop=true"))
    assert (code, f"{RUN}: stops" in out) == (0, True)
    assert backend.asked[-1] == f"/apis/v2beta1/runs/{RUN}:terminate"
    code, _, err = tapeline(*arguments(backend, f"run={RUN}"))
    assert (code, len(backend.created)) == (2, 1)
    assert f"{RUN}: features: the run was stopped; see" in err


def test_a_run_goes_on_in_the_folder_in_which_it_began(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    backend.answers = {f"v2beta1/runs/{RUN}": [(503, {"message": "starting"})] * place.TRIES}
    assert tapeline(*arguments(backend))[0] == 2
    (begun,) = (folder / "runs").iterdir()
    assert tapeline(*arguments(backend, f"run={RUN}"))[0] == 0
    assert {each.name for each in (folder / "runs").iterdir()} == {begun.name, "latest"}
    assert json.loads((begun / "metrics.json").read_text()) == METRICS
    assert len(backend.created) == 1


def test_a_run_that_someone_stopped(tapeline: Tapeline, backend: Backend) -> None:
    made = graph("ingest").task("features", ("Failed", "Pod was active longer than the specified deadline"))
    made.stopped = True
    backend.looks = [PENDING, Look("FAILED", made)]
    assert f"{RUN}: features: the run was stopped; see" in tapeline(*arguments(backend))[2]
