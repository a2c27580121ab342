"""How a workflow runs: conditions that can hold, artifacts with keys of their own, patches that apply, deadlines."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tapeline.checks import fields
from tapeline.checks import template_variables as variables
from tapeline.checks.argo import Rule
from tapeline.checks.nodes import Node, read
from tapeline.checks.pods import workflow
from tapeline.errors import Finding, nearest
from tapeline.pipeline.graph import STEPS

STATES = ("Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned", "AnySucceeded", "AllFailed")
WITHOUT_OUTPUTS = ("Failed", "Errored", "Skipped", "Omitted")
"""States in which a task has no outputs."""
COMPARISON = re.compile(r"\{\{=?\s*[\w.\-]*?outputs\.parameters\.([\w\-]+)\s*\}\}['\"]?\s*(?:==|!=)\s*(\S+)")
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def conditions_can_hold(document: Node) -> Iterator[Finding]:
    """An output parameter is text: `true` or `false`, in lower case."""
    ours = {name for step in STEPS for name in step.parameters}
    for _, task in _tasks(document):
        when = task.at("when")
        for name, literal in COMPARISON.findall(when.text):
            value = literal.strip("'\")")
            if value.lower() in ("true", "false") and value != value.lower():
                yield when.wrong(f"{name} is never {value}", f"write {value.lower()}")
            elif name in ours and value not in ("true", "false"):
                yield when.wrong(f"{name} is true or false, and never {value}", "compare with true")


def states_exist(document: Node) -> Iterator[Finding]:
    """A task waits for states that Argo has, and reads outputs only behind states with outputs."""
    for _, task in _tasks(document):
        depends = task.at("depends")
        for other, state in re.findall(r"([\w\-]+)\.(\w+)", depends.text):
            if state not in STATES:
                yield depends.wrong(f"Argo has no state {state}", nearest(state, STATES, otherwise="use Succeeded"))
            elif state in WITHOUT_OUTPUTS and f"tasks.{other}.outputs." in json.dumps(task.value):
                problem = f"{other} has no outputs when it is {state}, and the task reads them"
                yield depends.wrong(problem, f"write {other}")


def _tasks(document: Node) -> Iterator[tuple[str, Node]]:
    for template in workflow(document).at("templates").each():
        yield from variables.tasks(template)


def artifacts_have_keys_of_their_own(document: Node) -> Iterator[Finding]:
    """Two outputs under one key overwrite each other; an input's key is one of an output."""
    templates = list(workflow(document).at("templates").each())
    made = [key for each in templates for key in _keys(each.at("outputs", "artifacts"))]
    counted = Counter(key.text for key in made)
    for key in made:
        if counted[key.text] > 1:
            yield key.wrong(f"{counted[key.text]} artifacts have this key", "give each a key of its own")
    for template in templates:
        for key in _keys(template.at("inputs", "artifacts")):
            inside = any(each.startswith(f"{key.text}/") for each in counted)  # a folder, which is one artifact
            if made and key.text not in counted and not inside:
                yield key.wrong(
                    "no artifact is written under this key", nearest(key.text, list(counted), otherwise="correct it")
                )


def _keys(artifacts: Node) -> Iterator[Node]:
    for each in artifacts.each():
        for store in ("s3", "gcs", "azure", "oss"):
            if each.at(store, "key").text:
                yield each.at(store, "key")


def patches_apply(document: Node) -> Iterator[Finding]:
    """A podSpecPatch is JSON or YAML of a pod's spec, for containers that Argo makes."""
    spec = workflow(document)
    for place in (spec, *spec.at("templates").each()):
        patch = place.at("podSpecPatch")
        if not patch.text:
            continue
        content = read(patch.text, document.file)
        if isinstance(content, Finding) or not content:
            problem = content.problem if isinstance(content, Finding) else "is empty"
            yield patch.wrong(problem, "correct it")
            continue
        yield from _fields(patch, content[0].value)
        own = {"init", "wait", "main", *(str(each.at("name").value) for each in spec.at("templates").each())}
        for kind in ("containers", "initContainers"):
            for name in content[0].at(kind).names():
                if name not in own:
                    fix = nearest(name, ("init", "wait", "main"), otherwise="use init, wait or main")
                    yield patch.wrong(f"Argo makes no container {name}", fix)


def _fields(patch: Node, spec: dict[str, Any]) -> Iterator[Finding]:
    """Fields that a pod does not have, as the API server refuses them."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "patch"}, "spec": {"containers": [], **spec}}
    for found in fields.fields_fit_their_schema(Node(pod, patch.file)):
        place = found.where.partition(": ")[2].removeprefix("spec.")
        if "image" not in place:
            yield patch.wrong(f"{place}: {found.problem}", found.fix)


def deadlines_fit_together(document: Node) -> Iterator[Finding]:
    """A run has time for its steps and their retries."""
    spec = workflow(document)
    whole = spec.at("activeDeadlineSeconds")
    if not isinstance(whole.value, int):
        return
    if whole.value < 60:
        yield whole.wrong(f"no run ends within {whole.value} s", "give it an hour or more: 14400")
    for template in spec.at("templates").each():
        own = template.at("activeDeadlineSeconds")
        if isinstance(own.value, int) and own.value > whole.value:
            yield own.wrong(f"the whole run ends after {whole.value} s", "lower it, or raise the run's deadline")
        retry = template.at("retryStrategy")
        waits = _waits(retry)
        if waits > whole.value:
            problem = f"the retries wait {waits:.0f} s, and the run ends after {whole.value} s"
            yield retry.at("backoff").wrong(problem, "lower limit, duration or factor")


def _waits(retry: Node) -> float:
    """Seconds that all retries wait together."""
    found = re.fullmatch(r"(\d+)([smh]?)", str(retry.at("backoff", "duration").value))
    limit, factor = str(retry.at("limit").value), retry.at("backoff", "factor").value
    if not found or not limit.isdecimal():
        return 0.0
    first, factor = int(found[1]) * UNITS[found[2]], float(factor) if isinstance(factor, int | float) else 1.0
    return sum(first * factor**number for number in range(min(int(limit), 60)))


ABOUT = "workflow"
RULES: tuple[Rule, ...] = (
    conditions_can_hold,
    states_exist,
    artifacts_have_keys_of_their_own,
    patches_apply,
    deadlines_fit_together,
)
