"""make submit target=kfp against a loopback server that answers as KFP 2.17 does, omissions included."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tapeline.clusters import kubectl
from tapeline.clusters.kfp import api
from tapeline.clusters.kfp import submit as place
from tapeline.commands.submit import follow as submit
from tapeline.errors import refuse
from tests.clusters.submit.kfp_api import RUN, Backend, Look, served
from tests.clusters.submit.kfp_workflow import FINE, Cache, Graph
from tests.conftest import Tapeline, steps
from tests.metrics_json import sample

RAN = {"dataset": {"name": "indices"}, "gate": {"metric": "accuracy"}}
METRICS = sample(reason="it is good", config=RAN)
REPORT = "<html>the report</html>"
PUBLISHED: dict[str, Any] = {"sentence": "published: indices version 7 is live", "name": "indices", "number": 7}
ALL = ("ingest", "features", "train", "export", "evaluate", "gate", "report", "publish")
PENDING = Look("PENDING")


def graph(*names: str) -> Graph:
    """A workflow with these tasks, which succeeded."""
    made = Graph()
    for name in names:
        made.task(name)
    return made


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*words: str, **_: Any) -> str:
        raise refuse("kubectl", "is not installed", "install it")

    monkeypatch.setattr(kubectl, "run", none)
    monkeypatch.setattr(submit, "SECONDS", 0)
    monkeypatch.setattr(place, "SECONDS", 0)
    monkeypatch.delenv(api.TOKEN, raising=False)


@pytest.fixture
def backend(folder: Path) -> Iterator[Backend]:
    """One run that comes to be accepted, and its artifacts in the folder `kept`."""
    keep(folder)
    looks = [
        PENDING,
        Look("RUNNING", graph("ingest").task("features", ("Running", ""))),
        Look("SUCCEEDED", graph(*ALL)),
    ]
    with served(Backend(looks)) as made:
        yield made


def keep(folder: Path, pipeline: str = "snp-flat-cpu", number: str = "8d1b", metrics: Any = METRICS) -> None:
    """Write artifacts where KFP's launcher does."""
    for name, content in (("gate/{}/metrics", json.dumps(metrics)), ("report/{}/report", REPORT),
                          ("publish/{}/published", json.dumps(PUBLISHED))):  # fmt: skip
        path = folder / "kept" / pipeline / RUN / name.format(number)
        path.parent.mkdir(parents=True)
        path.write_text(content)


def _arguments(backend: Backend, *more: str) -> list[str]:
    there = ["target=kfp", f"target.address={backend.address}", f"target.artifacts=file://{Path.cwd()}/kept"]
    return ["submit", *there, "experiment=snp_flat", *more]


def listed(out: str) -> list[list[str]]:
    """The lines about tasks, each as its words."""
    return [line.split() for line in out.splitlines() if line.startswith("  ")]


