from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tapeline import lookup
from tapeline.clusters import emit as build
from tapeline.clusters import kubectl, pod_events
from tapeline.clusters import run_status as outcome
from tapeline.clusters.argo import handover, retries, status
from tapeline.clusters.argo import submit as on_argo
from tapeline.clusters.argo import template as argo
from tapeline.clusters.run_status import Part, Seen
from tapeline.errors import Refused
from tests.clusters.submit.stand_in import RUN, Cluster, skipped, task, times
from tests.metrics_json import encoded

TYPED = ("target=argo", "experiment=snp_deep")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    stand_in = Cluster()
    monkeypatch.setattr(kubectl, "run", stand_in)
    monkeypatch.setattr(on_argo, "_PODS", status.Pods())
    return stand_in


def template(*typed: str) -> dict[str, Any]:
    made: dict[str, Any] = argo.template(build.laid_out(lookup.configure(typed), typed)).to_dict()
    return made


def has(cluster: Cluster, *typed: str) -> dict[str, Any]:
    made = template(*typed)
    cluster.objects[("workflowtemplate", made["metadata"]["name"])] = made
    return made


def begin(*typed: str, apply: bool = False) -> str:
    return on_argo.begin(lookup.configure(typed), typed, apply=apply)


def values(run: dict[str, Any]) -> dict[str, str]:
    """The parameters that a run sets."""
    return {each["name"]: each["value"] for each in run["spec"]["arguments"]["parameters"] if each["value"]}


def findings(*typed: str, apply: bool = True) -> list[str]:
    with pytest.raises(Refused) as shown:
        begin(*typed, apply=apply)
    return [str(each) for each in shown.value.findings]


def seen(*typed: str) -> Seen:
    return on_argo.look(lookup.configure(typed or TYPED), RUN)


class TestBegin:
    def test_a_run_has_the_spec_of_the_template_and_its_own_values(self, cluster: Cluster) -> None:
        there = has(cluster, *TYPED)
        assert begin(*TYPED, "model=deep", "model=flat", "model.steps=500") == "snp-deep-cpu-x7f"
        [(verb, run)] = cluster.sent
        assert (verb, run["kind"]) == ("create", "Workflow")
        assert run["spec"]["templates"] == there["spec"]["templates"]
        assert "workflowTemplateRef" not in run["spec"]
        assert values(run) == {"model": "flat", "model_steps": "500"}
        assert "model.steps=500" in json.loads(run["metadata"]["annotations"][on_argo.OVERRIDES])

    def test_a_template_of_the_very_line_is_taken_as_it_is(self, cluster: Cluster) -> None:
        typed = (*TYPED, "model=flat", "dataset.source=csv", "dataset.path='/data/my closes.csv'")
        has(cluster, *typed)
        begin(*typed)
        assert values(cluster.sent[0][1]) == {}

    @pytest.mark.parametrize(("there", "which"), [((), "no"), ((*TYPED, "gate.champion_margin=0.01"), "another")])
    def test_another_template_is_told_with_the_place_where_it_differs(
        self, cluster: Cluster, there: tuple[str, ...], which: str
    ) -> None:
        if there:
            has(cluster, *there)
        [finding] = findings(*TYPED, "seed=3", apply=False)
        assert finding.startswith(f"snp-deep-cpu: the cluster has {which}")
        assert ("templates.gate.container.args" in finding) == (which == "another")
        assert "kubectl apply -f workflows/argo/snp-deep-cpu.yaml" in finding
        assert cluster.sent == []

    def test_two_submits_at_once_run_what_each_of_them_typed(self, cluster: Cluster) -> None:
        """The key is no parameter, so each needs a template of its own, and changes none on the cluster."""
        has(cluster, *TYPED)
        for hidden in ("[4]", "[7]"):
            begin(*TYPED, f"model.hidden={hidden}", apply=True)
        first, second = (json.dumps(run["spec"]["templates"]) for _, run in cluster.sent)
        assert "model.hidden=[4]" in first
        assert "model.hidden=[7]" not in first
        assert "model.hidden=[7]" in second
        assert {what["kind"] for _, what in cluster.sent} == {"Workflow"}

    def test_what_an_overlay_changed_is_what_runs(self, cluster: Cluster) -> None:
        there = has(cluster, *TYPED)
        pinned = "registry.example/step@sha256:" + "0" * 64
        for each in there["spec"]["templates"]:
            if "container" in each:
                each["container"]["image"] = pinned
        begin(*TYPED)
        images = {each["container"]["image"] for each in cluster.sent[0][1]["spec"]["templates"] if "container" in each}
        assert images == {pinned}

    def test_an_image_that_was_typed_is_not_an_overlays_to_change(self, cluster: Cluster) -> None:
        has(cluster, *TYPED)
        [finding] = findings(*TYPED, "target.image=mine:1", apply=False)
        assert "container.image" in finding

    @pytest.mark.parametrize("key", ["target.retries=7", "hw.limits.memory=9Gi", "target.ttl_seconds=5"])
    def test_a_key_of_the_pods_that_was_typed_is_compared(self, cluster: Cluster, key: str) -> None:
        has(cluster, *TYPED)
        [finding] = findings(*TYPED, key, apply=False)
        assert "another" in finding

    @pytest.mark.parametrize("text", ["seed=${model.steps}", "model='flat'", 'dataset.path="s3://b/a b.csv"'])
    def test_a_parameter_that_is_not_plain_is_refused(self, cluster: Cluster, text: str) -> None:
        source = ("dataset.source=csv", "dataset.path=/data/x.csv")
        has(cluster, *TYPED, *source[:1])
        [finding] = findings(*TYPED, *source, text)
        assert "a submitted parameter may contain only letters, digits and" in finding
        assert cluster.sent == []


