"""All runs in a table, the newest first."""

from __future__ import annotations

from pathlib import Path

from tapeline.console import table
from tapeline.pipeline import run_folder as past
from tapeline.pipeline.run_folder import Run
from tapeline.tasks import value
from tapeline.tuning.results import tuned

HEADS = ("run", "decision", "metric", "score", "interval", "rows", "version", "")


def show(folder: Path) -> None:
    """Print it; a run that is not whole has its row and the reason."""
    found, latest = past.runs(folder), past.latest(folder)
    if not found:
        print(f"{folder} holds no runs yet; tapeline run makes one")
        return
    table(HEADS, [_row(run, latest) for run in found])


def _row(run: Run, latest: str | None) -> list[str]:
    notes = ["latest"] if run.name == latest else []
    cells = [""] * 6
    if run.metrics:
        notes += ["simulated"] if run.metrics["data"].get("simulated") else []
        notes += [f"tuned: {found}"] if (found := tuned(run.metrics)) else []
        name = str(run.metrics["config"]["gate"]["metric"])
        score = value(run.metrics["test"]["overall"], name)
        between = "{:.4f} to {:.4f}".format(*run.interval) if run.interval else ""
        cells = [run.decision, name, "none" if score is None else f"{score:.4f}", between]
        cells += [str(run.metrics["test"]["overall"].get("rows", "")), _version(run)]
    notes += [run.problem] if run.problem else []
    return [run.name, *cells, ", ".join(notes)]


def _version(run: Run) -> str:
    """The number that it has in the store, where it was published."""
    published = run.record.get("published")
    return str(published.get("number") or "") if isinstance(published, dict) else ""
