from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tapeline import lookup
from tapeline.clusters import run_status as outcome
from tapeline.clusters.argo import handover, retries
from tapeline.clusters.argo import submit as on_argo
from tapeline.clusters.run_status import Seen
from tapeline.errors import Refused
from tests.clusters.submit.stand_in import RUN, Cluster, refusal, task, times
from tests.clusters.submit.test_argo import TYPED, template
from tests.metrics_json import encoded


def seen(*typed: str) -> Seen:
    return on_argo.look(lookup.configure(typed or TYPED), RUN)


INIT = "init: Error (exit code 64): artifact raw failed to load: failed to get file: "
WAIT = "wait: Error (exit code 64): failed to put file: "
FAILURES = {
    "pod deleted": ("Error", None, "pod deleted", True),
    "evicted": ("Failed", None, "The node was low on resource: memory.", True),
    "killed": ("Failed", "137", "main: Error (exit code 137): a signature, forbidden", True),
    "refused": ("Failed", "2", refusal("a: b; c"), False),
    "a bug": ("Failed", "1", "main: Error (exit code 1): Traceback", False),
    "out of memory": ("Failed", "137", "main: OOMKilled (exit code 137): step 5", False),
    "403": ("Error", "0", f"{WAIT}Access Denied.", False),
    "no bucket": ("Error", "0", f"{WAIT}The specified bucket does not exist", False),
    "wrong key": ("Error", None, f"{INIT}The Access Key Id you provided does not exist in our records.", False),
    "wrong secret key": ("Error", None, f"{INIT}The request signature we calculated does not match", False),
    "a store that is away": ("Error", None, f"{INIT}dial tcp 10.0.0.1:8333: connect: connection refused", True),
    "a webhook": ("Error", None, 'admission webhook "a.b" denied the request: no', False),
    "an account": ("Error", None, 'pods "x" is forbidden: error looking up service account a/b: not found', False),
    "no GPU": ("Error", None, "failed to initialize semaphore tapeline/ConfigMap/gpu-limits/gpu with limit", False),
}


class TestFailures:
    @pytest.mark.parametrize(("phase", "code", "message", "again"), FAILURES.values(), ids=FAILURES)
    def test_a_retry_only_where_it_can_help(self, phase: str, code: str | None, message: str, again: bool) -> None:
        node = {"phase": phase, "message": message, "outputs": {"exitCode": code} if code else {}}
        assert retries.again(node) is again
        assert _as_argo_decides(phase, code or "-1", message) is again

    @pytest.mark.parametrize("name", [name for name, each in FAILURES.items() if not each[3]])
    def test_a_final_one_ends_the_run_at_once(self, cluster: Cluster, name: str) -> None:
        phase, code, message, _ = FAILURES[name]
        cluster.runs(*task("train", "Running", (phase, message), outputs={"exitCode": code} if code else {}))
        assert seen().ended == "failed"

    def test_bucket_and_secret_are_named(self, cluster: Cluster) -> None:
        cluster.runs(*task("ingest", "Running", ("Error", f"{WAIT}Access Denied.")))
        note = seen().parts[0].note
        assert "Access Denied" in note
        assert "bucket tapeline and AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY in Secret object-store" in note

    @pytest.mark.parametrize(("step", "key"), [("train", "hw.limits.memory"), ("gate", "target.limits.memory")])
    def test_the_limit_of_memory_is_named_with_its_key(self, cluster: Cluster, step: str, key: str) -> None:
        cluster.runs(
            *task(step, "Running", ("Failed", "main: OOMKilled (exit code 137)"), outputs={"exitCode": "137"}),
            spec=template(*TYPED)["spec"],
        )
        assert f"set {key}" in seen().parts[0].note
        assert "4Gi" in seen().parts[0].note

    def test_the_component_of_a_gpu_is_named(self, cluster: Cluster) -> None:
        cluster.runs(*task("train", "Error", ("Error", FAILURES["no GPU"][2])))
        assert "ConfigMap gpu-limits allows no run with hw=gpu;" in seen().parts[0].note


def _as_argo_decides(phase: str, code: str, message: str) -> bool:
    """The template's expression, in Python's words."""
    text = retries.EXPRESSION.replace("&& !", "and not ").replace("||", "or").replace("&&", "and")
    text = re.sub(r"lastRetry\.message matches (\"[^\"]*\")", r"re.search(r\1, message)", text)
    text = text.replace("lastRetry.status", "phase").replace("asInt(lastRetry.exitCode)", "int(code)")
    return bool(eval(text, {"re": re, "phase": phase, "code": code, "message": message}))


def _pod(name: str, phase: str, message: str) -> dict[str, Any]:
    """A workflow's node of a pod."""
    return {"id": name, "displayName": name, "type": "Pod", "phase": phase, "message": message}


