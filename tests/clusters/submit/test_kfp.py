"""make submit target=kfp against a loopback server that speaks the API in its own models."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tapeline.clusters.kfp import submit as place
from tapeline.commands.submit import follow as submit
from tests.clusters.submit.kfp_api import RUN, Backend, served
from tests.conftest import Tapeline, steps
from tests.metrics_json import sample

METRICS = sample(reason="it is good")
REPORT = b"<html>the report</html>"
PUBLISHED: dict[str, Any] = {"sentence": "published: indices version 7 is live", "name": "indices", "number": 7}
ALL = ("ingest", "features", "train", "export", "evaluate", "gate", "report", "publish")
ACCEPTED = ("SUCCEEDED", {**dict.fromkeys(ALL, "SUCCEEDED"), "condition-1": "SUCCEEDED"})
REJECTED = ("SUCCEEDED", {**dict.fromkeys(ALL[:-1], "SUCCEEDED"), "condition-1": "SKIPPED"})


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "SECONDS", 0)
    monkeypatch.setattr(place, "SECONDS", 0)
    monkeypatch.delenv(place.TOKEN, raising=False)


@pytest.fixture
def backend() -> Iterator[Backend]:
    """One run that comes to be accepted."""
    looks: list[tuple[str, dict[str, str]]] = [
        ("PENDING", {}),
        ("RUNNING", {"ingest": "SUCCEEDED", "features": "RUNNING", "features-driver": "SUCCEEDED"}),
        ACCEPTED,
    ]
    files = {
        ("run-gate", "metrics"): json.dumps(METRICS).encode(),
        ("run-report", "report"): REPORT,
        ("run-publish", "published"): json.dumps(PUBLISHED).encode(),
    }
    with served(Backend(looks, files)) as made:
        yield made


def _arguments(backend: Backend, *more: str) -> list[str]:
    return ["submit", "target=kfp", f"target.address={backend.address}", "experiment=snp_flat", *more]


def test_a_run_is_handed_over_followed_and_fetched(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    code, out, err = tapeline(*_arguments(backend, "model.steps=7", "dataset.seed=3"))
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["kfp:", RUN]
    assert [line[:2] for line in lines[1:9]] == [[name, "ran"] for name in ALL]
    assert lines[1][2:] == ["12.0", "s"]
    assert "accepted: it is good" in out
    assert PUBLISHED["sentence"] in out
    latest = folder / "runs" / "latest"
    assert json.loads((latest / "metrics.json").read_text()) == METRICS
    assert (latest / "report.html").read_bytes() == REPORT
    assert json.loads((latest / "run.json").read_text())["submitted"] == RUN
    assert set(steps(folder).values()) == {"ran"}


def test_kfp_gets_the_pipeline_and_what_differs_as_parameters(tapeline: Tapeline, backend: Backend) -> None:
    assert tapeline(*_arguments(backend, "model.steps=7", "dataset.seed=3"))[0] == 0
    (run,) = backend.created
    assert run.display_name == "snp-flat-cpu"
    assert run.runtime_config == {"parameters": {"model_steps": "7"}}
    assert run.service_account == "tapeline-publisher"
    containers = run.pipeline_spec["pipeline_spec"]["deploymentSpec"]["executors"]
    assert "dataset.seed=3" in containers["exec-features"]["container"]["args"]
    assert "model.steps=7" not in containers["exec-train"]["container"]["args"]
    assert set(run.pipeline_spec["platform_spec"]) == {"platforms"}
    assert [each.display_name for each in backend.experiments] == ["tapeline"]
    assert backend.tokens == {""}


def test_many_users_have_namespaces_and_one_experiment_is_enough(tapeline: Tapeline, backend: Backend) -> None:
    backend.multi_user = True
    for _ in range(2):
        assert tapeline(*_arguments(backend, "target.namespace=ours"))[0] == 0
    (experiment,) = backend.experiments
    assert experiment.namespace == "ours"
    assert {each.experiment_id for each in backend.created} == {experiment.experiment_id}


def test_a_rejected_model_is_a_result(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    backend.looks = [REJECTED]
    rejected = sample(accepted=False, reason="it is bad")
    backend.files["run-gate", "metrics"] = json.dumps(rejected).encode()
    code, out, _ = tapeline(*_arguments(backend))
    assert code == 0
    assert "rejected: it is bad" in out
    assert "publish    skipped accepted is not true" in out
    assert steps(folder)["publish"] == "skipped"
    assert not (folder / "runs" / "latest" / "published.json").exists()


def test_a_run_that_was_begun_is_followed(tapeline: Tapeline, backend: Backend) -> None:
    assert tapeline(*_arguments(backend, f"run={RUN}"))[0] == 0
    assert backend.created == []


def test_files_come_from_where_kfp_keeps_them(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    backend.files.clear()
    for name, artifact, content in (
        ("gate", "metrics", METRICS),
        ("report", "report", 1),
        ("publish", "published", PUBLISHED),
    ):
        path = folder / "kept" / "snp-flat-cpu" / RUN / name / "8d1b" / artifact
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(content))
    assert tapeline(*_arguments(backend, f"target.artifacts=file://{folder}/kept"))[0] == 0
    assert json.loads((folder / "runs" / "latest" / "metrics.json").read_text()) == METRICS
    code, _, err = tapeline(*_arguments(backend, f"target.artifacts=file://{folder}/other"))
    assert (code, len(err.splitlines())) == (2, 1)
    assert f"/other: has no metrics of {RUN}; set it to the root of KFP's pipelines" in err


def test_a_kfp_that_hands_out_no_files_still_tells_the_decision(
    tapeline: Tapeline, backend: Backend, folder: Path
) -> None:
    backend.files.clear()
    code, _, err = tapeline(*_arguments(backend))
    assert code == 2
    assert err == (
        f"tapeline: {RUN}: it succeeded, and the model was accepted, but this KFP does not return files; set "
        f"target.artifacts to the root of its artifacts, for example s3://mlpipeline/v2/artifacts, and add run={RUN}\n"
    )
    assert list((folder / "runs").iterdir()) == []


def test_a_step_that_failed_is_named(tapeline: Tapeline, backend: Backend, folder: Path) -> None:
    backend.looks = [("FAILED", {"ingest": "FAILED"})]
    code, out, err = tapeline(*_arguments(backend))
    assert code == 2
    assert "ingest     failed" in out
    assert err.startswith(f"tapeline: {RUN}: ingest: tapeline: no such file; see {backend.address}/#/runs/details/")
    assert list((folder / "runs").iterdir()) == []


def test_a_look_in_vain_is_no_end(tapeline: Tapeline, backend: Backend) -> None:
    backend.answers = {f"/runs/{RUN}": [(503, {"message": "starting"})] * 2}
    assert tapeline(*_arguments(backend))[0] == 0


def test_a_token_is_sent(tapeline: Tapeline, backend: Backend, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "token").write_text("s3cret")
    monkeypatch.setenv(place.TOKEN, str(folder / "token"))
    code, out, err = tapeline(*_arguments(backend))
    assert code == 0
    assert backend.tokens == {"Bearer s3cret"}
    assert "s3cret" not in out + err
    monkeypatch.setenv(place.TOKEN, str(folder / "none"))
    assert f"{place.TOKEN}={folder}/none: no such file; write a token into it" in tapeline(*_arguments(backend))[2]


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
    code, _, err = tapeline(*_arguments(backend, "dataset.source=csv", "dataset.path='/data/a b.csv'"))
    assert code == 2
    assert "a submitted parameter may contain only letters, digits" in err
    assert backend.created == []
