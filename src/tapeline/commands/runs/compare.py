"""Comparison of runs: different inputs, and different results with intervals.

tapeline runs compare=a,b,c         the first is what the others are held against
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

from tapeline.config.compose import flat
from tapeline.errors import refuse
from tapeline.evaluation.comparison import Change, changes
from tapeline.pipeline.run_folder import Run

MOST = 8
"""The largest number of runs: each has a colour."""
ABSENT = "(not there)"


@dataclass(frozen=True)
class Comparison:
    """The comparison of runs with the first of them."""

    runs: Sequence[Run]
    configuration: Mapping[str, Sequence[str]]
    """Keys whose values differ: the value in each run, as text."""
    circumstances: Mapping[str, Sequence[str]]
    """The same for data, model and versions."""
    changes: Sequence[Sequence[Change]]
    """Changes from the first run to each other one."""

    @property
    def letters(self) -> str:
        """Unique labels of the runs."""
        return ascii_lowercase[: len(self.runs)]


def compare(runs: Sequence[Run]) -> Comparison:
    """Compare runs.

    Raises:
        Refused: fewer than two or too many, or one of them did not finish.
    """
    if not 2 <= len(runs) <= MOST:
        raise refuse(f"compare={','.join(run.name for run in runs)}", f"has {len(runs)} runs", f"give 2 to {MOST}")
    for run in runs:
        if not run.metrics:
            raise refuse(f"compare={run.name}", run.problem or "it has no metrics.json", "choose runs that finished")
    if len(tasks := {run.metrics["ran"]["task"] for run in runs}) > 1:
        problem = f"the runs have different tasks: {', '.join(sorted(tasks))}"
        raise refuse(f"compare={','.join(run.name for run in runs)}", problem, "choose runs of one task")
    changed = [changes(runs[0].tested, run.tested) for run in runs[1:]]
    return Comparison(runs, _different(runs, lambda run: run.config), _different(runs, _circumstances), changed)


def _different(runs: Sequence[Run], content: Callable[[Run], Mapping[str, Any]]) -> dict[str, list[str]]:
    each = [flat(dict(content(run))) for run in runs]
    keys = dict.fromkeys(key for values in each for key in values)
    texts = {key: [_text(values[key]) if key in values else ABSENT for values in each] for key in keys}
    return {key: values for key, values in texts.items() if len(set(values)) > 1}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _circumstances(run: Run) -> dict[str, Any]:
    data = run.metrics["data"]
    content = {"data": str(data.get("digest"))[:12], "rows": data.get("rows"), "versions": run.record.get("versions")}
    return {**content, "host": run.record.get("host"), "model_version": run.metrics.get("model_version")}


Rows = tuple[Sequence[str], Sequence[Sequence[str]]]
"""A table: header and cells."""


def descriptions(content: Comparison) -> list[Rows]:
    """A table of the runs and of what differs in their configuration."""
    letters = list(content.letters)
    names = [[letter, run.name, run.decision, _note(run)] for letter, run in zip(letters, content.runs, strict=True)]
    same = [["nothing", *[""] * len(letters)]]
    return [
        (["", "run", "decision", ""], names),
        (["configuration", *letters], [[key, *values] for key, values in content.configuration.items()] or same),
        (["data, model, machine", *letters], [[key, *values] for key, values in content.circumstances.items()] or same),
    ]


def _note(run: Run) -> str:
    return "simulated" if run.metrics["data"].get("simulated") else ""


def scores(content: Comparison) -> Rows:
    """A table of the metrics, with their changes from the first run, intervals and methods."""
    heads = ["test score", "run", "value", "change", "95 % interval", "", "method"]
    rows = []
    for name in dict.fromkeys(change.metric.name for each in content.changes for change in each):
        found = [next((change for change in each if change.metric.name == name), None) for each in content.changes]
        first = next(change.before for change in found if change)
        rows.append([name, content.letters[0], f"{first:.6f}", "", "", "", ""])
        for letter, change in zip(content.letters[1:], found, strict=True):
            rows.append(["", letter, *(_cells(change) if change else ["none", "", "", "", ""])])
    return heads, rows


def _cells(change: Change) -> list[str]:
    between = ""
    if change.interval:
        form = "+" + change.metric.form
        between = f"{change.interval.low:{form}} to {change.interval.high:{form}}"
    moved = f"{change.after - change.before:+.6f}"
    return [f"{change.after:.6f}", moved, between, change.verdict, change.method]
