"""Argo's template variables `{{...}}`: each exists where it is used, and changes no pod."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tapeline.checks.nodes import Node
from tapeline.checks.pods import workflow
from tapeline.errors import Finding, nearest

VARIABLE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
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
"""Prefixes of variables that a workflow does not declare."""
OF_A_TASK = (
    *("id", "ip", "name", "status", "exitCode", "startedAt", "finishedAt", "hostNodeName"),
    *("outputs.result", "outputs.exitCode", "outputs.parameters", "outputs.artifacts"),
)
FIXED = (
    *("image", "podSpecPatch", "manifest", "serviceAccountName", "source", "claimName", "secretName"),
    *("mountPath", "workingDir", "path", "entrypoint", "template"),
)
"""Keys in which a parameter could change the pod."""
BELOW = ("command", "nodeSelector", "securityContext", "tolerations", "volumes", "resources", "configMapKeyRef")
"""The same for everything below these keys."""


def variables_are_closed(document: Node) -> Iterator[Finding]:
    """Braces are balanced."""
    for node in document.walk():
        if node.text and not node.text.lstrip().startswith("{") and _unpaired(node.text):
            yield node.wrong(f"{node.text!r} has unbalanced braces", "write {{...}}")


def _unpaired(text: str) -> bool:
    rest = without_interpolations(VARIABLE.sub("", text))
    return "{{" in rest or "}}" in rest or bool(re.search(r"(?<!\{)\{(?:inputs|workflow|tasks|steps)\.[^{}]*\}", rest))


def without_interpolations(text: str) -> str:
    """The text without ${...}, which tapeline itself resolves."""
    while (shorter := re.sub(r"\$\{[^{}]*\}", "", text)) != text:
        text = shorter
    return text


def variables_exist(document: Node) -> Iterator[Finding]:
    """Template variables exist; otherwise Argo stops a run when it reaches one."""
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
            fix = nearest(name, known, otherwise="declare it, or remove it")
            yield node.wrong(f"{{{{{name}}}}} is not a template variable here", fix)


def used(node: Node) -> list[str]:
    """The names of template variables in a string or an expression."""
    names = []
    for text in [f"={node.text}"] if node.key in ("expression", "fromExpression") else VARIABLE.findall(node.text):
        if text.startswith("="):
            found = (re.sub(r"\[['\"]([^'\"]+)['\"]\]", r".\1", word) for word in WORD.findall(text[1:]))
            names += [name for name in found if name.partition(".")[0] in ROOTS]
        elif text.strip() != "$" and not text.startswith("$."):
            names.append(text.strip())
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
            # reported by argo.templates_exist
            yield f"{prefix}.outputs."
        for what in ("parameters", "artifacts"):
            for name in runs.at("outputs", what).names() if runs else ():
                yield f"{prefix}.outputs.{what}.{name}"


def tasks(template: Node) -> Iterator[tuple[str, Node]]:
    """The tasks or steps of a template, each with the first part of its variables' names: tasks or steps."""
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
    """No output of a step that may be skipped is read; a run would wait or fail."""
    for template in workflow(document).at("templates").each():
        maybe = {f"{kind}.{task.at('name').value}": task for kind, task in tasks(template) if task.at("when").value}
        for node in template.walk():
            for name in used(node):
                owner = ".".join(name.split(".")[:2])
                if owner in maybe and ".outputs." in name:
                    yield node.wrong(
                        f"{{{{{name}}}}} is an output of a step that may be skipped",
                        "read an output of a step that always runs",
                    )


def only_earlier_outputs_are_read(document: Node) -> Iterator[Finding]:
    """A task reads outputs only of tasks that it depends on."""
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
                        yield node.wrong(f"{own} does not depend on {owner}, whose output it reads", fix)


def earlier(template: Node) -> dict[str, set[str]]:
    """By task: the tasks that have ended when it starts."""
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
    """The tasks named in depends or dependencies."""
    words = re.findall(r"([A-Za-z0-9_-]+)(?:\.[A-Z]\w+)?", task.at("depends").text)
    return [*words, *map(str, task.at("dependencies").sequence)]


def variables_change_no_pod(document: Node) -> Iterator[Finding]:
    """Parameters change arguments only, never image, command, account or volumes."""
    for node in workflow(document).walk():
        inside = any(key in BELOW for key in node.keys[:-1])
        if node.text and used(node) and (node.key in FIXED or inside) and "value" not in node.key:
            yield node.wrong(f"{node.text} lets a parameter change the pod", "write a fixed value")


def arguments_hold_one_variable(document: Node) -> Iterator[Finding]:
    """An argument has at most one parameter, so that each parameter stays one override."""
    for template in workflow(document).at("templates").each():
        for container in (template.at("container"), *template.at("containerSet", "containers").each()):
            for node in container.at("args").each():
                if len(used(node)) > 1 or (used(node) and re.search(r"\s", VARIABLE.sub("", node.text))):
                    yield node.wrong(f"{node.text!r} holds several values", "write one argument for each")


ABOUT = "workflow"
RULES = (
    variables_are_closed,
    variables_exist,
    skipped_outputs_are_not_read,
    only_earlier_outputs_are_read,
    variables_change_no_pod,
    arguments_hold_one_variable,
)
