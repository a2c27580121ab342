"""The arguments of `tapeline step`.

tapeline step train model=flat --in table=table.parquet --out fitted=fitted
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tapeline.clusters.built import BUILT
from tapeline.clusters.kfp.ui import Launched
from tapeline.clusters.plan import SUBMITTED
from tapeline.config.overrides import check_plain
from tapeline.errors import Finding, Refused, choose
from tapeline.pipeline.graph import STEPS, Step, artifacts

IN, IN_OPTIONAL, OUT, PART, LAUNCHED = "--in", "--in-optional", "--out", "--part", "--executor-input"


@dataclass(frozen=True)
class Call:
    """The parsed arguments."""

    names: tuple[str, ...]
    """Names of steps, in the order of the graph."""
    overrides: tuple[str, ...]
    """Overrides of the build or the command line."""
    submitted: tuple[str, ...]
    """Overrides of a submitted run."""
    built: str | None
    """The composed configuration of the build."""
    inputs: Mapping[str, Path]
    """By artifact."""
    optional: Mapping[str, Path]
    """Inputs that may be missing."""
    outputs: Mapping[str, Path]
    """By artifact or output parameter."""
    part: str | None
    """The only partition to make."""
    launched: Launched | None
    """KFP's description of the outputs."""

    def steps(self, graph: Iterable[Step]) -> tuple[Step, ...]:
        """The named steps of the graph.

        Raises:
            Refused: a named step is not in this graph.
        """
        present = {each.name: each for each in graph}
        absent = [name for name in self.names if name not in present]
        if absent:
            fix = choose(absent[0], list(present))
            raise Refused(*(Finding(f"step {name}", "the configuration has no such step", fix) for name in absent))
        return tuple(present[name] for name in self.names)


def read(arguments: Iterable[str]) -> Call:
    """Read the arguments.

    Raises:
        Refused: all that is wrong: an unknown step, an argument out of place, a submitted parameter that is
            more than a value.
    """
    names, built, part, launched = "", None, None, None
    overrides, submitted, findings = list[str](), list[str](), list[Finding]()
    paths: dict[str, dict[str, Path]] = {IN: {}, IN_OPTIONAL: {}, OUT: {}}
    target = overrides
    rest = iter(arguments)
    for word in rest:
        if word == LAUNCHED:
            launched = Launched.read(next(rest, ""))
        elif word == PART:
            part = next(rest, "")
        elif word in paths:
            findings += _path(word, next(rest, ""), paths[word])
        elif word.startswith(BUILT):
            built = word.removeprefix(BUILT)
        elif word == SUBMITTED:
            target = submitted
        elif "=" in word or word.startswith("~"):
            target.append(word)
        elif names:
            findings.append(Finding(word, "is not a key=value", "write it as in model=deep"))
        else:
            names = word
    findings += [*_not_plain(submitted), *_unknown(names)]
    if findings:
        raise Refused(*findings)
    chosen = tuple(each.name for each in STEPS if each.name in names.split(","))
    inputs, optional, outputs = paths.values()
    return Call(chosen, tuple(overrides), tuple(submitted), built, inputs, optional, outputs, part, launched)


def _path(flag: str, text: str, paths: dict[str, Path]) -> Iterator[Finding]:
    name, equals, path = text.partition("=")
    if equals and path:
        paths[name] = Path(path)
    else:
        yield Finding(f"{flag} {name}", "has no artifact and path", f"write {flag} NAME=PATH")


def _not_plain(submitted: Sequence[str]) -> Iterator[Finding]:
    for text in submitted:
        try:
            check_plain(text)
        except Refused as error:
            yield from error.findings


def _unknown(names: str) -> Iterator[Finding]:
    known = [each.name for each in STEPS]
    for name in names.split(","):
        if name not in known:
            yield Finding(f"step {name}".strip(), "there is no such step", choose(name, known))


def wrong_paths(call: Call, steps: Sequence[Step]) -> Iterator[Finding]:
    """Artifacts in the arguments that the steps do not take or make, and those that they need and do not get."""
    made = artifacts(steps)
    taken = [name for step in steps for name in step.inputs if name not in made]
    needed = [name for step in steps for name in step.needs if name not in made]
    given: Mapping[str, Path] = {**call.inputs, **call.optional}
    outputs = [*made, *(name for step in steps for name in step.parameters)]
    what = ",".join(step.name for step in steps)
    if call.part is not None and not any(step.map_over for step in steps):
        yield Finding(f"{PART} {call.part}", f"{what} does not make single partitions", "leave it out")
    for name in needed:
        if name not in given:
            yield Finding(f"{IN} {name}", f"{what} needs it", f"add {IN} {name}=PATH")
    for name in given:
        if name not in taken:
            yield Finding(f"{IN} {name}", f"{what} does not take it", "leave it out")
    for name in call.optional:
        if name in needed:
            yield Finding(f"{IN_OPTIONAL} {name}", f"{what} cannot run without it", f"write {IN} {name}=PATH")
    for name in call.outputs:
        if name not in outputs:
            yield Finding(f"{OUT} {name}", f"{what} does not make it", "leave it out")