def _made(*files: str) -> list[dict[str, Any]]:
    """The nodes of steps whose outputs are the files that submit copies."""
    names = {"metrics.json": "metrics", "report.html": "report", "published.json": "published"}
    outputs = [{"name": names[file], "s3": {"key": f"results/tapeline/{RUN}/{file}"}} for file in files]
    return task("gate", "Succeeded", ("Succeeded", ""), outputs={"artifacts": outputs})


class TestFetch:
    CONFIG = lookup.configure(TYPED)

    def test_no_pod_where_the_repository_can_be_reached(self, cluster: Cluster) -> None:
        system = fsspec.filesystem("memory")
        system.pipe_file(f"/tapeline/results/tapeline/{RUN}/metrics.json", encoded())
        cluster.runs(*_made("metrics.json"), phase="Succeeded")
        config = lookup.configure([*TYPED, "target.artifacts=memory://tapeline"])
        assert on_argo.fetch(config, RUN) == {"metrics.json": encoded()}
        assert cluster.sent == []

    def _packed(self, cluster: Cluster, tmp_path: Path) -> None:
        (tmp_path / "metrics.json").write_bytes(encoded())
        cluster.log = "\n".join(outcome.pack([tmp_path / "metrics.json"]))

    def test_otherwise_a_pod_with_the_image_of_the_run(self, cluster: Cluster, tmp_path: Path) -> None:
        spec = template(*TYPED, "target.image=mine:1", "target.pull_secret=registry")["spec"]
        cluster.runs(*_made("metrics.json", "report.html"), phase="Succeeded", spec=spec)
        cluster.when_created = lambda name, what: what.update(status={"phase": "Succeeded"})
        self._packed(cluster, tmp_path)
        config = lookup.configure([*TYPED, "target.artifacts=memory://nothing"])
        assert on_argo.fetch(config, RUN) == {"metrics.json": encoded()}
        [(_, made)] = cluster.sent
        [only] = made["spec"]["templates"]
        assert only["container"]["image"] == "mine:1"
        assert made["spec"]["imagePullSecrets"] == [{"name": "registry"}]
        keys = [each["s3"]["key"] for each in only["inputs"]["artifacts"]]
        assert keys == [f"results/tapeline/{RUN}/{file}" for file in ("metrics.json", "report.html")]

    def test_it_has_a_time_limit_and_says_what_it_waited_for(
        self, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(on_argo, "LIMIT", -1)
        cluster.runs(*_made("metrics.json"), phase="Succeeded")

        def waits(name: str, made: dict[str, Any]) -> None:
            made["status"] = {"phase": "Running", "nodes": {name: _pod(name, "Pending", "Unschedulable: full")}}

        cluster.when_created = waits
        with pytest.raises(Refused) as shown:
            on_argo.fetch(self.CONFIG, RUN)
        assert "Unschedulable: full" in str(shown.value)
        assert f"run={RUN}" in str(shown.value)
        assert cluster.sent[-1][:2] == ("delete", ("workflow", f"{RUN}-files-x7f", None))

    def test_a_pod_that_cannot_read_them(self, cluster: Cluster) -> None:
        cluster.runs(*_made("metrics.json"), phase="Succeeded")

        def fails(name: str, made: dict[str, Any]) -> None:
            node = _pod(name, "Error", f"{INIT}Access Denied.")
            made["status"] = {"phase": "Error", "nodes": {name: {**node, **times()}}}

        cluster.when_created = fails
        with pytest.raises(Refused, match="Access Denied"):
            on_argo.fetch(self.CONFIG, RUN)

    def test_the_pod_that_copies_is_as_restricted_as_the_others(self) -> None:
        made = copy.deepcopy(handover.workflow(RUN, {}, {"metrics.json": "k"}, self.CONFIG.target, 9))  # type: ignore[arg-type]
        of_steps = template(*TYPED)["spec"]
        for key in ("securityContext", "podSpecPatch", "serviceAccountName"):
            assert made["spec"][key] == of_steps[key]
        assert made["spec"]["activeDeadlineSeconds"] == 9


class TestStop:
    def test_it_is_a_change_of_the_run(self, cluster: Cluster) -> None:
        cluster.runs(*task("train", "Running", ("Running", "")))
        on_argo.stop(lookup.configure(TYPED), RUN)
        assert cluster.sent == [("patch", ("workflow", RUN, {"spec": {"shutdown": "Stop"}}))]

    def test_a_run_that_has_ended_cannot_be_stopped(self, cluster: Cluster) -> None:
        cluster.runs(phase="Succeeded")
        with pytest.raises(Refused, match=r"has ended already \(Succeeded\)"):
            on_argo.stop(lookup.configure(TYPED), RUN)
