"""The jobs of a sweep, the best first: on the terminal, as CSV and as HTML."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.console import table
from tapeline.errors import printable
from tapeline.lookup import metric
from tapeline.tasks import interval, value
from tapeline.tuning.results import tuned

Job = Mapping[str, Any]
Row = dict[str, Any]
COLUMNS = (
    *("rank", "job", "status", "metric", "rows", "score", "test", "low", "high"),
    *("beside the best", "decision", "run", "tuned"),
)
"""`score` is the gate's metric on `rows`; `test` with its interval is the same on the test rows."""
WORDS = ("job", "status", "metric", "rows", "beside the best", "decision", "run", "tuned")
"""Columns that hold no numbers."""


def shown(job: Job) -> str:
    """A finished job in a few words."""
    name = _metric(job)
    decision = "accepted" if job["metrics"]["gate"]["accepted"] else "rejected"
    return f"{name} {value(job['metrics']['test']['overall'], name):.6f}, {decision}"


def write(jobs: Sequence[Job], folder: Path) -> None:
    """Write leaderboard.csv and leaderboard.html, and print the table."""
    rows, chosen = rank(jobs)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_bytes(folder / "leaderboard.csv", text.getvalue().encode())
    data = [job["metrics"]["data"] for job in jobs if job["status"] == "finished"]
    notes = list(dict.fromkeys(note for each in data if (note := each.get("note"))))
    simulated = any(each["simulated"] for each in data)
    files.write_bytes(folder / "leaderboard.html", _page(rows, chosen, folder.name, simulated, notes).encode())
    print(*notes, sep="\n", end="\n" if notes else "")
    _print(rows, chosen, _common(jobs))
    print(f"leaderboard: {folder / 'leaderboard.html'}")


def rank(jobs: Sequence[Job]) -> tuple[list[Row], str]:
    """Rows, the best first and the failed last, and how they were ranked.

    By validation score where every finished job has one; otherwise by the test score, which then is
    too high for the first, the more so the more jobs were tried.
    """
    finished = [job for job in jobs if job["status"] == "finished"]
    rows_of = "validation" if finished and all(job["metrics"].get("validation") for job in finished) else "test"
    order = sorted(finished, key=lambda job: _loss(job, rows_of))
    chosen = "ranked by validation score" if rows_of == "validation" else f"chosen on test, {len(jobs)} jobs tried"
    rows = [_row(place, job, order[0], rows_of) for place, job in enumerate(order, start=1)]
    rows += [_row("", job, None, rows_of) for job in jobs if job["status"] != "finished"]
    return rows, chosen


def _common(jobs: Sequence[Job]) -> list[str]:
    """Overrides that all jobs share."""
    return [word for word in jobs[0]["overrides"] if all(word in job["overrides"] for job in jobs)]


def _row(place: int | str, job: Job, best: Job | None, rows_of: str) -> Row:
    row: Row = dict.fromkeys(COLUMNS, "")
    row |= {"rank": place, "job": " ".join(job["overrides"]) or "as configured", "status": job["status"]}
    if best is None:
        return row | {"beside the best": job["problem"]}
    test, name = job["metrics"]["test"]["overall"], _metric(job)
    found = interval(test, metric(job["metrics"]))
    return row | {
        "metric": name,
        "rows": rows_of,
        "score": _score(job, rows_of),
        "test": value(test, name),
        "low": found["low"] if found else "",
        "high": found["high"] if found else "",
        "beside the best": "the best"
        if job is best
        else _beside(value(best["metrics"]["test"]["overall"], name), found),
        "decision": "accepted" if job["metrics"]["gate"]["accepted"] else "rejected",
        "run": Path(job["run"]).name,
        "tuned": tuned(job["metrics"]),
    }


def _beside(best: float | None, own: Mapping[str, Any] | None) -> str:
    """What may be said of a job: whether the best one's test score lies in its own interval."""
    if best is None or own is None:
        return ""
    return "may be chance" if own["low"] <= best <= own["high"] else "worse"


def _metric(job: Job) -> str:
    return str(job["metrics"]["config"]["gate"]["metric"])


def _score(job: Job, rows_of: str) -> float | None:
    return value(job["metrics"][rows_of]["overall"], _metric(job))


def _loss(job: Job, rows_of: str) -> float:
    """Less is better; a job without the score comes last."""
    score = _score(job, rows_of)
    return math.inf if score is None else -metric(job["metrics"]).sign * score


def _print(rows: Sequence[Row], chosen: str, common: Sequence[str]) -> None:
    """What fits a terminal; the rest is in the files."""
    if common:
        print(f"all with {printable(' '.join(common))}")
    print(chosen)
    cells = []
    for row in rows:
        own = " ".join(word for word in row["job"].split() if word not in common) or "as configured"
        score = f"{row['score']:.4f}" if isinstance(row["score"], float) else ""
        ends = f"{row['low']:.3f} to {row['high']:.3f}" if isinstance(row["low"], float) else ""
        decision = row["decision"] or row["status"]
        cells.append([str(row["rank"]), own, score, ends, row["beside the best"], decision, row["tuned"]])
    heads = ("", "job", "score", "interval", "beside the best", "decision", "tuned")
    known = len(heads) if any(row["tuned"] for row in rows) else len(heads) - 1
    table(heads[:known], [each[:known] for each in cells])


def _page(rows: Sequence[Row], chosen: str, name: str, simulated: bool, notes: Sequence[str]) -> str:
    from tapeline.report.page import Grid, environment

    cells = [[f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row.values()] for row in rows]
    grid = Grid(COLUMNS, cells, text_columns=WORDS)
    template = environment(Path(__file__).parent).get_template("leaderboard.html")
    return template.render(grid=grid, chosen=chosen, name=name, simulated=simulated, notes=notes)
