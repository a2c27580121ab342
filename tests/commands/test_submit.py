from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tapeline import lookup
from tapeline.clusters import emit as build
from tapeline.clusters import kubectl
from tapeline.clusters import run_status as outcome
from tapeline.clusters.argo import submit as on_argo
from tapeline.clusters.argo import template as argo
from tapeline.clusters.run_status import Part, Seen
from tapeline.clusters.tfjob import submit as as_tfjob
from tapeline.commands.submit import follow as submit
from tapeline.errors import Refused
from tests.conftest import Tapeline
from tests.metrics_json import encoded

TYPED = ("target=argo", "experiment=snp_deep")


@dataclass
class Fake:
    """A cluster that has certain objects; what was sent to it."""

    there: dict[str, Any] = field(default_factory=dict)
    sent: list[tuple[str, Any]] = field(default_factory=list)

    def __call__(self, *words: str, stdin: str | None = None, tries: int = 1) -> str:
        verb = next(word for word in words if word in ("get", "create", "apply", "logs"))
        if verb in ("create", "apply"):
            what = json.loads(stdin or "")
            self.sent.append((verb, what))
            return json.dumps({"metadata": {"name": what["metadata"].get("generateName", "") + "x7f"}})
        kind, name = words[words.index("get") + 1 :][:2]
        if kind in ("workflowtemplate", "workflow", "tfjob"):
            return json.dumps(self.there[name]) if name in self.there else ""
        return "" if name in self.there.get("missing", ()) else f"{kind}/{name}\n"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setattr(kubectl, "run", fake)
    return fake


def _has(fake: Fake, *typed: str) -> None:
    made = argo.template(build.laid_out(lookup.configure(typed), typed))
    fake.there[str(made.name)] = made.to_dict()


def _begin(*typed: str, apply: bool = False) -> str:
    return on_argo.begin(lookup.configure(typed), typed, apply=apply)


def test_keys_that_a_run_may_set_go_with_the_run_and_others_name_its_template(cluster: Fake) -> None:
    _has(cluster, *TYPED)
    assert _begin(*TYPED, "model=deep", "model=flat", "model.steps=500") == "snp-deep-cpu-x7f"
    [(verb, run)] = cluster.sent
    assert verb == "create"
    assert run["spec"]["workflowTemplateRef"] == {"name": "snp-deep-cpu"}
    parameters = [{"name": "model", "value": "flat"}, {"name": "model_steps", "value": "500"}]
    assert run["spec"]["arguments"]["parameters"] == parameters


def test_a_template_that_was_built_with_the_very_line_is_taken_as_it_is(cluster: Fake) -> None:
    typed = (*TYPED, "model=flat", "dataset.source=csv", "dataset.path='/data/my closes.csv'")
    _has(cluster, *typed)
    _begin(*typed)
    [(_, run)] = cluster.sent
    assert not run["spec"].get("arguments", {}).get("parameters")


@pytest.mark.parametrize(("there", "which"), [((), "no"), ((*TYPED, "gate.champion_margin=0.01"), "another")])
def test_no_such_template_is_said_with_what_makes_it(cluster: Fake, there: tuple[str, ...], which: str) -> None:
    if there:
        _has(cluster, *there)
    with pytest.raises(Refused) as shown:
        _begin(*TYPED, "seed=3")
    assert str(shown.value) == (
        f"snp-deep-cpu: the cluster has {which} template of that name in namespace tapeline; add apply=true, or: "
        "make build target=argo experiment=snp_deep && kubectl apply -f workflows/argo/snp-deep-cpu.yaml"
    )
    assert cluster.sent == []


def test_apply_brings_the_template_along(cluster: Fake) -> None:
    _begin(*TYPED, "seed=3", apply=True)
    assert [(verb, what["kind"]) for verb, what in cluster.sent] == [
        ("apply", "WorkflowTemplate"),
        ("create", "Workflow"),
    ]
    assert cluster.sent[1][1]["spec"]["arguments"]["parameters"] == [{"name": "seed", "value": "3"}]


