"""Sixty mistakes in emitted and shipped YAML, of other kinds than those of the rules' own tests: most are found."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import pytest
import yaml

from tapeline import files
from tapeline.checks import kustomize, pods
from tapeline.checks.emitted import emitted, together
from tapeline.checks.nodes import Node
from tapeline.commands.check import arguments_are_read
from tests.checks import test_emitted
from tests.checks.planting import DROP, plant, rules
from tests.checks.test_kustomize import TREE

LEAST = 54
MODULES = ("api", "egress", "meaning", "programs", "quotas", "runs")
"""Modules of rules that are tested here."""


class Mistake(NamedTuple):
    """A mistake: in which object, at which path, the value, and a part of the line that has to report it."""

    target: str
    path: str
    value: Any
    reports: str


def word(old: str, new: str) -> Callable[[list[str]], list[str]]:
    """Another word in a list of arguments."""

    def change(words: list[str]) -> list[str]:
        assert any(old in each for each in words), words
        return [each.replace(old, new) for each in words]

    return change


def text(old: str, new: str) -> Callable[[str], str]:
    """Another word in a text."""

    def change(content: str) -> str:
        assert old in content, content
        return content.replace(old, new)

    return change


def reading(url: str) -> Callable[[list[str]], list[str]]:
    """The arguments of a step that reads a database."""
    words = ["dataset.source=sql", f"dataset.url={url}"]
    return lambda given: [*given[:2], *words, *given[2:]]


def step(name: str, key: str) -> str:
    return f"spec templates [{name}] container {key}"


TASKS = "spec templates [graph] dag tasks"
SERVER = "spec template spec containers [serving]"
JOB = "spec jobTemplate spec template spec"

MISTAKES = [
    # arguments of steps and commands
    Mistake("argo", step("evaluate", "args"), word("evaluate", "evalute"), "step evalute: no such step"),
    Mistake("argo", step("train", "args"), word("experiment=snp_deep", "experiment=snp_dep"), "has no option snp_dep"),
    Mistake("argo", step("gate", "args"), word("gate.threshold=", "gate.treshold="), "gate.treshold"),
    Mistake("argo", step("ingest", "args"), word("dataset.cutoff_year={{", "dataset.cutof_year={{"), "dataset.cutof_year"),
    Mistake("argo", step("report", "args"), word("--built=", "--build="), "--build="),
    Mistake("argo", step("export", "args"), word("fitted=/workspace/in/fitted", "fited=/workspace/in/fitted"), "--in fited"),
    Mistake("argo", step("features", "args"), word("sample=", "samples="), "--out samples"),
    Mistake("argo", step("train", "args"), word('"model.steps":30000', '"model.steps":3000'), "model.steps"),
    Mistake("argo", step("summary", "args"), word("summary", "sumary"), "sumary: unknown command"),
    Mistake("argo", step("summary", "args"), word("status=", "state="), "state="),
    Mistake("argo", step("ingest", "command"), ["python3", "-m", "tapelin"], "there is no module tapelin"),
    Mistake("argo", step("publish", "command"), ["pyhton3", "-m", "tapeline"], "no image has the program pyhton3"),
    Mistake("CronJob/rollback", f"{JOB} containers [rollback] args", word("rollback", "roll-back"), "roll-back: unknown command"),
    Mistake("CronJob/rollback", f"{JOB} containers [rollback] args", word("serving.store", "serving.stor"), "serving.stor"),
    Mistake("CronJob/rollback", f"{JOB} containers [rollback] args", word("serving.name=", "model.family="), "rollback does not read model"),
    Mistake("Deployment/serving", "spec template spec initContainers [store] args", ["store", "innit", "/models"], "store innit"),
    # paths and artifacts
    Mistake("argo", "spec templates [gate] inputs artifacts [scores] path", "/workspace/in/score.json", "no --in of the step names this path"),
    Mistake("argo", "spec templates [export] outputs artifacts [servable] path", "/workspace/out/model", "no --out of the step names this path"),
    Mistake("argo", "spec templates [gate] outputs parameters [accepted] valueFrom path", "/workspace/out/acepted", "no --out of the step writes this file"),
    Mistake("argo", "spec templates [features] outputs artifacts [sample] s3 key",
            "artifacts/{{workflow.namespace}}/{{workflow.name}}/profile.json", "2 artifacts have this key"),
    Mistake("argo", "spec templates [summary] inputs artifacts [metrics] s3 key",
            "results/{{workflow.namespace}}/{{workflow.name}}/metric.json", "no artifact is written under this key"),
    Mistake("argo", step("train", "volumeMounts [work] mountPath"), "/work", "lies on no volume of the container"),
    # conditions, states, deadlines, patches
    Mistake("argo", f"{TASKS} [publish] when", "{{tasks.gate.outputs.parameters.accepted}} == True", "accepted is never True"),
    Mistake("argo", f"{TASKS} [publish] when", "{{tasks.gate.outputs.parameters.accepted}} == yes", "accepted is true or false"),
    Mistake("argo", f"{TASKS} [publish] depends", "export && gate.Failed", "gate has no outputs when it is Failed"),
    Mistake("argo", f"{TASKS} [report] depends", "features && train && evaluate && gate.Suceeded", "Argo has no state Suceeded"),
    Mistake("argo", "spec podSpecPatch", text('"wait"', '"wiat"'), "Argo makes no container wiat"),
    Mistake("argo", "spec podSpecPatch", text("securityContext", "securtyContext"), "securtyContext"),
    Mistake("argo", "spec podSpecPatch", text('"containers": [', '"containers": {'), "podSpecPatch"),
    Mistake("argo", "spec activeDeadlineSeconds", 30, "no run ends within 30 s"),
    Mistake("argo", "spec templates [train] retryStrategy backoff duration", "3h", "the retries wait"),
    Mistake("argo", "spec templates [train] activeDeadlineSeconds", 99999, "the whole run ends after"),
    # the server
    Mistake("Deployment/serving", f"{SERVER} args", word("--rest_api_port", "--rest_port"), "has no flag --rest_port"),
    Mistake("Deployment/serving", f"{SERVER} args", word("8501", "8502"), "--rest_api_port=8502 is not among them"),
    Mistake("Deployment/serving", f"{SERVER} args", word("/models/models.config", "/model/models.config"), "/model/models.config lies on no volume"),
    Mistake("Deployment/serving", f"{SERVER} args", word("monitoring.config", "monitor.config"), "has no key monitor.config"),
    Mistake("Deployment/serving", f"{SERVER} args", word("poll_wait_seconds=5", "poll_wait_seconds=5s"), "5s is not a number"),
    Mistake("Deployment/serving", f"{SERVER} readinessProbe httpGet port", "grpc", "the server answers gRPC there"),
    Mistake("Deployment/serving", f"{SERVER} readinessProbe httpGet path", "/v1/model/indices", "has no such path"),
    Mistake("Deployment/serving", f"{SERVER} livenessProbe timeoutSeconds", 20, "longer than the period"),
    Mistake("Deployment/serving", f"{SERVER} lifecycle preStop sleep seconds", 60, "of the grace period"),
    Mistake("Deployment/serving", f"{SERVER} ports [rest] containerPort", 8500, "8500"),
    Mistake("Deployment/object-store", "spec template spec containers [object-store] args", word("8333", "8334"), "8334"),
    Mistake("StatefulSet/study-database", "spec template spec containers [postgres] volumeMounts [data] name", "dat", "the pod has no volume dat"),
    Mistake("StatefulSet/study-database", "spec volumeClaimTemplates [0] metadata name", "database", "the pod has no volume data"),
    # what the API server validates
    Mistake("NetworkPolicy/workflow-to-api-server", "spec egress [0] to [0] ipBlock cidr", "10.0.0.1/8", "10.0.0.1/8 is not a range"),
    Mistake("NetworkPolicy/data-to-internet", "spec egress [0] to [1] ipBlock except [0]", "10.0.0.0/8", "does not lie in ::/0"),
    Mistake("PersistentVolumeClaim/models", "spec accessModes [0]", "ReadWriteMay", "did you mean ReadWriteMany"),
    Mistake("HorizontalPodAutoscaler/serving", "spec maxReplicas", 1, "below minReplicas 2"),
    Mistake("HorizontalPodAutoscaler/serving", "spec metrics [0] resource target averageUtilization", 700, "700 %"),
    Mistake("LimitRange/tapeline", "spec limits [0] defaultRequest memory", "1Gi", "defaultRequest 1Gi is above default 512Mi"),
    Mistake("PodDisruptionBudget/serving", "spec maxUnavailable", 0, "can be drained"),
    Mistake("CronJob/rollback", f"{JOB} restartPolicy", "Always", "takes Never or OnFailure"),
    # references by meaning
    Mistake("NetworkPolicy/workflow-to-dns", "spec egress [0] to [0] namespaceSelector matchLabels kubernetes.io/metadata.name",
            "kube-sytem", "there is no namespace kube-sytem"),
    Mistake("NetworkPolicy/workflow-to-dns", "spec egress [0] ports [0] protocol", "TCP", "DNS is asked over UDP"),
    Mistake("NetworkPolicy/serving-from-clients", "spec ingress [0] ports [0] port", 8050, "no pod there listens on 8050"),
    Mistake("Role/workflow-executor", "rules [0] verbs", ["create"], "also needs patch"),
    Mistake("Role/workflow-executor", "rules [0] apiGroups", ["argoproj.com"], "belongs to the group argoproj.io"),
    Mistake("Service/serving", "spec ports [grpc] targetPort", 8400, "no container listens on 8400"),
    Mistake("ConfigMap/artifact-repositories", "data default", text("object-store:8333", "object-store:8332"), "has no port 8332"),
    Mistake("ConfigMap/artifact-repositories", "data default", text("bucket:", "buckets:"), "s3 has no field buckets"),
    Mistake("ResourceQuota/tapeline", "spec hard limits.cpu", "1", "is above the quota 1"),
    Mistake("ResourceQuota/tapeline", "spec hard requests.cpu", "4", "requests.cpu, and the quota is 4; raise it"),
    Mistake("NetworkPolicy/workflow-to-dns", "spec podSelector matchExpressions [0] values", DROP, "In needs values"),
    Mistake("Service/serving", "spec ports [rest] port", 8500, "8500/TCP occurs 2 times"),
    Mistake("WorkflowTemplate/snp-deep-gpu-t4", "spec executor serviceAccountName", "tapeline-serving", "may not write workflowtaskresults"),
    Mistake("WorkflowTemplate/snp-deep-gpu-t4", "spec serviceAccountName", "tapeline-executor", "may write the outputs of others"),
    # what is connected to
    Mistake("WorkflowTemplate/snp-deep-gpu-t4", step("ingest", "args"), reading("postgresql://reader@closes.data.svc/x"), "is on closes.data.svc:5432, and no NetworkPolicy"),
    Mistake("WorkflowTemplate/snp-deep-gpu-t4", step("ingest", "args"), reading("postgresql://reader@10.1.2.3/x"), "is on 10.1.2.3:5432, and no NetworkPolicy"),
    Mistake("ConfigMap/artifact-repositories", "data default", text("object-store:8333", "minio.storage.svc:9000"), "no NetworkPolicy lets steps connect"),
]  # fmt: skip
# ruff: noqa: E501  # a mistake stays one line


@cache
def shipped() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The base with some components, without kubectl; and what people create."""
    paths = [path for path in sorted((TREE / "base").glob("*.yaml")) if "kustomiz" not in path.name]
    paths += [TREE / "components" / "with-autoscaling" / "autoscaler.yaml"]
    paths += [TREE / "components" / f"with-{name}" / f"{name}.yaml" for name in ("object-store", "study-database")]
    texts = [path.read_text() for path in paths]
    monitoring = {"monitoring.config": (TREE / "base" / "monitoring.config").read_text()}
    generated = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "serving"}, "data": monitoring}
    objects = [*(each for part in texts for each in files.yaml_documents(part)), generated, right("argo")[0]]
    found = json.loads(json.dumps(objects))
    (gpus,) = (each for each in found if each["metadata"].get("name") == "gpu-limits")
    (quota,) = (each for each in found if each["kind"] == "ResourceQuota")
    gpus["data"]["gpu-t4"] = quota["spec"]["hard"]["requests.nvidia.com/gpu"] = (
        "1"  # as the component of this card does
    )
    return found, yaml.safe_load((TREE / "outside.yaml").read_text())


