"""What a run's own copy of the report says beyond the step's page: which run, when, what is live, and what to type."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tapeline import files
from tapeline.errors import program
from tapeline.report.page import stamped


def stamp(report: Path, accepted: bool, served: Mapping[str, Any] | None, started: datetime) -> None:
    """Write it into the page, which is in the run's folder; a page without a place for it stays as it is.

    Args:
        report: report.html.
        accepted: the gate's decision.
        served: published.json; None where the step publish did not run.
        started: when the run began.
    """
    if not report.is_file():
        return
    page = report.read_text(encoding="utf-8", errors="surrogateescape")
    after = stamped(page, _lines(report.parent.name, accepted, served, started))
    if after != page:
        files.write_bytes(report, after.encode("utf-8", errors="surrogateescape"))


def _lines(run: str, accepted: bool, served: Mapping[str, Any] | None, started: datetime) -> dict[str, list[Markup]]:
    commands = [Markup("<code>{}</code>").format(line) for line in _next(run, accepted, served)]
    again, rows = (f"{program()} runs {option}={run}" for option in ("repeat", "predictions"))
    top = Markup("{} Next: {}.").format(_state(accepted, served), Markup(", ").join(commands))
    of = Markup("Run <code>{}</code>, {}.").format(run, f"{started:%Y-%m-%d %H:%M} UTC")
    more = Markup("The same run again: <code>{}</code>. Its predictions as CSV: <code>{}</code>.").format(again, rows)
    return {"top": [top, of], "end": [more]}


def _state(accepted: bool, served: Mapping[str, Any] | None) -> str:
    """Whether its model is live after this run."""
    if served and "number" in served:
        return f"Live as version {served['number']} of {served['name']}."
    if served:
        return f"{str(served['sentence'])[:1].upper()}{str(served['sentence'])[1:]}."
    return "Not live: accepted, but not published." if accepted else "Not live."


def _next(run: str, accepted: bool, served: Mapping[str, Any] | None) -> list[str]:
    make = program()
    if served and "number" in served:
        return [f"{make} serve", f"{make} predict"]
    if accepted and not served:
        return [f"{make} publish run={run}"]
    return [f"{make} config group=gate", f"{make} runs"]