@pytest.mark.parametrize("text", ["seed=${model.steps}", "model='flat'", 'dataset.path="/data/a b.csv"'])
def test_a_parameter_that_is_not_plain_is_refused_before_anything_is_sent(cluster: Fake, text: str) -> None:
    source = ("dataset.source=csv", "dataset.path=/data/x.csv")
    _has(cluster, *TYPED, *source[:1])
    with pytest.raises(Refused, match="a submitted parameter may contain only letters, digits and"):
        _begin(*TYPED, *source, text)
    assert cluster.sent == []


def test_all_that_is_missing_is_said_at_once(cluster: Fake) -> None:
    cluster.there["missing"] = ("models", "tapeline-publisher", "tapeline-executor", "gpu-limits")
    with pytest.raises(Refused) as shown:
        _begin("target=argo", "hw=gpu")
    assert [str(each) for each in shown.value.findings] == [
        f"{kind} {name}: is not in namespace tapeline; {kubectl.OVERLAY}, or name another with target.{key}"
        for kind, name, key in (
            ("persistentvolumeclaim", "models", "models_claim"),
            ("serviceaccount", "tapeline-publisher", "publisher"),
            ("serviceaccount", "tapeline-executor", "executor"),
            ("configmap", "gpu-limits", "semaphore"),
        )
    ]


def test_what_the_template_mounts_must_be_there_also_where_this_run_would_not_need_it(cluster: Fake) -> None:
    cluster.there["missing"] = ("data",)
    with pytest.raises(Refused, match="persistentvolumeclaim data: is not in namespace tapeline"):
        _begin(*TYPED, "dataset.source=csv", "dataset.path=s3://bucket/closes.csv", apply=True)
    assert cluster.sent == []


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


def test_how_far_a_workflow_is(cluster: Fake) -> None:
    def node(name: str, kind: str, phase: str, **more: Any) -> None:
        times = {"startedAt": f"2026-11-21T15:00:0{len(nodes)}Z", "finishedAt": "2026-11-21T15:01:00Z"}
        nodes[name] = {"id": name, "displayName": name, "type": kind, "phase": phase, **times, **more}

    nodes: dict[str, Any] = {}
    node("ingest", "Retry", "Succeeded", children=["ingest(0)"])
    node("ingest(0)", "Pod", "Succeeded")
    node("train", "Retry", "Running", children=["train(0)", "train(1)"])
    node("train(0)", "Pod", "Error", message="pod deleted")
    node("train(1)", "Pod", "Pending", message="Unschedulable: 0/1 nodes are available")
    node("gate", "Retry", "Running", message="Backoff for 30s", children=["gate(0)"])
    node("gate(0)", "Pod", "Failed", message="main: OOMKilled (exit code 137)")
    node("report", "Retry", "Failed", message="retryStrategy.expression evaluated to false", children=["report(0)"])
    node(
        "report(0)", "Pod", "Failed", message="main: Error (exit code 2): time=1 level=INFO\ntapeline: a: b; c\ntime=2"
    )
    node("publish", "Skipped", "Skipped", message="when 'false == true' evaluated false")
    cluster.there["x7f"] = {"status": {"phase": "Failed", "nodes": nodes}}
    seen = on_argo.look(lookup.configure(TYPED), "x7f")
    assert seen.ended == "failed"
    assert list(seen.parts) == [
        Part("ingest", "ran", 60.0),
        Part("train", "again", note="try 1 was lost: pod deleted"),
        Part("train", "waits", note="Unschedulable: 0/1 nodes are available"),
        Part("gate", "again", note="try 1 was lost: OOMKilled (exit code 137)"),
        Part("gate", "runs"),
        Part("report", "failed", note="a: b; c"),
        Part("publish", "skipped", note="accepted is not true"),
    ]


