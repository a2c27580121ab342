"""What a run's own copy of the report says beyond the step's page: which run, when, what is live, and what to type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    after = stamped(page, list(_lines(report.parent.name, accepted, served, started)))
    if after != page:
        files.write_bytes(report, after.encode("utf-8", errors="surrogateescape"))


def _lines(run: str, accepted: bool, served: Mapping[str, Any] | None, started: datetime) -> Iterator[Markup]:
    make = program()
    state = _state(accepted, served)
    yield Markup("Run <code>{}</code>, {}. {}").format(run, f"{started:%Y-%m-%d %H:%M} UTC", state)
    yield Markup("Next: ") + Markup(", ").join(
        Markup("<code>{}</code>").format(line) for line in _next(run, accepted, served)
    )
    again, rows = f"{make} runs repeat={run}", f"{make} runs predictions={run}"
    yield Markup("The same run again: <code>{}</code>. Its predictions as CSV: <code>{}</code>.").format(again, rows)


def _state(accepted: bool, served: Mapping[str, Any] | None) -> str:
    """Whether its model is live after this run."""
    if served and "number" in served:
        return f"Its model is live as version {served['number']} of {served['name']}."
    if served:
        return f"{str(served['sentence'])[:1].upper()}{str(served['sentence'])[1:]}."
    return "Its model was accepted, but is not published." if accepted else "Its model is not published."


def _next(run: str, accepted: bool, served: Mapping[str, Any] | None) -> list[str]:
    make = program()
    if served and "number" in served:
        return [f"{make} serve", f"{make} predict"]
    if accepted and not served:
        return [f"{make} publish run={run}"]
    return [f"{make} sweep model=flat,deep,lightgbm", f"{make} runs"]
