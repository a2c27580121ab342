"""All rules over emitted YAML, in memory or in workflows/."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from tapeline.checks import argo, kfp, pods
from tapeline.checks.fields import fields_fit_their_schema
from tapeline.checks.nodes import Node, read
from tapeline.checks.registry import rules
from tapeline.errors import Finding


def emitted(texts: Mapping[str, str]) -> Iterator[Finding]:
    """Findings about files that belong together; the keys of `texts` are the file names in findings."""
    documents = []
    for file, text in texts.items():
        content = read(text, file)
        if isinstance(content, Finding):
            yield content
        else:
            documents += content
    yield from together(documents)


def together(documents: Sequence[Node]) -> Iterator[Finding]:
    """Findings about emitted documents and the references between them."""
    yield from objects(documents)
    for pipeline in kfp.pipelines(documents):
        yield from kfp.fields_exist(pipeline)
    yield from argo.references_find_templates(documents)


def objects(documents: Sequence[Node]) -> Iterator[Finding]:
    """Findings about single objects."""
    about_objects, about_workflows = rules("object"), rules("workflow")
    about_pipelines, about_pods = rules("pipeline"), rules("pod")
    for document in documents:
        for rule in (*about_objects, *(about_workflows if argo.is_workflow(document) else ())):
            yield from readable(rule, document, [document])
        for pod in pods.pods(document):
            for rule in about_pods:
                yield from readable(rule, pod, [document])
    for pipeline in kfp.pipelines(documents):
        yield from (finding for rule in about_pipelines for finding in rule(pipeline))
        for pod in kfp.pods(pipeline):
            yield from (finding for rule in about_pods for finding in rule(pod))


def readable(rule: Callable[..., Iterable[Finding]], about: Any, documents: Sequence[Node]) -> Iterator[Finding]:
    """The findings of a rule, as far as it can read; where it meets a wrong type, the schemas name that."""
    try:
        yield from rule(about)
    except (AttributeError, TypeError, ValueError):
        if not any(True for each in documents for _ in fields_fit_their_schema(each)):
            raise
