from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tapeline import lookup
from tapeline.clusters import kubectl
from tapeline.clusters import run_status as outcome
from tapeline.clusters.run_status import Part, Seen
from tapeline.clusters.tfjob import submit as as_tfjob
from tapeline.commands.submit import follow as submit
from tapeline.config import compose as conf
from tapeline.errors import Refused, refuse
from tests.clusters.submit.stand_in import Cluster
from tests.conftest import Tapeline
from tests.metrics_json import encoded

TYPED = ("target=argo", "experiment=snp_deep")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("error: current-context is not set", "has no context"),
        ("Unable to connect to the server: dial tcp: lookup x: no such host", "does not answer"),
        ('Error from server (NotFound): namespaces "x" not found', "there is no such namespace"),
        ('error: the server doesn\'t have a resource type "workflowtemplate"', "does not know this kind of object"),
        ('Error from server (Forbidden): workflows is forbidden: User "a" cannot', "you are not allowed to"),
        ("error: You must be logged in to the server (Unauthorized)", "does not know you"),
        ("", "it said nothing"),
    ],
)
def test_what_kubectl_says_is_one_sentence(said: str, sentence: str) -> None:
    [finding] = kubectl.refused(said, ["get", "workflow", "x", "-o=json"]).findings
    assert str(finding).startswith("kubectl get workflow x: ")
    assert sentence in str(finding)
    assert len(str(finding).splitlines()) == 1


def test_a_cluster_that_is_away_for_a_while_is_asked_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "kubectl"
    program.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\ntries = pathlib.Path('tries')\n"
        "tries.write_text((tries.read_text() if tries.exists() else '') + 'x')\n"
        "sys.exit('Unable to connect to the server: EOF' if len(tries.read_text()) < 3 else 0)\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(kubectl, "PAUSE", 0)
    with pytest.raises(Refused, match="does not answer"):
        kubectl.run("get", "workflow")
    assert kubectl.run("get", "workflow", tries=2) == ""