class TestWhatIsMissing:
    def test_all_of_it_at_once(self, cluster: Cluster) -> None:
        for gone in (
            ("persistentvolumeclaim", "models"),
            ("serviceaccount", "tapeline-publisher"),
            ("serviceaccount", "tapeline-executor"),
            ("configmap", "gpu-limits"),
            ("secret", "object-store"),
        ):
            del cluster.objects[gone]
        shown = findings("target=argo", "hw=gpu")
        assert {each.partition(":")[0] for each in shown} == {
            "configmap gpu-limits",
            "persistentvolumeclaim models",
            "serviceaccount tapeline-publisher",
            "serviceaccount tapeline-executor",
            "secret object-store",
        }
        whole = "\n".join(shown)
        assert "target.semaphore" in whole
        assert "target.models_claim" in whole
        assert "kubectl -n tapeline create secret generic object-store --from-literal=AWS_ACCESS_KEY_ID" in whole
        assert cluster.sent == []

    def test_a_key_of_the_repositorys_secret(self, cluster: Cluster) -> None:
        del cluster.objects[("secret", "object-store")]["data"]["AWS_ACCESS_KEY_ID"]
        [finding] = findings(*TYPED)
        assert "secret object-store: has no key AWS_ACCESS_KEY_ID" in finding

    @pytest.mark.parametrize("change", ["gone", "no default", "another default"])
    def test_the_repository_itself_unless_the_controller_has_one(self, cluster: Cluster, change: str) -> None:
        config_map = cluster.objects[("configmap", "artifact-repositories")]
        if change == "gone":
            del cluster.objects[("configmap", "artifact-repositories")]
        elif change == "no default":
            config_map["metadata"]["annotations"] = {}
        else:
            config_map["data"] = {"other": config_map["data"]["default"]}
        [finding] = findings(*TYPED)
        assert finding.startswith("configmap artifact-repositories: ")
        controller = ("configmap", "workflow-controller-configmap")
        cluster.objects[controller] = {"data": {"artifactRepository": "s3: {bucket: all}"}}
        assert begin(*TYPED, apply=True)

    @pytest.mark.parametrize(
        ("hw", "limits", "component"),
        [
            ("gpu", {"gpu": "0"}, "with-gpu-k80"),
            ("gpu-t4", {"gpu": "1"}, "with-gpu-t4"),
            ("gpu-h100", {}, "with-gpu-h100"),
        ],
    )
    def test_a_gpu_of_which_no_run_may_have_one(
        self, cluster: Cluster, hw: str, limits: dict[str, str], component: str
    ) -> None:
        cluster.objects[("configmap", "gpu-limits")] = {"data": limits}
        [finding] = findings(*TYPED, f"hw={hw}")
        assert finding.startswith(f"hw={hw}: ConfigMap gpu-limits")
        assert f"deploy/kustomize/components/{component}" in finding

    @pytest.mark.parametrize(
        ("phase", "mode", "refused"),
        [
            ("Lost", "WaitForFirstConsumer", True),
            ("Pending", "Immediate", True),
            ("Pending", "WaitForFirstConsumer", False),
        ],
    )
    def test_a_claim_without_a_volume(self, cluster: Cluster, phase: str, mode: str, refused: bool) -> None:
        claim = {"spec": {"storageClassName": "standard"}, "status": {"phase": phase}}
        cluster.objects |= {
            ("persistentvolumeclaim", "models"): claim,
            ("storageclass", "standard"): {"volumeBindingMode": mode},
        }
        if refused:
            [finding] = findings(*TYPED)
            assert finding.startswith("persistentvolumeclaim models: ")
        else:
            assert begin(*TYPED, apply=True)

    def test_what_this_account_may_not_read_is_not_said_to_be_missing(self, cluster: Cluster) -> None:
        kinds = {"secret", "configmap", "persistentvolumeclaim", "serviceaccount", "storageclass", "namespace"}
        cluster.objects, cluster.forbidden = {}, kinds
        assert begin(*TYPED, "hw=gpu", apply=True)

    def test_the_claim_for_data_for_a_path_on_it_alone(self, cluster: Cluster) -> None:
        del cluster.objects[("persistentvolumeclaim", "data")]
        has(cluster, *TYPED, "dataset.source=csv")
        assert begin(*TYPED, "dataset.source=csv", "dataset.path=s3://bucket/closes.csv", apply=False)
        [finding] = findings(*TYPED, "dataset.source=csv", "dataset.path=/data/closes.csv", apply=True)
        assert finding.startswith("persistentvolumeclaim data: is not in namespace tapeline")


