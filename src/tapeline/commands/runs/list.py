"""All runs, the newest first: a line for each, and below it what was asked for and what is special.

tapeline runs query='model.family=flat accuracy>0.6'
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from tapeline.commands.runs import query
from tapeline.errors import Refused, printable, program
from tapeline.pipeline import run_folder as past
from tapeline.pipeline.run_folder import Run
from tapeline.serving.store import versions
from tapeline.tasks import value
from tapeline.tuning.results import tuned

HEADS = ("run", "state", "score", "interval", "time")
WIDTH = 80


def show(folder: Path, wanted: str = "") -> None:
    """Print the runs of a folder that fit a query; a run that is not whole has its line and the reason.

    Raises:
        Refused: the query cannot be read.
    """
    found, latest = past.runs(folder), past.latest(folder)
    if not found:
        print(f"{folder} holds no runs yet; {program()} run makes one")
        return
    chosen = query.fitting(found, wanted)
    if not chosen:
        print(f"none of {len(found)} runs fits")
        return
    rows = [_row(run) for run in chosen]
    widths = [max(map(len, cells)) for cells in zip(HEADS, *rows, strict=True)]
    _print(HEADS, widths)
    for run, cells in zip(chosen, rows, strict=True):
        _print(cells, widths)
        notes = "; ".join(_notes(run, latest))
        print(
            *textwrap.wrap(notes, WIDTH, initial_indent="  ", subsequent_indent="    "),
            sep="\n",
            end="\n" * bool(notes),
        )
    if len(chosen) < len(found):
        print(f"{len(chosen)} of {len(found)} runs")


def _print(cells: Sequence[str], widths: Sequence[int]) -> None:
    print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())


def _row(run: Run) -> list[str]:
    score = interval = ""
    if run.metrics:
        found = value(run.metrics["test"]["overall"], _metric(run))
        score = "none" if found is None else f"{found:.4f}"
        interval = "{:.3g} to {:.3g}".format(*run.interval) if run.interval else ""
    return [printable(run.name), _state(run), score, interval, _time(run)]


def _metric(run: Run) -> str:
    return str(run.metrics["config"]["gate"]["metric"])


def _state(run: Run) -> str:
    """In one word: at work, broken, rejected, accepted, or live with its version's number."""
    if run.problem:
        return run.problem.partition(":")[0]
    number = _published(run)
    if number and number == _live(str(run.record.get("store")), str(run.metrics["config"]["serving"]["name"])):
        return f"live {number}"
    return run.decision


def _published(run: Run) -> int | None:
    """The number that it has in the store, where it was published."""
    published = run.record.get("published")
    return published.get("number") if isinstance(published, dict) else None


@cache
def _live(store: str, name: str) -> int | None:
    """The number of the version that is live in a store on this machine."""
    if "://" in store or not Path(store).is_dir():
        return None
    try:
        version = versions.read(Path(store), name).live()
    except (OSError, Refused):
        return None
    return version.number if version else None


def _time(run: Run) -> str:
    """How long it took, or has taken so far."""
    if run.problem == "running":
        seconds = (datetime.now(UTC) - run.started).total_seconds()
    elif isinstance(run.record.get("seconds"), int | float):
        seconds = float(run.record["seconds"])
    else:
        return ""
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _notes(run: Run, latest: str | None) -> Iterator[str]:
    if run.name == latest:
        yield "latest"
    if run.metrics:
        yield f"{_metric(run)} on {run.metrics['test']['overall'].get('rows', '?')} test rows"
        if run.metrics["data"].get("simulated"):
            yield "simulated"
        if (number := _published(run)) and not _state(run).startswith("live"):
            yield f"version {number}"
        if found := tuned(run.metrics):
            yield f"tuned: {found}"
    given = run.record.get("overrides")
    if isinstance(given, list) and given:
        yield printable(" ".join(map(str, given)))
    if run.problem.partition(":")[2]:
        yield printable(run.problem)