def test_the_job_holds_the_whole_configuration(cluster: Fake) -> None:
    typed = ("target=tfjob", "model=flat", "seed=3", "gate.threshold=0.5")
    assert as_tfjob.begin(lookup.configure(typed), typed, apply=False) == "indices-flat-cpu-x7f"
    [(verb, job)] = cluster.sent
    words = job["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["args"]
    assert verb == "create"
    *rest, built, files = words
    assert rest == ["run", "model=flat", "seed=3", "gate.threshold=0.5", "serving.store=/models"]
    assert built.startswith("built={")
    assert files == "files=true"


def test_the_steps_of_a_job_are_those_that_it_logs(cluster: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "tapeline 0.1.0",
        "  ingest     ran     0.52 s",
        "    step 5 of 9",
        "  publish    skipped accepted is false",
    )
    monkeypatch.setattr(kubectl, "logs", lambda *_: "\n".join(lines))
    cluster.there["x7f"] = {"status": {"conditions": [{"type": "Succeeded", "status": "True"}]}}
    seen = as_tfjob.look(lookup.configure(["target=tfjob"]), "x7f")
    parts = [Part("ingest", "ran", 0.52), Part("publish", "skipped", note="accepted is false")]
    assert seen == Seen(parts, "succeeded")


class Stage:
    """A place where a run goes through scenes."""

    def __init__(self, *scenes: Seen | BaseException, made: dict[str, bytes] | None = None) -> None:
        self.scenes, self.made = iter(scenes), made or {}
        self.begin = lambda *_, **__: "run-1"
        self.hint = lambda *_: "kubectl watch"
        self.fetch: Callable[..., dict[str, bytes]] = lambda *_: self.made

    def look(self, *_: object) -> Seen:
        scene = next(self.scenes)
        if isinstance(scene, BaseException):
            raise scene
        return scene


@pytest.fixture
def stage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def play(*scenes: Seen | BaseException, made: dict[str, bytes] | None = None) -> None:
        monkeypatch.setattr(submit, "_place", lambda _: Stage(*scenes, made=made))
        monkeypatch.setattr(submit, "SECONDS", 0)

    return play


def test_what_a_run_leaves_is_as_from_a_run_here(
    stage: Callable[..., None], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = Seen([Part("train", "runs")], "")
    lost = Seen([Part("train", "again", note="try 1 was lost: pod deleted")], "")
    done = Seen([Part("train", "ran", 12.3), Part("publish", "skipped", note="accepted is not true")], "succeeded")
    stage(running, lost, lost, running, done, made={"metrics.json": encoded(), "report.html": b"page"})
    made = submit.run(TYPED, {})
    assert capsys.readouterr().out.splitlines() == [
        "argo: run-1",
        "  train      again   try 1 was lost: pod deleted",
        "  train      ran     12.3 s",
        "  publish    skipped accepted is not true",
        "accepted: accuracy 0.75 is above 0.7",
        f"report: {made / 'report.html'}",
    ]
    assert (folder / "runs" / "latest").resolve() == made.resolve()
    assert (made / "metrics.json").read_bytes() == encoded()
    record = json.loads((made / "run.json").read_text())
    assert (record["target"], record["submitted"]) == ("argo", "run-1")
    assert [each["how"] for each in record["steps"]] == ["ran", "skipped"]


def test_a_run_that_fails_leaves_no_folder_and_says_why(stage: Callable[..., None], folder: Path) -> None:
    stage(Seen([Part("train", "failed", note="model.steps=0: too few; set more")], "failed"))
    with pytest.raises(Refused, match=r"run-1: train: model.steps=0: too few; set more; see kubectl watch"):
        submit.run(TYPED, {})
    assert list((folder / "runs").iterdir()) == []


def test_who_stops_looking_is_shown_how_to_go_on(
    stage: Callable[..., None], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage(KeyboardInterrupt())
    with pytest.raises(SystemExit) as shown:
        submit.run(TYPED, {})
    assert shown.value.code == 130
    assert "run-1 is still running; kubectl watch shows its progress" in capsys.readouterr().err
    assert list((folder / "runs").iterdir()) == []


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