def lines(documents: Sequence[dict[str, Any]], target: str) -> list[str]:
    """What make check finds in documents."""
    nodes = [Node(each, "x") for each in documents]
    # objects without a mistake are looked at by themselves once, as in make check
    unchanged = {json.dumps(each, default=str) for each in shipped()[0]} if documents is not shipped()[0] else set()
    found = together(nodes) if target == "argo" else kustomize.policies(documents, "x", shipped()[1], unchanged)
    return list(dict.fromkeys(map(str, [*found, *_of_commands(nodes)])))


def _of_commands(nodes: Sequence[Node]) -> Iterator[Any]:
    for node in nodes:
        for pod in pods.pods(node):
            for container in pod.containers:
                yield from arguments_are_read(container)


def right(target: str) -> list[dict[str, Any]]:
    return test_emitted.documents("argo")[:1] if target == "argo" else shipped()[0]


def found_by(mistake: Mistake) -> list[str]:
    documents = [
        plant(each, mistake.path, mistake.value)
        if mistake.target in ("argo", f"{each['kind']}/{each['metadata'].get('name')}")
        else each
        for each in right(mistake.target)
    ]
    return lines(documents, mistake.target)


def test_what_is_right_is_not_found() -> None:
    assert lines(right("argo"), "argo") == lines(right("shipped"), "shipped") == []


