"""One step as a program, for containers and for a look at what a step does.

    tapeline step train model=flat --in table=table.parquet --out fitted=fitted

An output parameter is an output too: `--out accepted=PATH`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tapeline import files
from tapeline.config import compose
from tapeline.errors import Finding, Refused, choose, refuse
from tapeline.graph import PIPELINE, Step, execute, step
from tapeline.targets.console import logged


def run(name: str, overrides: Sequence[str], inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> None:
    """Run one step; outputs take their names only when all are complete.

    Raises:
        Refused: no such step, or its artifacts are not the ones given.
    """
    names = [each.name for each in PIPELINE]
    if name not in names:
        raise refuse(f"step {name}".strip(), "no such step", choose(name, names))
    this = step(name)
    _check_paths(this, inputs, outputs)
    config = compose(overrides)
    with logged(), ExitStack() as stack:
        made = {each.name: stack.enter_context(files.whole(outputs[each.name])) for each in this.makes}
        parameters = execute(this, config, inputs, made)
    for parameter in this.parameters:
        if parameter in outputs:
            files.write_bytes(outputs[parameter], parameters[parameter].encode())


def _check_paths(this: Step, inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> None:
    made = [each.name for each in this.makes]
    sides = (("--in", inputs, list(this.takes), "take"), ("--out", outputs, [*made, *this.parameters], "make"))
    findings = []
    for flag, given, known, verb in sides:
        needed = [name for name in known if name not in this.parameters]
        missing = [name for name in needed if name not in given]
        findings += [Finding(f"{flag} {name}", f"{this.name} needs it", f"add {flag} {name}=PATH") for name in missing]
        strange = [name for name in given if name not in known]
        findings += [Finding(f"{flag} {name}", f"{this.name} does not {verb} it", "leave it out") for name in strange]
    absent = [(name, path) for name, path in inputs.items() if not path.exists()]
    findings += [Finding(f"--in {name}={path}", "no such file", "give what a step made") for name, path in absent]
    if findings:
        raise Refused(*findings)
