"""The emitted template on a real Argo, through `tapeline submit`, in a namespace that enforces `restricted`."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from tapeline import lookup
from tapeline.pipeline.graph import pipeline
from tests.cluster.argo import LINE, at_work, line_with, prepared, same_here, store
from tests.cluster.conftest import Image, Kubectl
from tests.cluster.objects import OUTSIDE
from tests.conftest import ROOT, subprocess_tapeline

LIST = {"apiVersion": "v1", "kind": "List"}


@pytest.fixture(scope="module")
def submit(kubectl: Kubectl, namespace: str, image: Image) -> tuple[str, ...]:
    """What is typed behind `tapeline submit`, but for the experiment and the store."""
    return prepared(kubectl, namespace, image)


def _both(folder: Path, submitted: tuple[str, ...], line: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Submit a line, run it here, and compare the two; what submit said."""
    shown = subprocess_tapeline("submit", *submitted, *line, "apply=true", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    same_here(folder, submitted, line)
    return shown


def test_step_by_step_accepted(folder: Path, submit: tuple[str, ...], namespace: str, kubectl: Kubectl) -> None:
    """The cluster has no template, and has none afterwards; what the run made is recorded with the pods' image."""
    line = ("experiment=snp_deep", "model=flat", "model.steps=3000", "gate.threshold=0.4")
    shown = _both(folder, (*submit, store(namespace, "stepwise")), line)
    assert "accepted: accuracy" in shown.stdout
    assert "published: indices-simulated version 1" in shown.stdout
    record = json.loads((folder / "runs" / "latest" / "run.json").read_text())
    assert record["target"] == "argo"
    assert {each["how"] for each in record["steps"]} == {"ran"}
    assert record["published"]["number"] == 1
    assert {re.split(r"@| \(", image)[0] for image in record["images"].values()} == {submit[2].partition("=")[2]}
    assert set(record["images"]) == {each["step"] for each in record["steps"]}
    assert kubectl("-n", namespace, "get", "workflowtemplates", "-oname") == ""


def test_fused_accepted(folder: Path, submit: tuple[str, ...], namespace: str) -> None:
    where = (*submit, "target.granularity=fused", store(namespace, "fused"))
    shown = _both(folder, where, (*LINE, "gate.threshold=0.4"))
    assert "publish    ran" in shown.stdout


def test_fused_rejected(folder: Path, submit: tuple[str, ...], namespace: str) -> None:
    shown = _both(
        folder, (*submit, "target.granularity=fused", store(namespace, "none")), (*LINE, "gate.threshold=0.9")
    )
    assert "rejected: accuracy" in shown.stdout
    assert "publish    skipped accepted is not true" in shown.stdout


def test_rejected_step_by_step_and_killed_in_the_middle_of_training(
    folder: Path, submit: tuple[str, ...], namespace: str, kubectl: Kubectl
) -> None:
    line = ("experiment=snp_flat", "model.steps=1000000", "model.report_every=10000", "gate.threshold=0.9")
    words = [*submit, store(namespace, "killed"), *line, "apply=true"]
    with at_work(folder, "submit", *words) as process:
        pod = _training(kubectl, namespace)
        kubectl("-n", namespace, "delete", "pod", pod, "--wait=false")
        shown, problem = process.communicate()
    assert process.returncode == 0, problem
    assert "train      again   try 1 was lost" in shown
    assert "rejected: accuracy" in shown
    same_here(folder, submit, line)


def _training(kubectl: Kubectl, namespace: str) -> str:
    """The pod that trains, once it has begun and Argo has seen so: before, it would create the pod again."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        workflows = json.loads(kubectl("-n", namespace, "get", "workflows", "-ojson"))["items"]
        nodes = [each for workflow in workflows for each in workflow.get("status", {}).get("nodes", {}).values()]
        if any((each["displayName"], each["phase"]) == ("train(0)", "Running") for each in nodes):
            which = ("-l", "app.kubernetes.io/component=train", "--field-selector=status.phase=Running")
            [pod] = kubectl("-n", namespace, "get", "pods", *which, "-oname").split()
            if "step 10,000 of" in kubectl("-n", namespace, "logs", pod, "-c", "main"):
                return pod.removeprefix("pod/")
        time.sleep(1)
    raise AssertionError("nothing trains")


@pytest.mark.parametrize(
    "text", ["model='flat'", "seed=$(id)", "seed=1\ngate.threshold=0", "seed=${model.steps}", "model=choice(flat,deep)"]
)
def test_a_value_that_is_more_than_a_value_is_refused_here(
    folder: Path, submit: tuple[str, ...], namespace: str, kubectl: Kubectl, text: str
) -> None:
    before = kubectl("-n", namespace, "get", "workflows", "-oname")
    shown = subprocess_tapeline("submit", *submit, store(namespace, "stepwise"), text, cwd=folder)
    assert shown.returncode == 2
    assert text.partition("=")[0] in shown.stderr
    assert len(shown.stderr.splitlines()) == 1
    after = kubectl("-n", namespace, "get", "workflows", "-oname")
    assert set(after.split()) <= set(before.split()), "a workflow was made; others may end their time meanwhile"
    assert not (folder / "runs").exists()


def test_raw_parameters_are_refused_by_the_first_step_that_reads_them(
    folder: Path, submit: tuple[str, ...], namespace: str, kubectl: Kubectl
) -> None:
    """All at once, since a workflow takes a while: each has a key that would name it."""
    built = subprocess_tapeline("build", *submit, store(namespace, "raw"), "target.folder=out", cwd=folder)
    assert built.returncode == 0, built.stderr
    kubectl("apply", "-f", str(folder / "out" / "indices-deep-cpu.yaml"))
    raw = {
        "model": "'flat'",
        "model_steps": "$(HOME)",
        "seed": "1\ngate.threshold=0",
        "dataset_path": "${oc.env:HOME}",
        "gate_threshold": 'choice(0.1,0.2)"; id; "',
    }
    readers = dict.fromkeys(raw, "train") | {"dataset_path": "ingest", "gate_threshold": "gate"}
    before = [step.name for step in pipeline(lookup.configure(["model=deep"]))]
    runs = {name: _raw(kubectl, namespace, name, value) for name, value in raw.items()}
    for name, run in runs.items():
        nodes = _ended(kubectl, namespace, run)
        pods = [each for each in nodes if each["type"] == "Pod" and each["templateName"] != "summary"]
        (failed,) = [each for each in pods if each["phase"] != "Succeeded"]
        assert failed["templateName"] == readers[name]
        assert {each["templateName"] for each in pods} <= set(before[: before.index(readers[name]) + 1]), name
        assert f"tapeline: {name.replace('_', '.', 1)}=" in failed["message"]
        assert "a submitted parameter may contain only letters, digits" in failed["message"]
        assert "exit code 2" in failed["message"]


def _raw(kubectl: Kubectl, namespace: str, name: str, value: str) -> str:
    spec = {
        "workflowTemplateRef": {"name": "indices-deep-cpu"},
        "arguments": {"parameters": [{"name": name, "value": value}]},
    }
    about = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "raw-"},
        "spec": spec,
    }
    shown = kubectl("-n", namespace, "create", "-f", "-", "-ojson", stdin=json.dumps(about))
    return str(json.loads(shown)["metadata"]["name"])


def _ended(kubectl: Kubectl, namespace: str, run: str) -> list[dict[str, str]]:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        status = json.loads(kubectl("-n", namespace, "get", "workflow", run, "-ojson")).get("status", {})
        if status.get("phase") in ("Succeeded", "Failed", "Error"):
            assert status["phase"] == "Failed", status
            return list(status["nodes"].values())
        time.sleep(2)
    raise AssertionError(f"{run} does not end")


def test_a_template_on_the_cluster_runs_with_parameters(
    folder: Path, submit: tuple[str, ...], namespace: str, kubectl: Kubectl
) -> None:
    """The template is the published protocol with layers; the run makes it linear, and shorter. Another is refused."""
    where = (*submit, "target.granularity=fused", store(namespace, "template"))
    line = ("experiment=snp_deep", "model=flat", "model.steps=3000", "gate.threshold=0.4")
    built = subprocess_tapeline("build", *where, line[0], "target.folder=out", cwd=folder)
    assert built.returncode == 0, built.stderr
    kubectl("apply", "-f", str(folder / "out" / "snp-deep-cpu.yaml"))
    other = subprocess_tapeline("submit", *where, *line, "gate.champion_margin=0.1", cwd=folder)
    assert other.returncode == 2
    assert "has another (templates.run.container.args" in other.stderr
    shown = subprocess_tapeline("submit", *where, *line, cwd=folder)
    assert shown.returncode == 0, shown.stderr
    same_here(folder, submit, line)


SYSTEMS = {
    "bitcoin": ("experiment=bitcoin_tuned", "tune.trials=3", "debug=true"),
    "gresearch": (
        *("experiment=gresearch_sample", "dataset.rows=178000", "split.train=5d", "split.test=2d"),
        *("model.steps=60", "model.report_every=20"),
    ),
    "faces": ("experiment=faces_conv", "debug=true"),
}
"""A search before training; ten days of minute bars in partitions; images."""


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_other_systems_give_the_same_bytes(
    folder: Path, submit: tuple[str, ...], namespace: str, system: str
) -> None:
    _both(folder, (*submit, "target.granularity=fused", store(namespace, system)), SYSTEMS[system])


def test_two_submits_at_once_with_different_keys(folder: Path, submit: tuple[str, ...], namespace: str) -> None:
    """The key is not a parameter of a run: each has a graph of its own."""
    where = (*submit, "target.granularity=fused", store(namespace, "both"), "apply=true")
    line = ("experiment=snp_deep", "model.steps=300", "model.report_every=100")
    folders = {hidden: folder / name for hidden, name in (("[4]", "four"), ("[7]", "seven"))}
    for each in folders.values():
        each.mkdir()
    first, second = (
        at_work(each, "submit", *where, *line, f"model.hidden={hidden}") for hidden, each in folders.items()
    )
    with first as one, second as two:
        for process in (one, two):
            _, problem = process.communicate(timeout=900)
            assert process.returncode == 0, problem
    for hidden, each in folders.items():
        latest = each / "runs" / "latest"
        ran = json.loads((latest / "metrics.json").read_text())["config"]["model"]["hidden"]
        assert ran == yaml.safe_load((latest / "config.yaml").read_text())["model"]["hidden"] == json.loads(hidden)


def test_stopping_going_on_and_copying_without_a_pod(
    folder: Path, submit: tuple[str, ...], namespace: str, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = (*submit, "target.granularity=fused", store(namespace, "again"))
    with at_work(folder, "submit", *where, *LINE, "apply=true") as process:
        line_with(process, "argo: ")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    run = said.split()[1]
    [before] = (folder / "runs").iterdir()
    for key, value in OUTSIDE.items():
        monkeypatch.setenv(key, value)
    shown = subprocess_tapeline("submit", *where, *LINE, f"run={run}", "target.artifacts=s3://tapeline", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    assert {each.name for each in (folder / "runs").iterdir()} == {before.name, "latest"}
    assert f"{run}-files" not in kubectl("-n", namespace, "get", "workflows", "-oname")
    wrong = subprocess_tapeline("submit", *where, *LINE, "seed=5", f"run={run}", cwd=folder)
    assert wrong.returncode == 2
    assert "seed was 0, here it is 5" in wrong.stderr


def test_a_run_is_stopped(folder: Path, submit: tuple[str, ...], namespace: str, kubectl: Kubectl) -> None:
    where = (*submit, store(namespace, "stopped"))
    with at_work(folder, "submit", *where, *LINE, "apply=true") as process:
        run = line_with(process, "argo: ").split()[-1]
        stopped = subprocess_tapeline("submit", *where, *LINE, f"run={run}", "stop=true", cwd=folder)
        assert stopped.returncode == 0, stopped.stderr
        _, problem = process.communicate(timeout=180)
    assert process.returncode == 2
    assert f"{run}: was stopped" in problem


def test_the_shipped_files_are_such_as_this_argo_takes(kubectl: Kubectl) -> None:
    paths = sorted((ROOT / "workflows" / "argo").glob("snp-*.yaml"))
    things = [yaml.safe_load(path.read_text()) for path in paths]
    for each in things:
        each["metadata"]["namespace"] = "default"
    shown = kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps({**LIST, "items": things}))
    assert len(shown.splitlines()) == len(paths) > 0