def test_of_sixty_mistakes_most_are_found(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(MISTAKES) >= 60
    assert len({(each.target, each.path, each.reports) for each in MISTAKES}) == len(MISTAKES)
    used = _record(monkeypatch)
    missed = [each for each in MISTAKES if not any(each.reports in line for line in found_by(each))]
    for each in missed:
        print(f"  not found: {each.target} {each.path}: {each.reports}; but {found_by(each)}")
    print(f"found {len(MISTAKES) - len(missed)} of {len(MISTAKES)} planted mistakes")
    record = capsys.readouterr().out
    assert len(MISTAKES) - len(missed) >= LEAST, record
    assert {name for name in rules() if name.partition(".")[0] in MODULES} <= used, "each rule finds one of them"


def _record(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the rules that find something from now on."""
    used: set[str] = set()

    def recorded(name: str, rule: Callable[..., Any]) -> Callable[..., Any]:
        def apply(subject: Any) -> Iterator[Any]:
            for finding in rule(subject):
                used.add(name)
                yield finding

        return apply

    for module in MODULES:
        found = importlib.import_module(f"tapeline.checks.{module}")
        named = tuple(recorded(f"{module}.{rule.__name__}", rule) for rule in found.RULES)
        monkeypatch.setattr(found, "RULES", named)
    return used


@pytest.mark.parametrize(
    "content", ["a: 1\nb: 2\na: 3\n", "spec:\n  x: {y: 1, y: 2}\n", "{a: 1, 'a': 2}\n"],
)  # fmt: skip
def test_a_key_that_stands_twice_is_found(content: str) -> None:
    (finding,) = emitted({"w.yaml": content})
    assert "occurs twice in a mapping" in finding.problem


def test_yaml_with_anchors_and_merged_keys_is_read() -> None:
    content = "kind: X\nbase: &b {a: 1}\nmore: {<<: *b, a: 2}\n"
    assert not [each for each in emitted({"w.yaml": content}) if "twice" in each.problem]
