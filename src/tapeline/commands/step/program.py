"""One step as a program, or several in one go, for containers and for a look at what a step does.

    tapeline step train model=flat --in table=table.parquet --out fitted=fitted
    tapeline step ingest,features --out raw=raw.parquet --out table=table.parquet

An output parameter is an output too: `--out accepted=PATH`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tapeline import files
from tapeline.clusters.kfp import ui as kfp_output
from tapeline.clusters.plan import SUBMITTED, plain
from tapeline.config.schema import Config
from tapeline.console import LOG, logged
from tapeline.errors import Finding, Refused, choose, refuse
from tapeline.pipeline.graph import PIPELINE, Parameters, Step, execute


@dataclass(frozen=True)
class Call:
    """What the words after `tapeline step` say."""

    steps: tuple[Step, ...]
    """In the graph's order."""
    overrides: tuple[str, ...]
    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]
    launched: kfp_output.Launched | None
    """By KFP, which wants a word about the outputs."""


def read(words: Iterable[str]) -> Call:
    """Read the words.

    Raises:
        Refused: no such step, a word out of place, or a submitted parameter that is more than a value.
    """
    names, overrides, launched = "", list[str](), None
    paths: dict[str, dict[str, Path]] = {"--in": {}, "--out": {}}
    checked: Callable[[str], str] = str
    rest = iter(words)
    for word in rest:
        if word == "--executor-input":
            launched = kfp_output.Launched.read(next(rest, ""))
        elif word in paths:
            artifact, equals, path = next(rest, "").partition("=")
            if not (equals and path):
                raise refuse(f"{word} {artifact}", "names no artifact and path", f"write {word} table=table.parquet")
            paths[word][artifact] = Path(path)
        elif word == SUBMITTED:
            checked = plain
        elif "=" in word or word.startswith("~"):
            overrides.append(checked(word))
        elif names:
            raise refuse(word, "is no key=value", "write as in model=deep")
        else:
            names = word
    return Call(_steps(names), tuple(overrides), paths["--in"], paths["--out"], launched)


def _steps(words: str) -> tuple[Step, ...]:
    """The steps of a comma-separated list."""
    names = [each.name for each in PIPELINE]
    given = words.split(",")
    for name in given:
        if name not in names:
            raise refuse(f"step {name}".strip(), "no such step", choose(name, names))
    return tuple(each for each in PIPELINE if each.name in given)


def run(call: Call, config: Config) -> None:
    """Run the steps one after the other; outputs take their names only when all are complete.

    Raises:
        Refused: their artifacts are not the ones given.
    """
    _check_paths(call.steps, call.inputs, call.outputs)
    paths, parameters = dict(call.inputs), Parameters()
    with logged(), ExitStack() as stack:
        for this in call.steps:
            if len(call.steps) > 1:
                LOG.info("%s", this.name)
            for made in this.makes:
                paths[made.name] = stack.enter_context(files.whole(call.outputs[made.name]))
            parameters |= execute(this, config, paths, paths)
    for name, value in parameters.items():
        if name in call.outputs:
            files.write_bytes(call.outputs[name], value.encode())
    if call.launched:
        call.launched.tell(call.outputs)


def _check_paths(these: Sequence[Step], inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> None:
    made = [each.name for this in these for each in this.makes]
    taken = [name for this in these for name in this.takes if name not in made]
    said = [name for this in these for name in this.parameters]
    what = ",".join(this.name for this in these)
    sides = (("--in", inputs, taken, "take", taken), ("--out", outputs, made, "make", [*made, *said]))
    findings = []
    for flag, given, needed, verb, known in sides:
        missing = [name for name in needed if name not in given]
        findings += [Finding(f"{flag} {name}", f"{what} needs it", f"add {flag} {name}=PATH") for name in missing]
        strange = [name for name in given if name not in known]
        findings += [Finding(f"{flag} {name}", f"{what} does not {verb} it", "leave it out") for name in strange]
    absent = [(name, path) for name, path in inputs.items() if not path.exists()]
    findings += [Finding(f"--in {name}={path}", "no such file", "give what a step made") for name, path in absent]
    if findings:
        raise Refused(*findings)
