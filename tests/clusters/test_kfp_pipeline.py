"""What `tapeline build target=kfp` writes, for every experiment on CPU and GPU."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tapeline import files, lookup
from tapeline.clusters import pod_spec as pods
from tapeline.clusters.kfp import pipeline as emitter
from tapeline.clusters.plan import Plan, plan
from tapeline.config import compose as conf
from tapeline.errors import Refused
from tests.conftest import Tapeline

CASES: list[Any] = [
    ["experiment=snp_deep", "hw=gpu"],
    *([f"experiment={name}", "hw=cpu"] for name in conf.options("experiment")),
    *(
        pytest.param([f"experiment={name}", "hw=gpu"], marks=pytest.mark.long)
        for name in conf.options("experiment")
        if name != "snp_deep"
    ),
    ["dataset.source=csv", "dataset.path=s3://b/c.csv", "serving.store=s3://b/models", "target.store_secret=keys",
     "target.data_secret=keys", "target.pull_secret=registry"],
    ["target.cache=s3://b/cache", "target.cache_secret=keys"],
]  # fmt: skip


@cache
def _plan(*typed: str) -> Plan:
    return plan(lookup.configure(["target=kfp", *typed]), ["target=kfp", *typed])


@cache
def _files(*typed: str) -> tuple[list[Any], list[Any]]:
    """The documents of the pipeline, and of its objects."""
    pipeline, objects = emitter.emit(_plan(*typed)).values()
    return files.yaml_documents(pipeline), files.yaml_documents(objects)


def _tasks(spec: dict[str, Any]) -> dict[str, Any]:
    """All tasks of all pipelines in it, by name."""
    dags = [spec["root"], *(each for each in spec["components"].values() if "dag" in each)]
    return {name: task for each in dags for name, task in each["dag"]["tasks"].items()}


@pytest.mark.parametrize("typed", CASES, ids=" ".join)
def test_kfp_reads_it_and_knows_every_field(typed: list[str]) -> None:
    kfp = emitter._kfp()
    from google.protobuf import json_format
    from kfp import components
    from kfp.kubernetes import kubernetes_executor_config_pb2 as pb

    text = emitter.emit(_plan(*typed))[f"{_plan(*typed).name}.yaml"]
    spec, platform = files.yaml_documents(text)
    components.load_component_from_text(text)
    json_format.ParseDict(spec, kfp.pipeline_spec.pipeline_spec_pb2.PipelineSpec())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert executors.keys() == spec["deploymentSpec"]["executors"].keys()
    for each in executors.values():
        json_format.ParseDict(each, pb.KubernetesExecutorConfig())


@pytest.mark.parametrize("typed", CASES, ids=" ".join)
def test_the_graph_is_the_graph(typed: list[str]) -> None:
    planned, (spec, _) = _plan(*typed), _files(*typed)[0]
    tasks, maker = _tasks(spec), {made.name: step.name for step in planned.steps for made in step.makes}
    steps = {step.name: step for step in planned.steps}
    assert set(tasks) == {*steps, "publish-if-accepted", "condition-1"}
    for name, step in steps.items():
        inputs, made = tasks[name].get("inputs", {}), spec["components"][f"comp-{name}"].get("outputDefinitions", {})
        assert set(inputs.get("artifacts", {})) == set(step.inputs)
        assert set(made.get("artifacts", {})) == {each.name for each in step.makes}
        assert list(made.get("parameters", {})) == list(step.parameters)
        for artifact, source in inputs.get("artifacts", {}).items():
            if not step.when:
                taken = {"producerTask": maker[artifact], "outputArtifactKey": artifact}
                assert source == {"taskOutputArtifact": taken}
    decision = tasks["publish-if-accepted"]["inputs"]["parameters"]["accepted"]
    assert decision == {"taskOutputParameter": {"producerTask": "gate", "outputParameterKey": "accepted"}}
    condition = tasks["condition-1"]["triggerPolicy"]["condition"]
    assert condition == "inputs.parameter_values['pipelinechannel--accepted'] == 'true'"
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert {name: each["defaultValue"] for name, each in parameters.items()} == {
        each.name: "" for each in planned.parameters
    }
    assert [parameters[each.name]["description"] for each in planned.parameters] == [
        each.description for each in planned.parameters
    ]


def test_nothing_reads_what_publish_makes() -> None:
    (spec, _), _ = _files()
    inner = spec["components"]["comp-publish-if-accepted"]
    assert "outputDefinitions" not in inner
    assert "outputs" not in inner["dag"]
    assert not [name for name, task in _tasks(spec).items() if "publish-if-accepted" in task.get("dependentTasks", [])]


@pytest.mark.parametrize("typed", CASES, ids=" ".join)
def test_each_container_says_what_it_runs_and_who_it_is(typed: list[str]) -> None:
    (spec, platform), _ = _files(*typed)
    record = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for name, each in spec["deploymentSpec"]["executors"].items():
        container = each["container"]
        assert container["command"] == list(pods.COMMAND)
        assert container["args"][:2] == ["step", name.removeprefix("exec-")]
        assert container["image"].rpartition(":")[2] not in ("", "latest")
        assert not {"sh", "bash", "-c"} & {*container["command"], *container["args"]}
        assert record[name]["podMetadata"]["labels"]["app.kubernetes.io/component"] == name.removeprefix("exec-")
        user = str(pods.USER)
        assert record[name]["securityContext"] == {"runAsUser": user, "runAsGroup": user, "runAsNonRoot": True}


def test_what_looks_at_the_world_is_never_cached() -> None:
    def uncached(*typed: str) -> list[str]:
        tasks = _tasks(_files(*typed)[0][0])
        return [name for name, each in tasks.items() if name != "condition-1" and not each["cachingOptions"]]

    assert uncached() == ["gate", "publish-if-accepted", "publish"]
    assert uncached("dataset.source=csv", "dataset.path=/data/c.csv") == [
        "gate",
        "ingest",
        "publish-if-accepted",
        "publish",
    ]


def test_the_accelerator_is_a_resource_of_train_alone() -> None:
    (spec, platform), _ = _files("hw=gpu")
    record = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    resources = {name: each["container"]["resources"] for name, each in spec["deploymentSpec"]["executors"].items()}
    assert [name for name, each in resources.items() if "accelerator" in each] == ["exec-train"]
    assert resources["exec-train"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert resources["exec-train"]["accelerator"]["resourceCount"] == "1"
    assert [name for name, each in record.items() if "tolerations" in each or "nodeSelector" in each] == ["exec-train"]
    assert record["exec-train"]["nodeSelector"]["labels"] == {"cloud.google.com/gke-accelerator": "nvidia-tesla-k80"}
    assert record["exec-train"]["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]


def test_nodes_of_the_target_are_of_all_tasks_and_a_priority_is_refused() -> None:
    pool = ["target.node_selector={pool: spot}", "target.tolerations=[{key: spot, operator: Exists}]"]
    (spec, platform), _ = _files(*pool)
    record = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert record.keys() == spec["deploymentSpec"]["executors"].keys()
    for each in record.values():
        assert each["nodeSelector"]["labels"] == {"pool": "spot"}
        assert each["tolerations"] == [{"key": "spot", "operator": "Exists"}]
    with pytest.raises(Refused, match="pods of KFP have no priority"):
        _files("target.priority_class=batch")


def test_store_data_and_secrets_are_where_they_are_needed() -> None:
    (_, platform), _ = _files("dataset.source=csv", "dataset.path=/data/c.csv")
    record = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    mounts = {
        name: [(m["constant"], m["mountPath"]) for m in each.get("pvcMount", [])] for name, each in record.items()
    }
    assert {name: each for name, each in mounts.items() if each} == {
        "exec-ingest": [("data", "/data")],
        "exec-gate": [("models", "/models")],
        "exec-publish": [("models", "/models")],
    }
    (_, platform), _ = _files(*CASES[-2])
    record = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert [name for name, each in record.items() if "secretAsEnv" in each] == [
        "exec-gate",
        "exec-ingest",
        "exec-publish",
    ]
    (keys,) = record["exec-gate"]["secretAsEnv"]
    assert keys["secretName"] == "keys"
    assert keys["optional"] is True
    assert all(each["secretKey"] == each["envVar"] for each in keys["keyToEnv"])
    assert {each["imagePullSecret"][0]["secretName"] for each in record.values()} == {"registry"}


def test_retries_deadline_and_what_is_left_of_a_run() -> None:
    (spec, platform), _ = _files("target.deadline_seconds=7200", "target.ttl_seconds=60", "target.retries=2")
    policy = _tasks(spec)["train"]["retryPolicy"]
    assert policy == {
        "maxRetryCount": 2, "backoffDuration": "30s", "backoffFactor": 2.0, "backoffMaxDuration": "7200s",
    }  # fmt: skip
    record = platform["platforms"]["kubernetes"]["pipelineConfig"]
    assert record == {"activeDeadlineSeconds": 7200, "resourceTtlOnCompletion": 60}


def test_its_objects_hold_the_same_and_another_version_another_name() -> None:
    (spec, platform), (pipeline, version) = _files()
    assert pipeline["kind"] == "Pipeline"
    assert version["kind"] == "PipelineVersion"
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"] == spec["pipelineInfo"]["name"]
    assert not any("namespace" in each["metadata"] for each in (pipeline, version)), "kubectl -n chooses it"
    assert version["spec"]["pipelineSpec"] == spec
    assert version["spec"]["platformSpec"] == platform
    again = emitter.emit(_plan())["indices-deep-cpu.k8s.yaml"]
    assert files.yaml_documents(again) == [pipeline, version]
    assert _files("model.steps=7")[1][1]["metadata"]["name"] != version["metadata"]["name"]


def test_fused_two_pods_run_the_whole_graph() -> None:
    whole = plan(lookup.configure(["target=kfp"]), ["target=kfp"], fused=True)
    spec, _ = files.yaml_documents(emitter.emit(whole)["indices-deep-cpu.yaml"])
    containers = {name: each["container"]["args"][1] for name, each in spec["deploymentSpec"]["executors"].items()}
    assert containers == {
        "exec-run": ",".join(step.name for step in whole.steps if not step.when),
        "exec-publish": "publish",
    }
    tasks = _tasks(spec)
    decision = tasks["publish-if-accepted"]["inputs"]["parameters"]["accepted"]
    assert decision == {"taskOutputParameter": {"producerTask": "run", "outputParameterKey": "accepted"}}


def test_what_kfp_does_in_another_way_is_said() -> None:
    said = " ".join(emitter.limits(_plan()))
    assert "pipeline-runner" in said
    assert "fsGroup" in said
    assert "fsGroup" not in " ".join(emitter.limits(_plan("serving.store=s3://b/models")))
    assert "all its pods have mine" in " ".join(emitter.limits(_plan("target.account=mine")))


def test_a_resource_that_kfp_has_no_word_for_is_refused() -> None:
    with pytest.raises(Refused, match=r"ephemeral-storage: target=kfp supports only cpu and memory; remove it"):
        emitter.emit(_plan("target.limits={cpu: '1', memory: 1Gi, ephemeral-storage: 1Gi}"))


def test_a_missing_kfp_is_said(tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "kfp", None)
    code, _, err = tapeline("build", "target=kfp")
    assert (code, err) == (2, "tapeline: target=kfp: kfp is not installed; install tapeline[kfp]\n")
    assert not list(folder.iterdir())


def test_a_build_imports_neither_tensorflow_nor_the_other_emitter_nor_a_client(folder: Path) -> None:
    script = (
        "import sys; from tapeline.cli.main import main; assert main(['build', 'target=kfp', 'hw=gpu']) == 0; "
        "print(sorted({'tensorflow', 'hera', 'kubernetes', 'kfp.client', 'polars'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert (folder / "workflows" / "kfp" / "indices-deep-gpu.yaml").is_file()
