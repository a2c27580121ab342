"""All rules over YAML that a builder emitted, in memory or as it lies in workflows/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tapeline.checks import api, argo, fields, kfp, names, pods, programs, resources, restricted, runs
from tapeline.checks.nodes import Node, read
from tapeline.errors import Finding


def emitted(texts: Mapping[str, str]) -> Iterator[Finding]:
    """What is wrong with files that belong together, by the names that findings show."""
    documents = []
    for file, text in texts.items():
        content = read(text, file)
        if isinstance(content, Finding):
            yield content
        else:
            documents += content
    yield from together(documents)


def together(documents: Sequence[Node]) -> Iterator[Finding]:
    """What is wrong with emitted documents, strictly, and with what they say of each other."""
    yield from objects(documents)
    for pipeline in kfp.pipelines(documents):
        yield from kfp.fields_exist(pipeline)
    yield from argo.references_find_templates(documents)


def objects(documents: Sequence[Node]) -> Iterator[Finding]:
    """What is wrong with objects, each by itself."""
    for document in documents:
        for about_objects in (*names.RULES, *fields.RULES, *api.RULES):
            yield from about_objects(document)
        for about_workflows in (*argo.RULES, *runs.RULES) if argo.is_workflow(document) else ():
            yield from about_workflows(document)
        for pod in pods.pods(document):
            yield from of_pod(pod)
    for pipeline in kfp.pipelines(documents):
        for about_pipelines in kfp.RULES:
            yield from about_pipelines(pipeline)
        for pod in kfp.pods(pipeline):
            yield from of_pod(pod)


def of_pod(pod: pods.Pod) -> Iterator[Finding]:
    """What is wrong with a pod, whoever starts it."""
    for rule in (*restricted.RULES, *resources.RULES, *programs.RULES):
        yield from rule(pod)