def test_a_run_is_handed_over_followed_and_fetched(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    code, out, err = tapeline(*_arguments(backend, "model.steps=7", "dataset.seed=3"))
    assert (code, err) == (0, "")
    assert f"kfp: {RUN}" in out.splitlines()
    assert "kfp: namespace kubeflow (this KFP runs everything in its own), account pipeline-runner" in out
    assert [line[:2] for line in listed(out)] == [[name, "ran"] for name in ALL]
    assert listed(out)[0][2:] == ["12.0", "s"]
    assert "accepted: it is good" in out
    assert PUBLISHED["sentence"] in out
    latest = folder / "runs" / "latest"
    assert json.loads((latest / "metrics.json").read_text()) == METRICS
    assert (latest / "report.html").read_text() == REPORT
    assert json.loads((latest / "run.json").read_text())["submitted"] == RUN
    assert set(steps(folder).values()) == {"ran"}


def test_kfp_gets_the_pipeline_and_what_differs_as_parameters(tapeline: Tapeline, backend: Backend) -> None:
    assert tapeline(*_arguments(backend, "model.steps=7", "dataset.seed=3"))[0] == 0
    (run,) = backend.created
    assert run.display_name == "snp-flat-cpu"
    assert run.runtime_config == {"parameters": {"model_steps": "7"}}
    assert run.service_account is None, "KFP then takes its own, which a stock KFP has"
    containers = run.pipeline_spec["pipeline_spec"]["deploymentSpec"]["executors"]
    assert "dataset.seed=3" in containers["exec-features"]["container"]["args"]
    assert "model.steps=7" not in containers["exec-train"]["container"]["args"]
    assert set(run.pipeline_spec["platform_spec"]) == {"platforms"}
    assert [each.display_name for each in backend.experiments] == ["tapeline"]
    assert backend.tokens == {""}


def test_what_a_run_would_lack_is_said_without_one(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    code, out, _ = tapeline(*_arguments(backend, "target.artifacts=null", "check=true"))
    assert (code, backend.created, (folder / "runs").exists()) == (0, [], False)
    assert (
        out.splitlines()[0] == "kfp: namespace kubeflow (this KFP runs everything in its own), account pipeline-runner"
    )
    assert "kfp: not checked whether namespace kubeflow has serviceaccount pipeline-runner" in out
    assert "kfp: target.artifacts is not set" in out


def test_an_account_of_ones_own_goes_with_the_run(tapeline: Tapeline, backend: Backend) -> None:
    code, out, _ = tapeline(*_arguments(backend, "target.account=tapeline-publisher"))
    assert (code, backend.created[0].service_account) == (0, "tapeline-publisher")
    assert "account tapeline-publisher" in out


def test_many_users_have_namespaces_and_one_experiment_is_enough(tapeline: Tapeline, backend: Backend) -> None:
    backend.multi_user = True
    for _ in range(2):
        code, out, _ = tapeline(*_arguments(backend, "target.namespace=ours"))
        assert code == 0
        assert "namespace ours (a profile, since this KFP has many users), account default-editor" in out
    (experiment,) = backend.experiments
    assert experiment.namespace == "ours"
    assert {each.experiment_id for each in backend.created} == {experiment.experiment_id}


def test_a_rejected_model_is_a_result(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    backend.looks = [Look("SUCCEEDED", graph(*ALL[:-1]).rejected())]
    for path in (folder / "kept").rglob("metrics"):
        path.write_text(json.dumps(sample(accepted=False, reason="it is bad", config=RAN)))
    code, out, _ = tapeline(*_arguments(backend))
    assert code == 0
    assert "rejected: it is bad" in out
    assert "publish    skipped accepted is not true" in out
    assert steps(folder)["publish"] == "skipped"
    assert not (folder / "runs" / "latest" / "published.json").exists()


def test_a_run_that_was_begun_is_followed(tapeline: Tapeline, backend: Backend) -> None:
    assert tapeline(*_arguments(backend, f"run={RUN}"))[0] == 0
    assert backend.created == []


def test_one_pod_for_all_up_to_the_report(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    backend.looks = [Look("SUCCEEDED", graph("run", "publish"))]
    for each in ("gate", "report"):
        (folder / "kept" / "snp-flat-cpu" / RUN / each).rename(folder / "kept" / each)
    for each, name in (("gate", "metrics"), ("report", "report")):
        path = folder / "kept" / "snp-flat-cpu" / RUN / "run" / "8d1b" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (folder / "kept" / each / "8d1b" / name).rename(path)
    code, out, _ = tapeline(*_arguments(backend, "target.granularity=fused"))
    assert code == 0
    assert [line[:2] for line in listed(out)] == [["run", "ran"], ["publish", "ran"]]
    (run,) = backend.created
    assert set(run.pipeline_spec["pipeline_spec"]["deploymentSpec"]["executors"]) == {"exec-run", "exec-publish"}


# Artifacts


def test_files_are_found_by_the_run_and_the_newest_task_counts(
    tapeline: Tapeline, backend: Backend, folder: Path
) -> None:
    newer = sample(reason="it is newer", config=RAN)
    keep(folder, pipeline="of-another-name", number="1a2b", metrics=newer)
    for path in (folder / "kept" / "snp-flat-cpu").rglob("metrics"):
        os.utime(path, (1, 1))
    assert tapeline(*_arguments(backend))[0] == 0
    assert json.loads((folder / "runs" / "latest" / "metrics.json").read_text()) == newer


def test_a_place_of_artifacts_that_cannot_be_read_starts_nothing(tapeline: Tapeline, backend: Backend) -> None:
    code, _, err = tapeline(*_arguments(backend, "target.artifacts=file:///not/there"))
    assert (code, len(err.splitlines()), backend.created) == (2, 1, [])
    assert err.startswith("tapeline: target.artifacts=file:///not/there: cannot be read (")
    code, _, err = tapeline(*_arguments(backend, "target.artifacts=minio://mlpipeline/v2/artifacts"))
    assert (code, backend.created) == (2, [])
    assert "s3://mlpipeline/v2/artifacts" in err


def test_a_run_whose_files_are_elsewhere_is_said(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    (folder / "other").mkdir()
    code, _, err = tapeline(*_arguments(backend, f"target.artifacts=file://{folder}/other"))
    assert code == 2
    assert f"/other: has no metrics of {RUN}; set it to the root of KFP's pipelines" in err
    assert f"the same command with run={RUN} goes on with it" in err


def test_without_the_place_of_artifacts_the_decision_is_said(
    tapeline: Tapeline, backend: Backend, folder: Path
) -> None:
    code, _, err = tapeline(*_arguments(backend, "target.artifacts=null"))
    assert code == 2
    assert err.startswith(
        f"tapeline: {RUN}: it succeeded, and the model was accepted, but KFP returns no files; set "
        f"target.artifacts to the root of its artifacts, for example s3://mlpipeline/v2/artifacts, and add run={RUN}\n"
    )
    assert not [each for each in backend.asked if ":read" in each], "KFP 2.17 returns none of them"


# Waiting and failing

UNSCHEDULABLE = "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."
NOT_FOUND = 'pods "x" is forbidden: error looking up service account kubeflow/mine: serviceaccount "mine" not found'


def test_why_a_step_waits_is_said(tapeline: Tapeline, backend: Backend) -> None:
    pull = Graph().task("ingest", ("Pending", "ImagePullBackOff: Back-off pulling image x"))
    backend.looks = [PENDING, Look("RUNNING", Graph().task("ingest", driver=("Pending", UNSCHEDULABLE))),
                     Look("RUNNING", pull), Look("SUCCEEDED", graph(*ALL))]  # fmt: skip
    code, out, _ = tapeline(*_arguments(backend))
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
    assert UNSCHEDULABLE not in tapeline(*_arguments(backend))[1]
    monkeypatch.setattr(place, "STILL", -1.0)
    backend.looks = [PENDING, Look("RUNNING", quiet), Look("RUNNING", said), Look("SUCCEEDED", graph(*ALL))]
    assert UNSCHEDULABLE in tapeline(*_arguments(backend))[1]


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
    code, out, err = tapeline(*_arguments(backend))
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
    assert "features: raw: try 1 went wrong; look again;" in tapeline(*_arguments(backend))[2]


def test_a_run_that_ended_before_its_tasks_names_the_step(tapeline: Tapeline, backend: Backend) -> None:
    failed, before = graph("ingest").task("features", FAILED), graph("ingest").task("features", ("Running", ""))
    backend.answers = {"/apis/v1beta1/": [(404, {"message": "Not Found"})] * 9}
    backend.looks = [PENDING, *[Look("FAILED", failed, before)] * 3, Look("FAILED", failed)]
    code, out, err = tapeline(*_arguments(backend))
    assert code == 2
    assert [line[:2] for line in listed(out)] == [["ingest", "ran"], ["features", "failed"]]
    assert err.startswith(f"tapeline: {RUN}: features: ")
    backend.looks = [PENDING, *[Look("SUCCEEDED", graph(*ALL), before)] * 3, Look("SUCCEEDED", graph(*ALL))]
    assert [line[0] for line in listed(tapeline(*_arguments(backend))[1])] == list(ALL)


def test_an_end_whose_tasks_are_never_stored_is_an_end(
    tapeline: Tapeline, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "LOOKS", 2)
    backend.looks = [PENDING, Look("FAILED")]
    code, _, err = tapeline(*_arguments(backend))
    assert code == 2
    assert f"{RUN}: it failed; see" in err


def test_attempts_and_results_from_the_cache_are_shown(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    made = Graph().task("ingest", cached=True).task("features", ("Error", "pod deleted"), FINE)
    for name in ALL[2:]:
        made.task(name)
    backend.looks = [PENDING, Look("SUCCEEDED", made)]
    code, out, _ = tapeline(*_arguments(backend))
    assert code == 0
    assert [" ".join(line) for line in listed(out)][:3] == [
        "ingest cached",
        "features again try 1 was lost: pod deleted",
        "features ran 12.0 s",
    ]
    assert steps(folder)["ingest"] == "cached"


def test_a_look_in_vain_is_no_end(tapeline: Tapeline, backend: Backend) -> None:
    backend.answers = {f"v2beta1/runs/{RUN}": [(503, {"message": "starting"})] * 2}
    assert tapeline(*_arguments(backend))[0] == 0


def test_a_lost_connection_names_what_follows_the_run(tapeline: Tapeline, backend: Backend) -> None:
    backend.answers = {f"v2beta1/runs/{RUN}": [(503, {"message": "starting"})] * place.TRIES}
    code, _, err = tapeline(*_arguments(backend))
    assert code == 2
    assert f"{RUN}: was begun, and may still run; the same command with run={RUN} goes on with it" in err


def test_an_answer_that_is_lost_may_have_started_a_run(tapeline: Tapeline, backend: Backend) -> None:
    backend.answers = {"/v2beta1/runs": [(502, {"message": "bad gateway"})]}
    code, _, err = tapeline(*_arguments(backend))
    assert code == 2
    assert f"look at {backend.address}/#/runs before you submit again" in err


def test_a_run_that_does_not_exist(tapeline: Tapeline, backend: Backend) -> None:
    code, _, err = tapeline(*_arguments(backend, "run=0000"))
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
            tapeline(*_arguments(backend))
    assert ended.value.code == 130
    (begun,) = (folder / "runs").iterdir()
    assert json.loads((begun / "run.json").read_text())["state"] == "stopped"
    code, out, _ = tapeline(*_arguments(backend, f"run={RUN}", "stop=true"))
    assert (code, f"{RUN}: stops" in out) == (0, True)
    assert backend.asked[-1] == f"/apis/v2beta1/runs/{RUN}:terminate"
    code, _, err = tapeline(*_arguments(backend, f"run={RUN}"))
    assert (code, len(backend.created)) == (2, 1)
    assert f"{RUN}: features: the run was stopped; see" in err


def test_a_run_goes_on_in_the_folder_in_which_it_began(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    backend.answers = {f"v2beta1/runs/{RUN}": [(503, {"message": "starting"})] * place.TRIES}
    assert tapeline(*_arguments(backend))[0] == 2
    (begun,) = (folder / "runs").iterdir()
    assert tapeline(*_arguments(backend, f"run={RUN}"))[0] == 0
    assert {each.name for each in (folder / "runs").iterdir()} == {begun.name, "latest"}
    assert json.loads((begun / "metrics.json").read_text()) == METRICS
    assert len(backend.created) == 1


def test_a_run_that_someone_stopped(tapeline: Tapeline, backend: Backend) -> None:
    made = graph("ingest").task("features", ("Failed", "Pod was active longer than the specified deadline"))
    made.stopped = True
    backend.looks = [PENDING, Look("FAILED", made)]
    assert f"{RUN}: features: the run was stopped; see" in tapeline(*_arguments(backend))[2]


# The cache


def test_another_threshold_runs_the_gate_and_what_it_decides(tapeline: Tapeline, backend: Backend) -> None:
    backend.cache = Cache()

    def how(*more: str) -> dict[str, str]:
        code, out, _ = tapeline(*_arguments(backend, *more))
        assert code == 0
        return {line[0]: line[1] for line in listed(out)}

    assert set(how("gate.threshold=0.6").values()) == {"ran"}
    again = how("gate.threshold=0.61")
    assert [name for name, each in again.items() if each == "ran"] == ["gate", "report", "publish"]
    seed = how("gate.threshold=0.61", "seed=4")
    assert [name for name, each in seed.items() if each == "cached"] == ["ingest", "features"]


def test_a_token_is_sent(tapeline: Tapeline, backend: Backend, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "token").write_text("s3cret")
    monkeypatch.setenv(api.TOKEN, str(folder / "token"))
    code, out, err = tapeline(*_arguments(backend))
    assert code == 0
    assert backend.tokens == {"Bearer s3cret"}
    assert "s3cret" not in out + err
    monkeypatch.setenv(api.TOKEN, str(folder / "none"))
    assert f"{api.TOKEN}={folder}/none: no such file; write a token into it" in tapeline(*_arguments(backend))[2]


NOES: dict[str, tuple[dict[str, list[tuple[int, Any]]], str]] = {
    "not known": (
        {"/healthz": [(401, {"message": "who are you?"})]},
        "denies access (401: who are you?); set KF_",
    ),
    "not allowed": ({"/runs": [(403, {"error": "no rights"})]}, "denies access (403: no rights)"),
    "a wrong pipeline": (
        {"/runs": [(400, {"message": "Failed to create a run:\n unknown field"})]},
        "refuses the request (Failed to create a run: unknown field); check its version, which should be 2.17",
    ),
    "another server": (
        {"/healthz": [(200, "<html>login</html>")]},
        "is not the API of Kubeflow Pipelines, or needs a login",
    ),
    "no such API": ({"/healthz": [(404, "")]}, "has no such resource (Not Found)"),
    "broken": ({"/experiments": [(500, "<html>")]}, "failed (500: Internal Server Error); try again"),
}


@pytest.mark.parametrize(("answers", "says"), NOES.values(), ids=NOES.keys())
def test_a_no_is_one_sentence(
    tapeline: Tapeline, backend: Backend, folder: Path, answers: dict[str, list[tuple[int, Any]]], says: str
) -> None:
    backend.answers = answers
    code, _, err = tapeline(*_arguments(backend))
    assert (code, len(err.splitlines())) == (2, 1)
    assert err.startswith(f"tapeline: target.address={backend.address}: {says}")
    assert not (folder / "runs").exists()


def test_nobody_there_is_one_sentence(tapeline: Tapeline) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        code, _, err = tapeline("submit", "target=kfp", f"target.address={address}")
    assert (code, len(err.splitlines())) == (2, 1)
    assert err.startswith(f"tapeline: target.address={address}: does not answer (")


def test_a_parameter_that_is_not_plain_runs_nothing(tapeline: Tapeline, backend: Backend) -> None:
    code, _, err = tapeline(*_arguments(backend, "dataset.source=csv", "dataset.path='s3://b/a b.csv'"))
    assert code == 2
    assert "a submitted parameter may contain only letters, digits" in err
    assert backend.created == []
