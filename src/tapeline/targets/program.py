"""One step as a program, or several in one go, for containers and for a look at what a step does.

    tapeline step train model=flat --in table=table.parquet --out fitted=fitted
    tapeline step ingest,features --out raw=raw.parquet --out table=table.parquet

An output parameter is an output too: `--out accepted=PATH`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tapeline import files
from tapeline.config import Config
from tapeline.errors import Finding, Refused, choose, refuse
from tapeline.graph import PIPELINE, Parameters, Step, execute
from tapeline.targets.console import LOG, logged


def steps(words: str) -> tuple[Step, ...]:
    """The steps of a comma-separated list, in the graph's order.

    Raises:
        Refused: one of them does not exist.
    """
    names = [each.name for each in PIPELINE]
    given = words.split(",")
    for name in given:
        if name not in names:
            raise refuse(f"step {name}".strip(), "no such step", choose(name, names))
    return tuple(each for each in PIPELINE if each.name in given)


def run(these: Sequence[Step], config: Config, inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> None:
    """Run steps one after the other; outputs take their names only when all are complete.

    Raises:
        Refused: their artifacts are not the ones given.
    """
    _check_paths(these, inputs, outputs)
    paths, parameters = dict(inputs), Parameters()
    with logged(), ExitStack() as stack:
        for this in these:
            if len(these) > 1:
                LOG.info("%s", this.name)
            for made in this.makes:
                paths[made.name] = stack.enter_context(files.whole(outputs[made.name]))
            parameters |= execute(this, config, paths, paths)
    for name, value in parameters.items():
        if name in outputs:
            files.write_bytes(outputs[name], value.encode())


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