class TestLook:
    def test_how_far_a_workflow_is(self, cluster: Cluster) -> None:
        cluster.runs(
            *task("ingest", "Succeeded", ("Succeeded", "")),
            *task("train", "Running", ("Error", "pod deleted"), ("Pending", "Unschedulable: 0/1 nodes: no GPU")),
            *task(
                "gate",
                "Running",
                ("Failed", "main: Error (exit code 137)"),
                ("Running", ""),
                outputs={"exitCode": "137"},
            ),
            *task("report", "Failed", ("Failed", _refusal("a: b; c")), outputs={"exitCode": "2"}),
            skipped("publish", "Skipped", "when 'false == true' evaluated false"),
        )
        now = seen()
        assert now.ended == "failed"
        assert list(now.parts) == [
            Part("ingest", "ran", 60.0),
            Part("train", "again", note="try 1 was lost: pod deleted"),
            Part("train", "waits", note="Unschedulable: 0/1 nodes: no GPU"),
            Part("gate", "again", note="try 1 was lost: Error (exit code 137)"),
            Part("gate", "runs"),
            Part("report", "failed", note="a: b; c"),
            Part("publish", "skipped", note="accepted is not true"),
        ]

    def test_a_step_after_a_failure_is_not_said_to_have_a_condition(self, cluster: Cluster) -> None:
        omitted = "omitted: depends condition not met"
        cluster.runs(
            *task("train", "Failed", ("Failed", _refusal("a: b; c")), outputs={"exitCode": "2"}),
            skipped("export", "Omitted", omitted),
            skipped("publish", "Omitted", omitted),
        )
        notes = {part.name: part.note for part in seen().parts}
        assert notes["export"] == notes["publish"]
        assert "None" not in notes["export"]
        assert "accepted" not in notes["publish"]

    def test_the_end_is_that_of_the_graph_and_not_of_the_summary(self, cluster: Cluster) -> None:
        cluster.runs(*task("ingest", "Succeeded", ("Succeeded", "")))
        assert seen().ended == ""
        cluster.objects[("workflow", RUN)]["status"]["nodes"][RUN]["phase"] = "Succeeded"
        assert seen().ended == "succeeded"

    def test_seconds_and_image_are_the_containers(self, cluster: Cluster) -> None:
        main = {
            "name": "main",
            "image": "ghcr.io/tapeline/step:0.1.0",
            "imageID": "ghcr.io/tapeline/step@sha256:abc",
            "state": {"terminated": {"exitCode": 0, **times(7, 11)}},
        }
        cluster.runs(*task("ingest", "Succeeded", ("Succeeded", "")), *task("gate", "Succeeded", ("Succeeded", "")))
        cluster.pod("ingest", containerStatuses=[{"name": "wait", "state": {}}, main])
        for _ in range(3):
            now = seen()
            assert [part.seconds for part in now.parts] == [4.0, 60.0]
            assert now.images == {"ingest": "ghcr.io/tapeline/step:0.1.0@sha256:abc"}
        assert len([words for words in cluster.asked if "pods" in words]) == 1

    def test_an_account_that_may_not_list_pods_follows_the_nodes(self, cluster: Cluster) -> None:
        cluster.forbidden = {"pod"}
        cluster.runs(
            *task("ingest", "Succeeded", ("Succeeded", "")), *task("train", "Running", ("Pending", "PodInitializing"))
        )
        assert list(seen().parts) == [Part("ingest", "ran", 60.0), Part("train", "runs")]

    def test_a_stopped_run_is_said_to_be_stopped(self, cluster: Cluster) -> None:
        stopped = task("train", "Failed", ("Failed", "workflow shutdown with strategy:  Stop"))
        cluster.runs(*stopped, phase="Failed", spec={"shutdown": "Stop"})
        assert (seen().ended, seen().message) == ("failed", "was stopped")
        assert not [part for part in seen().parts if part.state == "failed"]

    def test_what_argo_says_of_the_whole_run(self, cluster: Cluster) -> None:
        said = "workflows must use workflowTemplateRef to be executed when the controller is in reference mode"
        cluster.runs(phase="Error", status={"message": said})
        assert seen() == Seen([], "failed", said)


