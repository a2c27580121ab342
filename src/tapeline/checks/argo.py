"""Workflows of Argo: mistakes that Argo reports only when it runs them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from tapeline.checks import template_variables as variables
from tapeline.checks.nodes import Node
from tapeline.checks.pods import WORKFLOWS, workflow
from tapeline.checks.syntax import invalid_schedule, is_zone
from tapeline.errors import Finding, nearest

Rule = Callable[[Node], Iterable[Finding]]
OURS = ("workflow.name", "workflow.namespace", "workflow.uid", "pod.name")
"""Template variables whose value the user who submits a run cannot choose."""


def templates_exist(document: Node) -> Iterator[Finding]:
    """The entrypoint, the exit handler and all tasks name templates of the workflow."""
    spec = workflow(document)
    known = spec.at("templates").names()
    nodes = [spec.at("entrypoint"), spec.at("onExit")]
    nodes += [task.at("template") for template in spec.at("templates").each() for _, task in variables.tasks(template)]
    for node in nodes if known else ():
        if node.value is not None and node.value not in known:
            yield node.wrong(f"there is no template {node.value}", nearest(str(node.value), known, otherwise="add it"))
    if known and spec.at("entrypoint").value is None:
        yield spec.at("entrypoint").wrong("is missing", "name the template that runs first")
    for name in sorted({name for name in known if known.count(name) > 1}):
        yield spec.at("templates").wrong(f"two templates are called {name}", "rename one")


def tasks_wait_for_tasks(document: Node) -> Iterator[Finding]:
    """A task depends on tasks that exist, without a cycle."""
    for template in workflow(document).at("templates").each():
        before = variables.earlier(template)
        for _, task in variables.tasks(template):
            name, place = (
                str(task.at("name").value),
                task.at("dependencies" if "dependencies" in task.mapping else "depends"),
            )
            for other in variables.depends(task):
                if other not in before:
                    yield place.wrong(f"there is no task {other}", nearest(other, list(before), otherwise="add it"))
            if name in before.get(name, ()):
                yield place.wrong(f"{name} depends on itself", "remove the cycle")


def arguments_fit_inputs(document: Node) -> Iterator[Finding]:
    """A template gets an argument for each input without a default, and no others."""
    by_name = _templates(document)
    for template in by_name.values():
        for _, task in variables.tasks(template):
            if runs := by_name.get(str(task.at("template").value)):
                for kind in ("parameters", "artifacts"):
                    yield from _arguments(task, runs.at("inputs", kind), task.at("arguments", kind))


def _arguments(task: Node, inputs: Node, given: Node) -> Iterator[Finding]:
    needed = [str(each.at("name").value) for each in inputs.each() if not _has_default(each)]
    for name in needed:
        if name not in given.names():
            yield given.wrong(f"{task.at('template').value} needs the input {name}", "add it")
    for each in given.each():
        name = str(each.at("name").value)
        if name not in inputs.names():
            fix = nearest(name, inputs.names(), otherwise="remove it")
            yield each.wrong(f"{task.at('template').value} has no input {name}", fix)


def _has_default(parameter: Node) -> bool:
    return any(key in parameter.mapping for key in ("default", "value", "valueFrom", "raw", "s3", "gcs", "http"))


def conditions_compare(document: Node) -> Iterator[Finding]:
    """`when` is a comparison, not a value."""
    for template in workflow(document).at("templates").each():
        for _, task in variables.tasks(template):
            when = task.at("when")
            if when.value is not None and not re.search(r"==|!=|=~|[<>]|\bin\b|^\{\{=", when.text):
                yield when.wrong(
                    "is not a comparison", "write it as '{{tasks.gate.outputs.parameters.accepted}} == true'"
                )


def conditions_have_a_default(document: Node) -> Iterator[Finding]:
    """An output parameter that `when` reads needs a default, or a run waits or fails if it was not written."""
    by_name = _templates(document)
    for template in by_name.values():
        runs = {
            f"{kind}.{task.at('name').value}": str(task.at("template").value)
            for kind, task in variables.tasks(template)
        }
        for _, task in variables.tasks(template):
            for name in variables.used(task.at("when")):
                owner, _, parameter = name.partition(".outputs.parameters.")
                maker = by_name.get(runs.get(owner, ""))
                for output in maker.at("outputs", "parameters").each() if maker else ():
                    default = output.at("valueFrom", "default")
                    if output.at("name").value == parameter and default.value is None:
                        yield default.wrong(
                            f"is missing, and the condition of {task.at('name').value} reads this parameter",
                            "add a default",
                        )


def _templates(document: Node) -> dict[str, Node]:
    return {str(each.at("name").value): each for each in workflow(document).at("templates").each()}


def retries_are_valid(document: Node) -> Iterator[Finding]:
    """The limit is a number, and the waits are durations."""
    for node in workflow(document).walk():
        if node.key != "retryStrategy" or not isinstance(node.value, dict):
            continue
        if not re.fullmatch(r"\d+", str(node.at("limit").value)):
            yield node.at("limit").wrong(
                f"{node.at('limit').value} is not a number of retries", "write a whole number, for example 3"
            )
        for key in ("duration", "maxDuration"):
            wait = node.at("backoff", key)
            if wait.value is not None and not re.fullmatch(r"\d+|(\d+(\.\d+)?(ms|s|m|h))+", str(wait.value)):
                yield wait.wrong(f"{wait.value} is not a duration", "write it as 30s or 5m")


def runs_end_and_are_removed(document: Node) -> Iterator[Finding]:
    """A run has a deadline, and finished runs and their pods are removed."""
    spec = workflow(document)
    if spec.at("templates").value:
        for key, fix in (
            ("activeDeadlineSeconds", "set the seconds that a run may last, for example 14400"),
            ("ttlStrategy", "set how long a finished run is kept, for example {secondsAfterCompletion: 604800}"),
            ("podGC", "set when pods are removed, for example {strategy: OnPodCompletion}"),
        ):
            if spec.at(key).value is None:
                yield spec.at(key).wrong("is missing", fix)


def parameters_are_described(document: Node) -> Iterator[Finding]:
    """Argo's UI shows the description of a parameter, and needs a default value."""
    spec = workflow(document)
    for parameter in spec.at("arguments", "parameters").each() if spec.at("templates").value else ():
        for key, fix in (
            ("description", "describe what the parameter is for"),
            ("value", "add one; an empty text means the value of the build"),
        ):
            if parameter.at(key).value is None:
                yield parameter.at(key).wrong("is missing", fix)


