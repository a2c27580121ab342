from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import pytest

from tapeline import files, lookup
from tapeline.checks.fields import fields_fit_their_schema
from tapeline.checks.nodes import Node
from tapeline.clusters import emit as build
from tapeline.clusters.argo import stored
from tapeline.config.schema import Argo
from tapeline.errors import Refused
from tapeline.pipeline.graph import FETCHED

TYPED = [
    ("target=argo",),
    ("target=argo", "experiment=snp_deep", "hw=gpu"),
    ("target=argo", "target.granularity=fused", "hw=gpu", "target.pull_secret=registry"),
    ("target=argo", "serving.store=s3://bucket/models", "target.store_secret=keys", "target.data_secret=more"),
    ("target=argo", "dataset.source=csv", "dataset.path=/data/closes.csv", "model=lightgbm"),
    ("target=argo", "target.cache=s3://bucket/cache", "target.cache_secret=keys", "target.granularity=fused"),
]


@cache
def emitted(*typed: str) -> dict[str, Any]:
    texts = build.emit(lookup.configure(typed), typed)
    return {name: files.yaml_documents(text)[0] for name, text in texts.items()}


def templates(*typed: str) -> dict[str, Any]:
    first = next(iter(emitted(*typed).values()))
    return {each["name"]: each for each in first["spec"]["templates"]}


def pods(*typed: str) -> dict[str, Any]:
    return {name: each for name, each in templates(*typed).items() if "container" in each}


@pytest.mark.parametrize("typed", TYPED, ids=" ".join)
def test_every_object_is_one_that_argo_knows(typed: tuple[str, ...]) -> None:
    objects = emitted(*typed)
    assert [each["kind"] for each in objects.values()] == ["WorkflowTemplate", "Workflow", "CronWorkflow"]
    for each in objects.values():
        assert list(fields_fit_their_schema(Node(each, "w.yaml"))) == []


POOL = ("target.node_selector={pool: spot}", "target.tolerations=[{key: spot, operator: Equal, value: 'true'}]")


def test_all_pods_have_the_nodes_and_the_priority_of_the_target() -> None:
    made = pods("target=argo", "hw=gpu", *POOL, "target.priority_class=batch")
    for name, each in made.items():
        card = name == "train"
        assert each["nodeSelector"]["pool"] == "spot"
        assert ("cloud.google.com/gke-accelerator" in each["nodeSelector"]) == card
        keys = [(one["key"], one.get("value")) for one in each["tolerations"]]
        assert keys == [("spot", "true"), *([("nvidia.com/gpu", None)] if card else [])]
        assert each["priorityClassName"] == "batch"


@pytest.mark.parametrize("typed", TYPED, ids=" ".join)
def test_what_a_task_reads_is_there_and_made_before(typed: tuple[str, ...]) -> None:
    graph = templates(*typed)["graph"]["dag"]["tasks"]
    made: dict[str, set[str]] = {}
    conditional = {task["name"] for task in graph if "when" in task}
    for task in graph:
        text = json.dumps({"when": task.get("when"), "arguments": task.get("arguments")})
        needs = re.findall(r"tasks\.([\w-]+)\.outputs\.(?:artifacts|parameters)\.(\w+)", text)
        assert {name for name, _ in needs} == set(filter(None, task.get("depends", "").split(" && ")))
        assert not {name for name, _ in needs} & conditional
        assert all(output in made[name] for name, output in needs)
        template = templates(*typed)[task["template"]]
        for side in ("parameters", "artifacts"):
            given = {each["name"] for each in task.get("arguments", {}).get(side, [])}
            assert given == {each["name"] for each in template["inputs"].get(side, [])}
        made[task["name"]] = {each["name"] for side in template["outputs"].values() for each in side}
    assert conditional == {"publish"}


@pytest.mark.parametrize("typed", TYPED, ids=" ".join)
def test_every_tag_names_something(typed: tuple[str, ...]) -> None:
    first = next(iter(emitted(*typed).values()))
    known = {each["name"] for each in first["spec"]["arguments"]["parameters"]}
    for name, template in pods(*typed).items():
        own = {each["name"] for each in template["inputs"].get("parameters", [])}
        tags = set(re.findall(r"\{\{(.*?)\}\}", json.dumps(template["container"])))
        workflow = {f"workflow.{each}" for each in ("name", "status", "duration", "failures")}
        assert tags == ({f"inputs.parameters.{each}" for each in own} if name != "summary" else workflow)
    assert set(re.findall(r"workflow\.parameters\.(\w+)", json.dumps(first))) == known


