from __future__ import annotations

import re

import pytest

from tapeline import lookup
from tapeline.clusters import pod_events
from tapeline.clusters.argo import submit as on_argo
from tapeline.clusters.run_status import Part, Seen
from tests.clusters.submit.stand_in import RUN, Cluster, refusal, skipped, task, times
from tests.clusters.submit.test_argo import TYPED


def seen(*typed: str) -> Seen:
    return on_argo.look(lookup.configure(typed or TYPED), RUN)


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
            *task("report", "Failed", ("Failed", refusal("a: b; c")), outputs={"exitCode": "2"}),
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

    def test_a_lost_worker_beside_a_step_is_told_and_fails_nothing(self, cluster: Cluster) -> None:
        beside = {**times(), "id": "beside", "displayName": "tune-workers", "type": "DAG", "phase": "Running"}
        ended = {"lost": ("Error", "pod deleted", ""), "refused": ("Failed", refusal("a: b; c"), "2")}
        pods = [
            {**times(), "id": name, "displayName": name, "type": "Pod", "phase": phase, "message": message,
             "boundaryID": "beside", "outputs": {"exitCode": code} if code else {}}
            for name, (phase, message, code) in ended.items()
        ]  # fmt: skip
        cluster.runs(*task("tune", "Running", ("Running", "")), {**beside, "boundaryID": RUN}, *pods)
        now = seen()
        assert now.ended == ""
        assert [(part.name, part.state) for part in now.parts] == [
            ("tune", "runs"),
            ("tune-workers", "again"),
            ("tune-workers", "runs"),
        ]
        assert "lost" in now.parts[1].note
        assert "pod deleted" in now.parts[1].note

    def test_the_parts_of_a_step_are_one_line_and_a_refused_part_says_why(self, cluster: Cluster) -> None:
        whole = {**times(), "id": "parts", "displayName": "features-part", "type": "DAG", "boundaryID": RUN}
        ended = {"lost": ("Error", "pod deleted", ""), "refused": ("Failed", refusal("a: b; c"), "2")}
        pods = [
            {**times(), "id": name, "displayName": name, "type": "Pod", "phase": phase, "message": message,
             "boundaryID": "parts", "outputs": {"exitCode": code} if code else {}}
            for name, (phase, message, code) in ended.items()
        ]  # fmt: skip
        cluster.runs({**whole, "phase": "Failed", "message": "child 'x' failed"}, *pods)
        now = seen()
        assert now.ended == "failed"
        assert [(part.name, part.state) for part in now.parts] == [
            ("features-part", "again"),
            ("features-part", "failed"),
        ]
        assert now.parts[-1].note == "a: b; c"
        main = {"name": "main", "image": "a/step:1", "imageID": "a/step@sha256:abc"}
        cluster.runs({**whole, "phase": "Succeeded"}, {**pods[1], "phase": "Succeeded", "id": f"{RUN}-fine-0"})
        state = {"terminated": {"exitCode": 0, **times(7, 11)}}
        cluster.pod("fine", containerStatuses=[{**main, "state": state}])
        assert seen().images == {"features-part": "a/step:1@sha256:abc"}

    def test_a_step_after_a_failure_is_not_said_to_have_a_condition(self, cluster: Cluster) -> None:
        omitted = "omitted: depends condition not met"
        cluster.runs(
            *task("train", "Failed", ("Failed", refusal("a: b; c")), outputs={"exitCode": "2"}),
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

    def test_an_image_of_no_registry_has_its_identity_on_the_node(self, cluster: Cluster) -> None:
        ended = {"terminated": {"exitCode": 0, **times(7, 11)}}
        main = {"name": "main", "image": "docker.io/a/step:1", "imageID": "sha256:abc", "state": ended}
        cluster.runs(*task("ingest", "Succeeded", ("Succeeded", "")))
        cluster.pod("ingest", containerStatuses=[main])
        assert seen().images == {"ingest": "docker.io/a/step:1 (sha256:abc)"}

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
