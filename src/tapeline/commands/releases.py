"""Finished runs on their way to the store, and what the store holds.

tapeline publish run=latest        tapeline versions
"""

from __future__ import annotations

from pathlib import Path

from tapeline import files
from tapeline.config.schema import Config, Serving
from tapeline.console import table
from tapeline.errors import printable, refuse
from tapeline.pipeline.graph import METRICS, SERVABLE
from tapeline.pipeline.run_folder import Run
from tapeline.serving.store import operations as verbs


def publish(run: str, config: Config, why: str) -> str:
    """Make a finished run's model live; say what is served now.

    Raises:
        Refused: there is no such run, its gate rejected the model, or it was rolled back.
    """
    folder, serving = _accepted(run, config)
    version, written = verbs.publish(folder / SERVABLE.file, folder / METRICS.file, serving.store, serving, why)
    return f"served now: {version}" + ("" if written else "; it was live already, and nothing was written")


def canary(run: str, number: int | None, config: Config, why: str) -> str:
    """Serve a finished run's model, or a version by number, beside the live one; say what is served now.

    Raises:
        Refused: as `publish`, or nothing is live to stand beside.
    """
    if number is not None:
        return verbs.canary(number, None, config.serving.store, config.serving, why)
    folder, serving = _accepted(run, config)
    return verbs.canary(folder / SERVABLE.file, folder / METRICS.file, serving.store, serving, why)


def _accepted(run: str, config: Config) -> tuple[Path, Serving]:
    """A run's folder, and its own serving.name in the store that is configured now."""
    folder = Path(config.target.runs) / run
    if not Run(folder).finished:
        problem = f"no run of that name finished in {config.target.runs}"
        raise refuse(f"run={run}", problem, "name one that did")
    metrics = files.read_json(folder / METRICS.file)
    if not metrics["gate"]["accepted"]:
        raise refuse(f"run={run}", "the gate rejected this model", "choose a run that it accepted")
    return folder, config.serving.model_copy(update={"name": metrics["config"]["serving"]["name"]})


def show(serving: Serving) -> None:
    """Print a table of the versions.

    Raises:
        Refused: the store has none of that name.
    """
    rows = list(verbs.table(serving.store, serving.name))
    columns = [name for name in rows[0] if name != "names"]
    table(columns, [[_cell(row[name]) for name in columns] for row in rows])
    for names in dict.fromkeys(tuple(row["names"]) for row in rows):
        numbers = ", ".join(str(row["number"]) for row in rows if tuple(row["names"]) == names)
        print(f"features of {numbers}: {printable(', '.join(names))}")


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