def schedules_are_valid(document: Node) -> Iterator[Finding]:
    """Schedules have five valid fields, and the time zone exists."""
    if document.at("kind").value != "CronWorkflow":
        return
    for schedule in document.at("spec", "schedules").each():
        if why := invalid_schedule(schedule.text):
            yield schedule.wrong(f"{schedule.value!r} {why}", "write minute, hour, day, month, weekday: 30 17 * * 1-5")
    zone = document.at("spec", "timezone")
    if zone.value is not None and not is_zone(zone.text):
        yield zone.wrong(f"there is no time zone {zone.value}", "write it as Europe/London")


def no_script_is_inside(document: Node) -> Iterator[Finding]:
    """No template is a script: parameters in its source would become code."""
    for template in workflow(document).at("templates").each():
        if template.at("script").value is not None:
            yield template.at("script").wrong(
                "parameters would become part of the code", "use container with command and args"
            )


def keys_of_artifacts_are_fixed(document: Node) -> Iterator[Finding]:
    """Keys in object storage have no `..` and no parameters, which could contain it; items of a list are our own."""
    items = _given_items(document)
    for node in workflow(document).walk():
        if node.key == "key" and any(store in node.keys for store in ("s3", "gcs", "azure", "oss")):
            own = {f"inputs.parameters.{name}" for template, name in items if f"[{template}]" in node.keys}
            foreign = [name for name in variables.used(node) if not name.startswith(OURS) and name not in own]
            if ".." in node.text or foreign:
                yield node.wrong(
                    f"{node.value} can be outside the folder of the run", "use {{workflow.name}} and fixed text"
                )


