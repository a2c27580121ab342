"""Argo's `{{...}}`: that each template variable exists, and is in a place where Argo replaces it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tapeline.checks.nodes import Node
from tapeline.checks.pods import workflow
from tapeline.errors import Finding, nearest

TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
WORD = re.compile(r"(?<![\w.'\"])([a-zA-Z]\w*(?:\.\w+|\[['\"][^'\"]+['\"]\])+)")
ROOTS = ("workflow", "inputs", "outputs", "tasks", "steps", "item", "pod", "node", "lastRetry", "cronworkflow")
EVERYWHERE = (
    *(f"workflow.{name}" for name in ("name", "namespace", "uid", "serviceAccountName", "mainEntrypoint", "priority")),
    *(f"workflow.{name}" for name in ("parameters", "parameters.json", "duration", "scheduledTime")),
    *(f"workflow.{name}" for name in ("creationTimestamp", "labels", "annotations", "labels.json", "annotations.json")),
    *("pod.name", "node.name", "retries", "item", "steps.name", "tasks.name", "inputs", "outputs", "inputs.parameters"),
    *(f"lastRetry.{name}" for name in ("exitCode", "status", "duration", "message")),
)
AT_EXIT = ("workflow.status", "workflow.failures")
OPEN = ("workflow.labels.", "workflow.annotations.", "workflow.creationTimestamp.", "item.", "cronworkflow.")
"""Families whose members a workflow need not declare."""
OF_A_TASK = (
    *("id", "ip", "name", "status", "exitCode", "startedAt", "finishedAt", "hostNodeName"),
    *("outputs.result", "outputs.exitCode", "outputs.parameters", "outputs.artifacts"),
)
FIXED = (
    *("image", "podSpecPatch", "manifest", "serviceAccountName", "source", "claimName", "secretName"),
    *("mountPath", "workingDir", "path", "entrypoint", "template"),
)
"""Keys in which a parameter could change what a pod is."""
BELOW = ("command", "nodeSelector", "securityContext", "tolerations", "volumes", "resources", "configMapKeyRef")
"""The same for all that lies below."""


def tags_are_whole(document: Node) -> Iterator[Finding]:
    """Every brace has its partner."""
    for node in document.walk():
        if node.text and not node.text.lstrip().startswith("{") and _unpaired(node.text):
            yield node.wrong(f"{node.text!r} has braces without partners", "write {{...}}")


def _unpaired(text: str) -> bool:
    rest = without_interpolations(TAG.sub("", text))
    return "{{" in rest or "}}" in rest or bool(re.search(r"(?<!\{)\{(?:inputs|workflow|tasks|steps)\.[^{}]*\}", rest))


def without_interpolations(text: str) -> str:
    """The text without ${...}, which tapeline itself resolves."""
    while (shorter := re.sub(r"\$\{[^{}]*\}", "", text)) != text:
        text = shorter
    return text


def tags_stand_for_something(document: Node) -> Iterator[Finding]:
    """Argo stops a run at the first tag that it cannot resolve; only then."""
    spec = workflow(document)
    shared = [*EVERYWHERE, *_of_workflow(spec)]
    exits = _at_exit(spec)
    inside = set()
    for template in spec.at("templates").each():
        leaving = template.at("name").value in exits
        known = [*shared, *(AT_EXIT if leaving else ()), *_of_template(template, spec)]
        for node in template.walk():
            inside.add(node.path)
            yield from _unknown(node, known)
    if spec.at("templates").value:
        for node in spec.walk():
            if node.path not in inside:
                yield from _unknown(node, shared)


def _unknown(node: Node, known: list[str]) -> Iterator[Finding]:
    for name in used(node):
        if name not in known and not name.startswith((*OPEN, *(each for each in known if each.endswith(".")))):
            fix = nearest(name, known, otherwise="declare it, or leave it out")
            yield node.wrong(f"{{{{{name}}}}} is no template variable here", fix)


def used(node: Node) -> list[str]:
    """The names in a string's tags, or in an expression."""
    names = []
    for tag in [f"={node.text}"] if node.key in ("expression", "fromExpression") else TAG.findall(node.text):
        if tag.startswith("="):
            found = (re.sub(r"\[['\"]([^'\"]+)['\"]\]", r".\1", word) for word in WORD.findall(tag[1:]))
            names += [name for name in found if name.partition(".")[0] in ROOTS]
        elif tag.strip() != "$" and not tag.startswith("$."):
            names.append(tag.strip())
    return names


def _of_workflow(spec: Node) -> Iterator[str]:
    yield from (f"workflow.parameters.{name}" for name in spec.at("arguments", "parameters").names())
    for template in spec.at("templates").each():
        for kind in ("parameters", "artifacts"):
            for output in template.at("outputs", kind).each():
                if output.at("globalName").value:
                    yield f"workflow.outputs.{kind}.{output.at('globalName').value}"


