"""An answer in words: 2015-10-01: down, 86 %."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tapeline.commands.predict.rows import Rows
from tapeline.errors import printable
from tapeline.serving.client import Endpoint, Response
from tapeline.serving.signatures import DEFAULT
from tapeline.tasks import Task

SHOWN = 20
"""Rows printed, the last ones."""
OUTPUTS = 6
"""Numbers printed for a row."""


def lines(
    server: Endpoint,
    rows: Rows,
    answer: Response,
    task: Task,
    outputs: Sequence[str],
    more: Mapping[str, Sequence[object]],
) -> Iterator[str]:
    """Who answers, and a line for each of the last rows.

    Args:
        server: that was asked.
        rows: about which.
        answer: what it said.
        task: that knows words for it.
        outputs: names of the targets.
        more: what the task makes of the outputs, by name, one value for each row.
    """
    version = next(iter(answer.outputs.get("model_version", [])), None)
    made = f" ({version})" if version else ""
    yield f"{server.model} version {answer.version}{made} on {server}, {answer.milliseconds:.1f} ms"
    if rows.signature != DEFAULT:
        yield f"answers from {rows.signature}: {len(rows.names)} columns of each row and of the rows before it"
    first = max(0, len(rows.dates) - SHOWN)
    if first:
        yield f"the last {SHOWN} of {len(rows.dates):,} rows; json=true prints all"
    for at in range(first, len(rows.dates)):
        given = {name: values[at] for name, values in answer.outputs.items()}
        added = ", ".join(f"{name} {_text(values[at])}" for name, values in more.items())
        which = ", ".join([rows.dates[at] or f"row {at + 1}", *(str(values[at]) for values in rows.keys.values())])
        yield f"{printable(which)}: {added or of_row(task, given, outputs)}"


def _text(value: object) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else str(value)


def of_row(task: Task, given: Mapping[str, Any], outputs: Sequence[str]) -> str:
    """One answer in the words of the task; a task without `words` gives its numbers by name."""
    words = getattr(task, "words", None)
    if words is not None:
        return str(words(given))
    values = given["prediction"] if isinstance(given["prediction"], list) else [given["prediction"]]
    if any(value is None for value in values):
        return "no answer, since a value that it needs is missing"
    if len(values) > OUTPUTS:
        return f"{len(values)} numbers; json=true prints them"
    return ", ".join(f"{name} {value:.6g}" for name, value in zip(outputs, values, strict=False))
