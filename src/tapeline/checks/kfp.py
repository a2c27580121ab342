"""Pipelines of KFP: mistakes that its compiler does not report and that make a run fail."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tapeline.checks.nodes import Node
from tapeline.checks.pods import Pod
from tapeline.checks.template_variables import without_interpolations
from tapeline.errors import Finding, nearest

PLACEHOLDER = re.compile(r"\{\{\$(?P<path>[^{}]*)\}\}")
KNOWN = re.compile(
    r"|\.(?:pipeline_\w+|json_escape\[\d\]|inputs\.(?:artifacts|parameters)\['(?P<input>[^']+)'\](?:\.\w+|\['\w+'\])*"
    r"|outputs\.(?:artifacts|parameters)\['(?P<output>[^']+)'\](?:\.\w+|\['\w+'\])*)"
)
"""`$` alone is the whole input of the executor."""
TAKES = (
    ("parameters", "taskOutputParameter", "outputParameterKey"),
    ("artifacts", "taskOutputArtifact", "outputArtifactKey"),
)

GIVEN = (("parameters", "componentInputParameter"), ("artifacts", "componentInputArtifact"))


@dataclass(frozen=True)
class Pipeline:
    """A pipeline and its settings for Kubernetes: two documents of a file, or one PipelineVersion."""

    spec: Node
    platform: Node

    def executors(self) -> list[Node]:
        """Containers, by label."""
        return list(self.spec.at("deploymentSpec", "executors").each())

    def graphs(self) -> Iterator[tuple[Node, Node]]:
        """Each graph of tasks, with its component."""
        for component in (self.spec.at("root"), *self.spec.at("components").each()):
            if isinstance(component.at("dag", "tasks").value, dict):
                yield component, component.at("dag", "tasks")

    def component(self, task: Node) -> Node:
        """The component of a task."""
        return self.spec.at("components", str(task.at("componentRef", "name").value))


Rule = Callable[[Pipeline], Iterable[Finding]]


def pipelines(documents: Sequence[Node]) -> Iterator[Pipeline]:
    """The pipelines of a file."""
    for number, document in enumerate(documents):
        if document.at("kind").value == "PipelineVersion":
            yield Pipeline(document.at("spec", "pipelineSpec"), document.at("spec", "platformSpec"))
        elif isinstance(document.at("pipelineInfo").value, dict):
            behind = [each for each in documents[number + 1 :] if each.at("platforms").value is not None][:1]
            yield Pipeline(document, behind[0] if behind else Node(None, document.file))


def pods(pipeline: Pipeline) -> Iterator[Pod]:
    """The executors as pods, with the security settings that KFP's backend adds."""
    platform = pipeline.platform.at("platforms", "kubernetes", "deploymentSpec", "executors")
    for executor in pipeline.executors():
        container, extra = executor.at("container"), platform.at(executor.key)
        if not isinstance(container.value, dict):
            continue
        security = {key: _number(value) for key, value in extra.at("securityContext").mapping.items()}
        seccomp = {"seccompProfile": {"type": "RuntimeDefault"}}
        backend = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        spelt = {
            **container.value,
            "securityContext": {**security, **backend},
            "resources": _resources(container.at("resources").mapping),
        }
        selector = extra.at("nodeSelector", "labels").value
        level = {"securityContext": seccomp, "nodeSelector": selector, "tolerations": extra.at("tolerations").value}
        yield Pod((Node(level, extra.file, extra.keys),), (Node(spelt, container.file, container.keys),))


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _resources(given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    card = given.get("accelerator") or {}
    content: dict[str, dict[Any, Any]] = {
        "requests": {"cpu": given.get("resourceCpuRequest"), "memory": given.get("resourceMemoryRequest")},
        "limits": {
            "cpu": given.get("resourceCpuLimit"),
            "memory": given.get("resourceMemoryLimit"),
            card.get("resourceType"): card.get("resourceCount"),
        },
    }
    return {
        side: {kind: value for kind, value in of.items() if kind and value is not None} for side, of in content.items()
    }


def components_exist(pipeline: Pipeline) -> Iterator[Finding]:
    """Tasks name components that exist, and components name executors that exist."""
    components = list(pipeline.spec.at("components").mapping)
    executors = [executor.key for executor in pipeline.executors()]
    for _, tasks in pipeline.graphs():
        for task in tasks.each():
            yield from _absent(task.at("componentRef", "name"), components, "component")
    for component in pipeline.spec.at("components").each():
        if component.at("dag").value is None:
            yield from _absent(component.at("executorLabel"), executors, "executor")
    platform = pipeline.platform.at("platforms", "kubernetes", "deploymentSpec", "executors")
    for extra in platform.each():
        if extra.key not in executors:
            yield extra.wrong(f"there is no executor {extra.key}", nearest(extra.key, executors, otherwise="remove it"))


def _absent(node: Node, known: list[str], what: str) -> Iterator[Finding]:
    if node.value not in known:
        yield node.wrong(f"there is no {what} {node.value}", nearest(str(node.value), known, otherwise="add it"))


def tasks_exist(pipeline: Pipeline) -> Iterator[Finding]:
    """Tasks depend on tasks of the same graph, and read outputs that these have."""
    for _, tasks in pipeline.graphs():
        known = list(tasks.value)
        for task in tasks.each():
            for name in task.at("dependentTasks").sequence:
                if name not in known:
                    fix = nearest(str(name), known, otherwise="add it")
                    yield task.at("dependentTasks").wrong(f"there is no task {name}", fix)
            for source, key, kind in _read(task):
                maker = source.at("producerTask")
                yield from _absent(maker, known, "task")
                made = pipeline.component(tasks.at(str(maker.value)))
                if made.value is not None:
                    outputs = list(made.at("outputDefinitions", kind).mapping)
                    yield from _absent(source.at(key), outputs, f"output of {maker.value}")


def _read(task: Node) -> Iterator[tuple[Node, str, str]]:
    for kind, word, key in TAKES:
        for each in task.at("inputs", kind).each():
            if each.at(word).value is not None:
                yield each.at(word), key, kind


def inputs_are_given(pipeline: Pipeline) -> Iterator[Finding]:
    """A component gets each input without a default, from an input of the component around it."""
    for component, tasks in pipeline.graphs():
        for task in tasks.each():
            for kind, word in GIVEN if pipeline.component(task).value is not None else ():
                needed = pipeline.component(task).at("inputDefinitions", kind)
                given = task.at("inputs", kind)
                for each in needed.each():
                    optional = each.at("isOptional").value or each.at("defaultValue").value is not None
                    if not optional and each.key not in given.mapping:
                        yield given.wrong(f"{task.key} needs the input {each.key}", "add it")
                for each in given.each():
                    yield from _absent_input(each, needed, task)
                    if each.at(word).value is not None:
                        own = list(component.at("inputDefinitions", kind).mapping)
                        yield from _absent(each.at(word), own, "input")


def _absent_input(given: Node, needed: Node, task: Node) -> Iterator[Finding]:
    known = list(needed.mapping)
    if given.key not in known:
        yield given.wrong(f"{task.key} has no input {given.key}", nearest(given.key, known, otherwise="remove it"))


def skipped_outputs_are_not_read(pipeline: Pipeline) -> Iterator[Finding]:
    """No output of a task that may be skipped is read."""
    for component, tasks in pipeline.graphs():
        maybe = [task.key for task in tasks.each() if task.at("triggerPolicy", "condition").value]
        for task in tasks.each():
            for source, key, _ in _read(task):
                if source.at("producerTask").value in maybe:
                    what = f"{source.at(key).value} is of {source.at('producerTask').value}, which may be skipped"
                    yield source.wrong(what, "read an output of a step that always runs")
        for node in component.at("dag", "outputs").walk():
            if node.key == "producerSubtask" and node.value in maybe:
                yield node.wrong(f"{node.value} may be skipped", "read an output of a step that always runs")


def conditions_read_inputs(pipeline: Pipeline) -> Iterator[Finding]:
    """Conditions read inputs of their task; KFP takes an unknown input as false, without a message."""
    for _, tasks in pipeline.graphs():
        for task in tasks.each():
            condition = task.at("triggerPolicy", "condition")
            known = list(task.at("inputs", "parameters").mapping)
            for name in re.findall(r"inputs\.parameter_values\['([^']*)'\]", condition.text):
                if name not in known:
                    yield condition.wrong(f"{task.key} has no input {name}", nearest(name, known, otherwise="add it"))


def placeholders_exist(pipeline: Pipeline) -> Iterator[Finding]:
    """Placeholders name inputs and outputs of the component."""
    by_label = {each.at("executorLabel").value: each for each in pipeline.spec.at("components").each()}
    for executor in pipeline.executors():
        component = by_label.get(executor.key)
        for node in executor.at("container").walk() if component else ():
            for text in _texts(node.text):
                yield from _placeholder(node, text, component) if component else ()


def _texts(text: str) -> list[str]:
    if not text.startswith('{"'):
        return [text]
    try:
        return [str(each) for value in json.loads(text).values() for each in (value if isinstance(value, list) else [])]
    except ValueError:
        return [text]


def _placeholder(node: Node, text: str, component: Node) -> Iterator[Finding]:
    rest = without_interpolations(PLACEHOLDER.sub("", text))
    if "{{" in rest or "}}" in rest:
        yield node.wrong(f"{text!r} is not a placeholder of KFP", "write {{$.inputs.parameters['name']}}")
    for found in PLACEHOLDER.finditer(text):
        known = KNOWN.fullmatch(found["path"])
        if not known:
            yield node.wrong(f"{found[0]} is not a placeholder of KFP", "write {{$.inputs.parameters['name']}}")
            continue
        for side in ("input", "output"):
            kind = "artifacts" if ".artifacts[" in found["path"] else "parameters"
            names = list(component.at(f"{side}Definitions", kind).mapping)
            if known[side] and known[side] not in names:
                fix = nearest(known[side], names, otherwise="declare it")
                yield node.wrong(f"{found[0]} is not a template variable here", fix)


ABOUT = "pipeline"
RULES: tuple[Rule, ...] = (
    components_exist,
    tasks_exist,
    inputs_are_given,
    skipped_outputs_are_not_read,
    conditions_read_inputs,
    placeholders_exist,
)


def fields_exist(pipeline: Pipeline) -> Iterator[Finding]:
    """All fields exist in KFP's protobuf messages; the API refuses others."""
    from google.protobuf import json_format
    from kfp.kubernetes import kubernetes_executor_config_pb2
    from kfp.pipeline_spec import pipeline_spec_pb2

    parts = [(pipeline.spec, pipeline_spec_pb2.PipelineSpec())]
    executors = pipeline.platform.at("platforms", "kubernetes", "deploymentSpec", "executors")
    parts += [(each, kubernetes_executor_config_pb2.KubernetesExecutorConfig()) for each in executors.each()]
    for node, message in parts:
        try:
            json_format.ParseDict(node.value, message)
        except json_format.ParseError as error:
            sentence = " ".join(str(error).split("Available Fields")[0].split())
            yield node.wrong(sentence.rstrip(". "), "correct its name or value, or build it again")