@pytest.mark.parametrize("typed", TYPED, ids=" ".join)
def test_every_pod_meets_restricted_and_has_no_shell_and_no_mutable_tag(typed: tuple[str, ...]) -> None:
    spec = next(iter(emitted(*typed).values()))["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    patch = json.loads(spec["podSpecPatch"])
    argos = {each["name"]: each["securityContext"] for each in (*patch["initContainers"], *patch["containers"])}
    assert set(argos) == {"init", "wait"}
    contexts = [*argos.values(), *(each["container"]["securityContext"] for each in pods(*typed).values())]
    for context in contexts:
        assert context["runAsNonRoot"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False
    accounts = {spec["serviceAccountName"], *(each.get("serviceAccountName") for each in pods(*typed).values())}
    assert spec["executor"]["serviceAccountName"] not in accounts
    for each in pods(*typed).values():
        container = each["container"]
        assert container["command"] == ["python3", "-m", "tapeline"]
        assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+", container["image"])
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in each["volumes"]}
        assert {"/workspace", "/tmp"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]
    assert '"script"' not in json.dumps(spec)
    assert all("-c" not in each["container"]["args"] for each in pods(*typed).values())


def test_the_card_is_for_training_alone_and_its_number_is_limited() -> None:
    by_name = pods(*TYPED[1])
    card = {name: each for name, each in by_name.items() if "nodeSelector" in each}
    assert list(card) == ["train"]
    train = card["train"]
    assert train["container"]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert train["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    lock = {"configMapKeyRef": {"name": "gpu-limits", "key": "gpu"}}
    assert train["synchronization"] == {"semaphores": [lock]}
    assert not any("synchronization" in each for name, each in by_name.items() if name != "train")
    assert "synchronization" in pods(*TYPED[2])["run"]


def test_publish_alone_has_its_account_and_runs_where_the_gate_said_so() -> None:
    graph = {task["name"]: task for task in templates(*TYPED[0])["graph"]["dag"]["tasks"]}
    assert graph["publish"]["when"] == "{{tasks.gate.outputs.parameters.accepted}} == true"
    accepted = templates(*TYPED[0])["gate"]["outputs"]["parameters"]
    assert accepted == [{"name": "accepted", "valueFrom": {"default": "false", "path": "/workspace/out/accepted"}}]
    accounts = {name: each.get("serviceAccountName") for name, each in pods(*TYPED[0]).items()}
    assert {name for name, account in accounts.items() if account} == {"publish"}
    fused = {task["name"]: task for task in templates(*TYPED[2])["graph"]["dag"]["tasks"]}
    assert list(fused) == ["run", "publish"]
    assert fused["publish"]["when"] == "{{tasks.run.outputs.parameters.accepted}} == true"


@pytest.mark.parametrize("text", ["$(HOME)", "a $ b", "'", '"', "; rm -rf /"])
def test_an_override_reaches_tapeline_as_it_was_typed(text: str) -> None:
    typed = ("target=argo", f"dataset.date_format='{text}'" if "'" not in text else f'dataset.date_format="{text}"')
    built = lookup.configure([*typed, "dataset.source=csv", "dataset.path=/data/closes.csv"])
    words = files.yaml_documents(build.emit(built, typed)["indices-deep-cpu.yaml"])[0]["spec"]["templates"][1][
        "container"
    ]
    assert typed[1] in [_as_the_kubelet_gives_it(word) for word in words["args"]]


def _as_the_kubelet_gives_it(word: str) -> str:
    return re.sub(r"\$(\$|\(HOME\))", lambda found: "$" if found[1] == "$" else "/tmp", word)


def test_a_tag_in_an_override_is_refused() -> None:
    typed = ("target=argo", "dataset.date_format='{{workflow.uid}}'", "dataset.source=csv", "dataset.path=/data/x.csv")
    with pytest.raises(Refused, match=r"contains \{\{, which a cluster would replace; write it without braces"):
        build.emit(lookup.configure(typed), typed)


def test_a_parameter_cannot_become_anything_but_a_value() -> None:
    """Its $ is doubled, since the kubelet would put a variable for $(NAME)."""
    tasks = templates(*TYPED[0])["graph"]["dag"]["tasks"]
    values = [each["value"] for task in tasks for each in task["arguments"].get("parameters", [])]
    assert values
    assert all(re.fullmatch(r'\{\{=replace\(workflow\.parameters\.\w+, "\$", "\$\$"\)\}\}', each) for each in values)
    for name, each in pods(*TYPED[0]).items():
        words = each["container"]["args"]
        tagged = [index for index, word in enumerate(words) if "{{inputs" in word]
        assert all(words.index("--submitted") < index for index in tagged), name


def test_waiting_for_a_gpu_is_not_the_time_of_the_training() -> None:
    cpu, gpu = (next(iter(emitted(*typed).values()))["spec"] for typed in (TYPED[0], TYPED[1]))
    section = lookup.configure(TYPED[0]).target
    assert isinstance(section, Argo)
    assert cpu["activeDeadlineSeconds"] == section.deadline_seconds
    assert gpu["activeDeadlineSeconds"] == section.deadline_seconds + section.gpu_wait_seconds
    own = {name: each.get("activeDeadlineSeconds") for name, each in pods(*TYPED[1]).items()}
    assert own.pop("train") == section.deadline_seconds
    assert not any(own.values())


def test_what_submit_copies_lies_apart_from_what_a_store_may_delete() -> None:
    outputs = [made for each in pods(*TYPED[0]).values() for made in each.get("outputs", {}).get("artifacts", [])]
    folders = {made["name"]: made["s3"]["key"].partition("/")[0] for made in outputs}
    kept = {made.name for made in FETCHED}
    assert {name for name, folder in folders.items() if folder == stored.RESULTS} == kept
    assert {folder for name, folder in folders.items() if name not in kept} == {stored.ARTIFACTS}


def test_nothing_is_lost_on_the_way_through_the_models() -> None:
    """Hera's models drop in silence what they do not know; the schema then has nothing to complain about."""
    record = pods(*TYPED[3])["gate"]
    assert record["container"]["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert record["container"]["workingDir"] == "/workspace"
    secret = {"secretKeyRef": {"name": "keys", "key": "AWS_ACCESS_KEY_ID", "optional": True}}
    assert {"name": "AWS_ACCESS_KEY_ID", "valueFrom": secret} in record["container"]["env"]
    data = {"name": "data", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}}
    assert data in pods(*TYPED[4])["ingest"]["volumes"]
    assert record["retryStrategy"]["limit"] == 3
    assert "exitCode" in record["retryStrategy"]["expression"]