def test_without_kubectl_there_is_a_sentence(tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    code, _, problem = tapeline("submit", "target=argo")
    assert (code, problem) == (
        2,
        "tapeline: kubectl: is not installed; install it; make submit needs it\n",
    )


def test_a_laptop_is_no_cluster(tapeline: Tapeline) -> None:
    code, _, problem = tapeline("submit")
    assert code == 2
    assert "target=local: is not a cluster; choose target=argo" in problem


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    stand_in = Cluster()
    monkeypatch.setattr(kubectl, "run", stand_in)
    return stand_in


def test_the_job_holds_the_whole_configuration(cluster: Cluster) -> None:
    typed = ("target=tfjob", "model=flat", "seed=3", "gate.threshold=0.5")
    assert as_tfjob.begin(lookup.configure(typed), typed, apply=False) == "indices-flat-cpu-x7f"
    [(verb, job)] = cluster.sent
    words = job["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["args"]
    assert verb == "create"
    *rest, built, files = words
    assert rest == ["run", "model=flat", "seed=3", "gate.threshold=0.5", "serving.store=/models"]
    assert built.startswith("built={")
    assert files == "files=true"


def test_the_steps_of_a_job_are_those_that_it_logs(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "tapeline 0.1.0",
        "  ingest     ran     0.52 s",
        "    step 5 of 9",
        "  publish    skipped accepted is false",
    )
    monkeypatch.setattr(kubectl, "logs", lambda *_: "\n".join(lines))
    cluster.objects[("tfjob", "x7f")] = {"status": {"conditions": [{"type": "Succeeded", "status": "True"}]}}
    seen = as_tfjob.look(lookup.configure(["target=tfjob"]), "x7f")
    parts = [Part("ingest", "ran", 0.52), Part("publish", "skipped", note="accepted is false")]
    assert seen == Seen(parts, "succeeded")


def test_a_job_is_stopped_by_its_deletion(cluster: Cluster) -> None:
    config = lookup.configure(["target=tfjob"])
    with pytest.raises(Refused, match="does not exist"):
        as_tfjob.stop(config, "x7f")
    cluster.objects[("tfjob", "x7f")] = {}
    as_tfjob.stop(config, "x7f")
    assert cluster.sent == [("delete", ("tfjob", "x7f", None))]


class Stage:
    """A place where a run goes through scenes."""

    def __init__(self, *scenes: Seen | BaseException, made: dict[str, bytes] | None = None) -> None:
        self.scenes, self.made, self.begun, self.stopped = list(scenes), made or {}, 0, list[str]()

    def begin(self, *_: object, **__: object) -> str:
        self.begun += 1
        return f"run-{self.begun}"

    def hint(self, *_: object) -> str:
        return "kubectl watch"

    def fetch(self, *_: object) -> dict[str, bytes]:
        return self.made

    def stop(self, _: object, run: str) -> None:
        self.stopped.append(run)

    def look(self, *_: object) -> Seen:
        scene = self.scenes.pop(0)
        if isinstance(scene, BaseException):
            raise scene
        return scene


Play = Callable[..., Stage]


@pytest.fixture
def stage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    def play(*scenes: Seen | BaseException, made: dict[str, bytes] | None = None) -> Stage:
        place = Stage(*scenes, made=made)
        monkeypatch.setattr(submit, "_place", lambda _: place)
        monkeypatch.setattr(submit, "SECONDS", 0)
        return place

    return play


def as_run(*typed: str) -> dict[str, bytes]:
    """The files of a run of these overrides."""
    config = conf.plain(lookup.configure(typed), places=False)
    return {"metrics.json": encoded(config=config), "report.html": b"page"}


DONE = Seen([Part("train", "ran", 12.3), Part("publish", "skipped", note="accepted is not true")], "succeeded")


def test_what_a_run_leaves_is_as_from_a_run_here(stage: Play, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    running = Seen([Part("train", "runs")], "")
    lost = Seen([Part("train", "again", note="try 1 was lost: pod deleted")], "")
    stage(running, lost, lost, running, DONE, made=as_run(*TYPED))
    made = submit.run(TYPED, {})
    assert made
    assert capsys.readouterr().out.splitlines() == [
        "argo: run-1",
        "  train      again   try 1 was lost: pod deleted",
        "  train      ran     12.3 s",
        "  publish    skipped accepted is not true",
        "accepted: accuracy 0.75 is above 0.7",
        f"report: {made / 'report.html'}",
    ]
    assert (folder / "runs" / "latest").resolve() == made.resolve()
    assert (made / "metrics.json").read_bytes() == as_run(*TYPED)["metrics.json"]
    record = json.loads((made / "run.json").read_text())
    assert (record["target"], record["submitted"], record["state"]) == ("argo", "run-1", "finished")
    assert [each["how"] for each in record["steps"]] == ["ran", "skipped"]


def test_the_images_that_are_recorded_are_those_of_the_pods(stage: Play) -> None:
    images = {"ingest": "registry/step@sha256:1", "train": "registry/step-gpu@sha256:2"}
    stage(replace(DONE, images=images), made=as_run(*TYPED))
    made = submit.run(TYPED, {})
    assert made
    record = json.loads((made / "run.json").read_text())
    assert record["images"] == images
    assert record["versions"] == {"image": images["ingest"], "hw.image": images["train"]}


def test_a_run_that_fails_leaves_no_folder_and_says_why(stage: Play, folder: Path) -> None:
    stage(Seen([Part("train", "failed", note="model.steps=0: too few; set more")], "failed"))
    with pytest.raises(Refused, match=r"run-1: train: model.steps=0: too few; set more; see kubectl watch"):
        submit.run(TYPED, {})
    assert list((folder / "runs").iterdir()) == []


def test_a_run_of_another_configuration_is_not_shown_as_this_one(stage: Play, folder: Path) -> None:
    typed = ("target=argo", "model=deep")
    stage(DONE, made=as_run(*typed, "model.hidden=[7]"))
    with pytest.raises(Refused) as shown:
        submit.run([*typed, "model.hidden=[4]"], {})
    assert "model.hidden was [7], here it is [4]" in str(shown.value)
    assert list((folder / "runs").iterdir()) == []


def _terminated() -> Seen:
    os.kill(os.getpid(), signal.SIGTERM)
    return Seen([], "")


@pytest.mark.parametrize(("how", "code"), [("Ctrl-C", 130), ("SIGTERM", 143)])
def test_stopping_and_going_on_end_in_one_folder(
    stage: Play, folder: Path, capsys: pytest.CaptureFixture[str], how: str, code: int
) -> None:
    place = stage(Seen([Part("ingest", "ran", 1.0)], ""), KeyboardInterrupt())
    if how == "SIGTERM":
        place.look = lambda *_: _terminated()  # type: ignore[method-assign]
    with pytest.raises(SystemExit) as shown:
        submit.run(TYPED, {})
    assert shown.value.code == code
    said = capsys.readouterr().err
    assert "run-1 is still running; kubectl watch shows its progress" in said
    assert "run=run-1 stop=true" in said
    [before] = (folder / "runs").iterdir()
    assert json.loads((before / "run.json").read_text())["state"] == "stopped"

    place = stage(DONE, made=as_run(*TYPED))
    after = submit.run(TYPED, {"run": "run-1"})
    assert after
    assert after.resolve() == before.resolve()
    assert place.begun == 0
    assert {path.name for path in (folder / "runs").iterdir()} == {before.name, "latest"}
    assert "argo: run-1" in (before / "log.txt").read_text()


def test_a_folder_stays_where_other_overrides_are_typed(stage: Play, folder: Path) -> None:
    stage(KeyboardInterrupt())
    with pytest.raises(SystemExit):
        submit.run(TYPED, {})
    stage(DONE, made=as_run(*TYPED))
    with pytest.raises(Refused, match="ran another configuration: seed was 0, here it is 3"):
        submit.run([*TYPED, "seed=3"], {"run": "run-1"})
    [left] = (folder / "runs").iterdir()
    assert json.loads((left / "run.json").read_text())["state"] == "stopped"


def test_a_cluster_that_is_lost_names_the_run(stage: Play, folder: Path) -> None:
    stage(refuse("kubectl get workflow", "the cluster does not answer", "see kubectl cluster-info"))
    with pytest.raises(Refused) as shown:
        submit.run(TYPED, {})
    assert "does not answer" in str(shown.value)
    assert "run=run-1" in str(shown.value)
    [left] = (folder / "runs").iterdir()
    assert json.loads((left / "run.json").read_text())["submitted"] == "run-1"


def test_stop_names_its_run(stage: Play, folder: Path) -> None:
    place = stage()
    with pytest.raises(Refused, match="stop=true: does not say which run"):
        submit.run(TYPED, {"stop": "true"})
    assert submit.run(TYPED, {"stop": "true", "run": "run-9"}) is None
    assert place.stopped == ["run-9"]
    assert not (folder / "runs").exists()


def test_files_come_whole_through_a_log_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_bytes(b"{}\n" * 5000)
    (tmp_path / "report.html").write_bytes(bytes(range(256)) * 40)
    lines = list(outcome.pack([tmp_path / name for name in ("metrics.json", "report.html", "published.json")]))
    lines.insert(len(lines) // 2, 'time=2026 level=INFO msg="a line of Argo"')
    found = outcome.unpack("\n".join(lines), "x")
    assert found == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(Refused, match=r"its log has no complete metrics.json"):
        outcome.unpack("\n".join(lines[:50]), "x")


def test_the_summary_says_the_decision_or_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    shown = {"name": "x7f", "status": "Succeeded", "duration": "84.12", "failures": "null", "metrics": str(path)}
    path.write_bytes(encoded())
    assert outcome.summary(shown) == "x7f: Succeeded after 84 s\naccepted: accuracy 0.75 is above 0.7"
    path.unlink()
    failures = [{"displayName": "ingest(0)", "message": "main: Error (exit code 2): tapeline: a: b; c"}]
    shown |= {"status": "Failed", "failures": json.dumps(json.dumps(failures))}
    assert outcome.summary(shown) == "x7f: Failed after 84 s\ningest(0): a: b; c"