def _of_template(template: Node, spec: Node) -> Iterator[str]:
    for side in ("inputs", "outputs"):
        for kind in ("parameters", "artifacts"):
            for name in template.at(side, kind).names():
                yield from (f"{side}.{kind}.{name}", f"{side}.{kind}.{name}.path")
    by_name = {each.at("name").value: each for each in spec.at("templates").each()}
    for kind, task in tasks(template):
        prefix = f"{kind}.{task.at('name').value}"
        yield from (f"{prefix}.{word}" for word in OF_A_TASK)
        runs = by_name.get(task.at("template").value)
        if runs is None:
            # that is a finding of its own
            yield f"{prefix}.outputs."
        for what in ("parameters", "artifacts"):
            for name in runs.at("outputs", what).names() if runs else ():
                yield f"{prefix}.outputs.{what}.{name}"


def tasks(template: Node) -> Iterator[tuple[str, Node]]:
    """What a template of templates runs, each with the word that tags call it by: tasks or steps."""
    for task in template.at("dag", "tasks").each():
        yield "tasks", task
    for group in template.at("steps").each():
        for step in group.each() if isinstance(group.value, list) else ():
            yield "steps", step


def _at_exit(spec: Node) -> set[object]:
    by_name = {each.at("name").value: each for each in spec.at("templates").each()}
    reached: set[object] = set()
    waiting = [spec.at("onExit").value]
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in reached:
            reached.add(name)
            waiting += [task.at("template").value for _, task in tasks(by_name[name])]
    return reached


def skipped_outputs_are_not_read(document: Node) -> Iterator[Finding]:
    """A run waits for ever, or fails, at an output of a step that did not run."""
    for template in workflow(document).at("templates").each():
        maybe = {f"{kind}.{task.at('name').value}": task for kind, task in tasks(template) if task.at("when").value}
        for node in template.walk():
            for name in used(node):
                owner = ".".join(name.split(".")[:2])
                if owner in maybe and ".outputs." in name:
                    yield node.wrong(
                        f"{{{{{name}}}}} is of a step that may be skipped", "read what a step makes that always runs"
                    )


def only_earlier_outputs_are_read(document: Node) -> Iterator[Finding]:
    """A task can read what it depends on."""
    for template in workflow(document).at("templates").each():
        before = earlier(template)
        for kind, task in tasks(template):
            own = str(task.at("name").value)
            for node in task.walk():
                for name in used(node):
                    root, _, rest = name.partition(".")
                    owner = rest.partition(".")[0]
                    if root == kind and owner in before and owner not in before[own]:
                        fix = f"add {owner} to its depends"
                        yield node.wrong(f"{own} does not wait for {owner}, whose output it reads", fix)


def earlier(template: Node) -> dict[str, set[str]]:
    """The tasks that have ended when a task begins."""
    direct: dict[str, set[str]] = {}
    done: set[str] = set()
    for task in template.at("dag", "tasks").each():
        direct[str(task.at("name").value)] = set(depends(task))
    for group in template.at("steps").each():
        direct |= {name: set(done) for name in group.names()}
        done |= set(group.names())
    found: dict[str, set[str]] = {}
    for name in direct:
        waiting, reached = list(direct[name]), set[str]()
        while waiting:
            each = waiting.pop()
            if each not in reached:
                reached.add(each)
                waiting += direct.get(each, ())
        found[name] = reached
    return found


def depends(task: Node) -> list[str]:
    """The tasks that a task names in depends or dependencies."""
    words = re.findall(r"([A-Za-z0-9_-]+)(?:\.[A-Z]\w+)?", task.at("depends").text)
    return [*words, *map(str, task.at("dependencies").value or ())]


def tags_change_no_pod(document: Node) -> Iterator[Finding]:
    """A parameter is a value among arguments; it names no image, program, account or volume."""
    for node in workflow(document).walk():
        inside = any(key in BELOW for key in node.keys[:-1])
        if node.text and used(node) and (node.key in FIXED or inside) and "value" not in node.key:
            yield node.wrong(f"{node.text} lets a parameter decide what runs", "write the value itself")


def arguments_hold_one_tag(document: Node) -> Iterator[Finding]:
    """One override an argument: what a parameter holds stays one value."""
    for template in workflow(document).at("templates").each():
        for container in (template.at("container"), *template.at("containerSet", "containers").each()):
            for node in container.at("args").each():
                if len(used(node)) > 1 or (used(node) and re.search(r"\s", TAG.sub("", node.text))):
                    yield node.wrong(f"{node.text!r} joins values", "give each an argument of its own")


RULES = (
    tags_are_whole,
    tags_stand_for_something,
    skipped_outputs_are_not_read,
    only_earlier_outputs_are_read,
    tags_change_no_pod,
    arguments_hold_one_tag,
)
