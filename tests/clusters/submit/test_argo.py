from __future__ import annotations

import json
from typing import Any

import pytest

from tapeline import lookup
from tapeline.clusters import emit as build
from tapeline.clusters.argo import submit as on_argo
from tapeline.clusters.argo import template as argo
from tapeline.errors import Refused
from tests.clusters.submit.stand_in import Cluster

TYPED = ("target=argo", "experiment=snp_deep")


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
        """The key is not a parameter, so each needs a template of its own, and changes none on the cluster."""
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