def _refusal(sentence: str) -> str:
    return f"main: Error (exit code 2): time=1 level=INFO\ntapeline: {sentence}\ntime=2"


MOUNT = 'MountVolume.SetUp failed for volume "object-store" : '
NEVER = {
    "a Secret that is missing": (
        {"message": f'{MOUNT}secret "object-store" not found'},
        "there is no Secret object-store",
    ),
    "a key of it": (
        {"message": f"{MOUNT}references non-existent secret key: AWS_ACCESS_KEY_ID"},
        "no key AWS_ACCESS_KEY_ID",
    ),
    "a claim without a volume": (
        {"message": "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"},
        "no volume yet",
    ),
    "a volume of another node": (
        {"message": 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) serving-7d'},
        "volume pvc-1 is in use on another node",
    ),
    "an image": (
        {"message": 'Failed to pull image "x/step:9": rpc error: code = NotFound desc = failed to pull'},
        "image x/step:9 cannot be pulled",
    ),
    "a card": (
        {"message": "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."},
        "no node has the labels",
    ),
    "a processor": (
        {"message": "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1"},
        "not enough|enough cpu",
    ),
}


class TestPodsThatDoNotStart:
    @pytest.mark.parametrize(("event", "sentence"), NEVER.values(), ids=NEVER)
    def test_the_reason_is_in_the_events(self, cluster: Cluster, event: dict[str, str], sentence: str) -> None:
        cluster.runs(*task("ingest", "Running", ("Pending", "PodInitializing")))
        cluster.pod("ingest", {"type": "Normal", "message": "Successfully assigned"}, event)
        [part] = seen().parts
        assert part.state == "waits"
        assert re.search(sentence, part.note)

    def test_the_state_of_argos_own_container(self, cluster: Cluster) -> None:
        said = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "argoexec:1": ErrImagePull'}
        main = {"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}
        cluster.runs(*task("ingest", "Running", ("Pending", "PodInitializing")))
        cluster.pod(
            "ingest", initContainerStatuses=[{"name": "init", "state": {"waiting": said}}], containerStatuses=[main]
        )
        assert seen().parts[0].note.startswith("image argoexec:1 cannot be pulled")

    @pytest.mark.parametrize(
        ("message", "sentence"),
        [
            ('pods "x" is forbidden: exceeded quota: tapeline, requested: cpu=2, used: cpu=15', "quota tapeline of"),
            ("Waiting for tapeline/ConfigMap/gpu-limits/gpu lock. Lock status: 0/1", "another run has the GPU"),
        ],
    )
    def test_a_pod_that_is_not_there_yet(self, cluster: Cluster, message: str, sentence: str) -> None:
        nodes = task("train", "Running", ("Pending", message))
        if "lock" in message:  # then there is no node of a try yet
            nodes = task("train", "Pending")
            nodes[0]["message"] = message
        cluster.runs(*nodes)
        [part] = seen().parts
        assert (part.state, sentence in part.note) == ("waits", True)

    def test_a_pod_that_starts_is_left_in_peace(self, cluster: Cluster) -> None:
        cluster.runs(*task("ingest", "Running", ("Pending", "PodInitializing")))
        running = [{"name": "init", "state": {"running": {"startedAt": "2026-11-21T15:00:00Z"}}}]
        cluster.pod(
            "ingest", {"message": "0/1 nodes are available: 1 Insufficient cpu."}, initContainerStatuses=running
        )
        assert list(seen().parts) == [Part("ingest", "runs")]

    def test_a_pod_about_which_nothing_is_said(self, cluster: Cluster) -> None:
        cluster.runs(*task("ingest", "Running", ("Pending", "")))
        cluster.pod("ingest", created="2999-01-01T00:00:00Z")
        assert list(seen().parts) == [Part("ingest", "runs")]
        cluster.pod("ingest", {"type": "Normal", "message": 'Pulling image "x/step:9"'})
        assert seen().parts[0].note == 'Pulling image "x/step:9"'

    def test_every_pattern_makes_a_sentence(self) -> None:
        for _, sentence in pod_events.WORDS:
            assert "; " in sentence or "{" in sentence


INIT = "init: Error (exit code 64): artifact raw failed to load: failed to get file: "
WAIT = "wait: Error (exit code 64): failed to put file: "
FAILURES = {
    "pod deleted": ("Error", None, "pod deleted", True),
    "evicted": ("Failed", None, "The node was low on resource: memory.", True),
    "killed": ("Failed", "137", "main: Error (exit code 137): a signature, forbidden", True),
    "refused": ("Failed", "2", _refusal("a: b; c"), False),
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
            node = {
                "id": name,
                "displayName": name,
                "type": "Pod",
                "phase": "Pending",
                "message": "Unschedulable: full",
            }
            made["status"] = {"phase": "Running", "nodes": {name: node}}

        cluster.when_created = waits
        with pytest.raises(Refused) as shown:
            on_argo.fetch(self.CONFIG, RUN)
        assert "Unschedulable: full" in str(shown.value)
        assert f"run={RUN}" in str(shown.value)
        assert cluster.sent[-1][:2] == ("delete", ("workflow", f"{RUN}-files-x7f", None))

    def test_a_pod_that_cannot_read_them(self, cluster: Cluster) -> None:
        cluster.runs(*_made("metrics.json"), phase="Succeeded")

        def fails(name: str, made: dict[str, Any]) -> None:
            node = {
                "id": name,
                "displayName": name,
                "type": "Pod",
                "phase": "Error",
                "message": f"{INIT}Access Denied.",
            }
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
