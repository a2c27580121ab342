"""The table of steps: a graph that every target can run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields

from tapeline.config.schema import NO_KEYS, Config
from tapeline.errors import Finding, nearest
from tapeline.lookup import GROUPS
from tapeline.pipeline.graph import Step

Graph = Sequence[Step]
Rule = Callable[[Graph], Iterable[Finding]]


def _at(step: Step) -> str:
    return f"graph.py: STEPS: {step.name}"


def names_are_given_once(graph: Graph) -> Iterator[Finding]:
    """Names of steps, artifacts, files and output parameters are unique."""
    for what, names in (
        ("step", [step.name for step in graph]),
        ("artifact", [made.name for step in graph for made in step.makes]),
        ("file", [made.file for step in graph for made in step.makes]),
        ("output parameter", [name for step in graph for name in step.parameters]),
    ):
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield Finding("graph.py: STEPS", f"the {what} {name} occurs twice", "rename one")


def artifacts_are_made_before_they_are_taken(graph: Graph) -> Iterator[Finding]:
    """Steps run in the order of the table."""
    made: list[str] = []
    later = [each.name for step in graph for each in step.makes]
    for step in graph:
        for name in step.needs:
            if name not in made:
                fix = (
                    f"move it behind the step that makes {name}"
                    if name in later
                    else nearest(name, later, otherwise="")
                )
                yield Finding(_at(step), f"takes {name}, which no earlier step makes", fix or "add the step")
        made += [each.name for each in step.makes]


def skipped_outputs_are_not_taken(graph: Graph) -> Iterator[Finding]:
    """No step takes an artifact of a step that may be skipped."""
    maybe = {made.name: step.name for step in graph if step.when for made in step.makes}
    for step in graph:
        for name in step.inputs:
            if name in maybe:
                problem = f"takes {name} of {maybe[name]}, which may be skipped"
                yield Finding(_at(step), problem, "take an artifact of a step that always runs")


def parameters_are_output_before(graph: Graph) -> Iterator[Finding]:
    """`when` and `ids` name an output parameter of an earlier step that always runs."""
    said: list[str] = []
    for step in graph:
        for name in (each for each in (step.when, step.ids) if each and each not in said):
            fix = nearest(name, said, otherwise="add it to the parameters of an earlier step")
            yield Finding(_at(step), f"depends on {name}, which is not an output parameter of an earlier step", fix)
        said += [] if step.when or step.only_with else step.parameters


def artifacts_that_may_be_missing_are_not_needed(graph: Graph) -> Iterator[Finding]:
    """A step that takes what may be missing says so with a question mark."""
    maybe = {made.name for step in graph for made in step.makes if made.optional or step.only_with}
    for step in graph:
        for name in (each for each in step.needs if each in maybe and not step.only_with):
            yield Finding(_at(step), f"takes {name}, which may be missing", f"write takes=({name}?,)")


def mapped_steps_make_one_folder(graph: Graph) -> Iterator[Finding]:
    """A mapped step makes one folder, with the parts of all partitions."""
    for step in graph:
        if step.map_over and [made.folder for made in step.makes] != [True]:
            yield Finding(
                _at(step), "is mapped over partitions, and does not make exactly one folder", "let it make one folder"
            )


def workers_change_no_result(graph: Graph) -> Iterator[Finding]:
    """What several pods do is the same work for each number of them, and one that goes on."""
    for step in graph:
        if step.workers and not step.joint and step.workers not in step.resumes:
            problem = f"has {step.workers} workers, and another number of them would be other work"
            yield Finding(_at(step), problem, f"add {step.workers} to its resumes, or set joint")


def keys_that_are_read_exist(graph: Graph) -> Iterator[Finding]:
    """Steps read sections or keys of the configuration that exist."""
    sections = [field.name for field in fields(Config) if field.name not in NO_KEYS]
    for step in graph:
        for path in step.reads:
            head, _, key = path.partition(".")
            known = list(GROUPS[head].model_fields) if head in GROUPS else []
            if head not in sections:
                yield Finding(
                    _at(step),
                    f"reads {path}, which is not a section",
                    nearest(head, sections, otherwise="correct its name"),
                )
            elif key and key not in known:
                yield Finding(
                    _at(step), f"reads {path}, which is not a key", nearest(key, known, otherwise="correct its name")
                )


def only_the_publisher_writes(graph: Graph) -> Iterator[Finding]:
    """A step that writes to the store depends on the gate's decision, and steps that use the store are never cached."""
    for step in graph:
        if step.store == "write" and not step.when:
            yield Finding(_at(step), "writes to the store also if the model is rejected", "set when=accepted")
        if step.store != "none" and step.world != "fresh":
            yield Finding(_at(step), "uses the store, and its result may come from the cache", 'set world="fresh"')


ABOUT = "graph"
RULES: tuple[Rule, ...] = (
    names_are_given_once,
    artifacts_are_made_before_they_are_taken,
    skipped_outputs_are_not_taken,
    parameters_are_output_before,
    artifacts_that_may_be_missing_are_not_needed,
    mapped_steps_make_one_folder,
    workers_change_no_result,
    keys_that_are_read_exist,
    only_the_publisher_writes,
)
