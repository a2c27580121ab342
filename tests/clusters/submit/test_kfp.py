"""make submit target=kfp against a loopback server that answers as KFP 2.17 does, omissions included."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tapeline.clusters.kfp import api
from tests.clusters.submit.kfp_api import RUN, Backend, Look
from tests.clusters.submit.kfp_runs import ALL, METRICS, PUBLISHED, RAN, REPORT, arguments, graph, keep, listed
from tests.clusters.submit.kfp_workflow import Cache
from tests.conftest import Tapeline, steps
from tests.metrics_json import sample


def test_a_run_is_handed_over_followed_and_fetched(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    code, out, err = tapeline(*arguments(backend, "model.steps=7", "dataset.seed=3"))
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
    assert tapeline(*arguments(backend, "model.steps=7", "dataset.seed=3"))[0] == 0
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
    code, out, _ = tapeline(*arguments(backend, "target.artifacts=null", "check=true"))
    assert (code, backend.created, (folder / "runs").exists()) == (0, [], False)
    assert (
        out.splitlines()[0] == "kfp: namespace kubeflow (this KFP runs everything in its own), account pipeline-runner"
    )
    assert "kfp: not checked whether namespace kubeflow has serviceaccount pipeline-runner" in out
    assert "kfp: target.artifacts is not set" in out


def test_an_account_of_ones_own_goes_with_the_run(tapeline: Tapeline, backend: Backend) -> None:
    code, out, _ = tapeline(*arguments(backend, "target.account=tapeline-publisher"))
    assert (code, backend.created[0].service_account) == (0, "tapeline-publisher")
    assert "account tapeline-publisher" in out


def test_many_users_have_namespaces_and_one_experiment_is_enough(tapeline: Tapeline, backend: Backend) -> None:
    backend.multi_user = True
    for _ in range(2):
        code, out, _ = tapeline(*arguments(backend, "target.namespace=ours"))
        assert code == 0
        assert "namespace ours (a profile, since this KFP has many users), account default-editor" in out
    (experiment,) = backend.experiments
    assert experiment.namespace == "ours"
    assert {each.experiment_id for each in backend.created} == {experiment.experiment_id}


def test_a_rejected_model_is_a_result(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    backend.looks = [Look("SUCCEEDED", graph(*ALL[:-1]).rejected())]
    for path in (folder / "kept").rglob("metrics"):
        path.write_text(json.dumps(sample(accepted=False, reason="it is bad", config=RAN)))
    code, out, _ = tapeline(*arguments(backend))
    assert code == 0
    assert "rejected: it is bad" in out
    assert "publish    skipped accepted is not true" in out
    assert steps(folder)["publish"] == "skipped"
    assert not (folder / "runs" / "latest" / "published.json").exists()


def test_a_run_that_was_begun_is_followed(tapeline: Tapeline, backend: Backend) -> None:
    assert tapeline(*arguments(backend, f"run={RUN}"))[0] == 0
    assert backend.created == []


def test_one_pod_for_all_up_to_the_report(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    backend.looks = [Look("SUCCEEDED", graph("run", "publish"))]
    for each in ("gate", "report"):
        (folder / "kept" / "snp-flat-cpu" / RUN / each).rename(folder / "kept" / each)
    for each, name in (("gate", "metrics"), ("report", "report")):
        path = folder / "kept" / "snp-flat-cpu" / RUN / "run" / "8d1b" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (folder / "kept" / each / "8d1b" / name).rename(path)
    code, out, _ = tapeline(*arguments(backend, "target.granularity=fused"))
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
    assert tapeline(*arguments(backend))[0] == 0
    assert json.loads((folder / "runs" / "latest" / "metrics.json").read_text()) == newer


def test_a_place_of_artifacts_that_cannot_be_read_starts_nothing(tapeline: Tapeline, backend: Backend) -> None:
    code, _, err = tapeline(*arguments(backend, "target.artifacts=file:///not/there"))
    assert (code, len(err.splitlines()), backend.created) == (2, 1, [])
    assert err.startswith("tapeline: target.artifacts=file:///not/there: cannot be read (")
    code, _, err = tapeline(*arguments(backend, "target.artifacts=minio://mlpipeline/v2/artifacts"))
    assert (code, backend.created) == (2, [])
    assert "s3://mlpipeline/v2/artifacts" in err


def test_a_run_whose_files_are_elsewhere_is_said(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    (folder / "other").mkdir()
    code, _, err = tapeline(*arguments(backend, f"target.artifacts=file://{folder}/other"))
    assert code == 2
    assert f"/other: has no metrics of {RUN}; set it to the root of KFP's pipelines" in err
    assert f"the same command with run={RUN} goes on with it" in err


def test_without_the_place_of_artifacts_the_decision_is_said(
    tapeline: Tapeline, backend: Backend, folder: Path
) -> None:
    code, _, err = tapeline(*arguments(backend, "target.artifacts=null"))
    assert code == 2
    assert err.startswith(
        f"tapeline: {RUN}: it succeeded, and the model was accepted, but KFP returns no files; set "
        f"target.artifacts to the root of its artifacts, for example s3://mlpipeline/v2/artifacts, and add run={RUN}\n"
    )
    assert not [each for each in backend.asked if ":read" in each], "KFP 2.17 returns none of them"


# The cache


def test_another_threshold_runs_the_gate_and_what_it_decides(tapeline: Tapeline, backend: Backend) -> None:
    backend.cache = Cache()

    def how(*more: str) -> dict[str, str]:
        code, out, _ = tapeline(*arguments(backend, *more))
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
    code, out, err = tapeline(*arguments(backend))
    assert code == 0
    assert backend.tokens == {"Bearer s3cret"}
    assert "s3cret" not in out + err
    monkeypatch.setenv(api.TOKEN, str(folder / "none"))
    assert f"{api.TOKEN}={folder}/none: no such file; write a token into it" in tapeline(*arguments(backend))[2]


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
    code, _, err = tapeline(*arguments(backend))
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
    code, _, err = tapeline(*arguments(backend, "dataset.source=csv", "dataset.path='s3://b/a b.csv'"))
    assert code == 2
    assert "a submitted parameter may contain only letters, digits" in err
    assert backend.created == []