def _given_items(document: Node) -> set[tuple[str, str]]:
    """Templates and their parameters that are items of a list in every task that uses the template."""
    given = dict[tuple[str, str], set[str]]()
    for template in workflow(document).at("templates").each():
        for _, task in variables.tasks(template):
            for each in task.at("arguments", "parameters").each():
                name = (task.at("template").text, each.at("name").text)
                given.setdefault(name, set()).add(each.at("value").text)
    return {name for name, values in given.items() if values == {"{{item}}"}}


def outputs_lie_on_volumes(document: Node) -> Iterator[Finding]:
    """Outputs are on volumes, since the root file system is read-only."""
    for template in workflow(document).at("templates").each():
        container = template.at("container")
        mounts = [f"{str(each.at('mountPath').value).rstrip('/')}/" for each in container.at("volumeMounts").each()]
        if container.at("securityContext", "readOnlyRootFilesystem").value:
            places = [each.at("path") for each in template.at("outputs", "artifacts").each()]
            places += [each.at("valueFrom", "path") for each in template.at("outputs", "parameters").each()]
            for place in places:
                if place.text and not any(place.text.startswith(mount) for mount in mounts):
                    yield place.wrong(
                        f"{place.value} is on no volume, and the root file system is read-only",
                        "mount an emptyDir there",
                    )


def loops_pass_parameters(document: Node) -> Iterator[Finding]:
    """Argo aggregates the output parameters of a loop, but not its artifacts."""
    for template in workflow(document).at("templates").each():
        loops = {
            f"{kind}.{task.at('name').value}.outputs.artifacts."
            for kind, task in variables.tasks(template)
            if any(task.at(key).value for key in ("withItems", "withParam", "withSequence"))
        }
        for node in template.walk():
            for name in variables.used(node) if loops else ():
                if name.startswith(tuple(loops)):
                    yield node.wrong(
                        f"{{{{{name}}}}} is an artifact of a loop, which Argo does not aggregate", "read a parameter"
                    )


ABOUT = "workflow"
RULES: tuple[Rule, ...] = (
    templates_exist,
    tasks_wait_for_tasks,
    arguments_fit_inputs,
    conditions_compare,
    conditions_have_a_default,
    retries_are_valid,
    runs_end_and_are_removed,
    parameters_are_described,
    schedules_are_valid,
    no_script_is_inside,
    keys_of_artifacts_are_fixed,
    outputs_lie_on_volumes,
    loops_pass_parameters,
)


def is_workflow(document: Node) -> bool:
    """Whether it is one of Argo's kinds."""
    return document.at("kind").value in WORKFLOWS


def references_find_templates(documents: Sequence[Node]) -> Iterator[Finding]:
    """A Workflow or CronWorkflow names a WorkflowTemplate of the same files, and only parameters that it has."""
    known = {
        str(document.at("metadata", "name").value): workflow(document).at("arguments", "parameters").names()
        for document in documents
        if document.at("kind").value in ("WorkflowTemplate", "ClusterWorkflowTemplate")
    }
    for spec in (workflow(document) for document in documents if is_workflow(document)):
        name = spec.at("workflowTemplateRef", "name")
        if name.value is not None and str(name.value) not in known:
            fix = nearest(str(name.value), list(known), otherwise="build it")
            yield name.wrong(f"there is no WorkflowTemplate {name.value}", fix)
        for parameter in spec.at("arguments", "parameters").each() if str(name.value) in known else ():
            word = str(parameter.at("name").value)
            if word not in known[str(name.value)]:
                fix = nearest(word, known[str(name.value)], otherwise="remove it")
                yield parameter.wrong(f"{name.value} has no parameter {word}", fix)
