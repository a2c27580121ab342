"""The leaderboard of a sweep: on the terminal, as CSV and as HTML."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.commands.sweep import board_page
from tapeline.commands.sweep.groups import Group, by_seed
from tapeline.console import table
from tapeline.errors import printable
from tapeline.evaluation.comparison import Change, changes
from tapeline.lookup import metric
from tapeline.pipeline.graph import REPORT
from tapeline.pipeline.run_folder import Run
from tapeline.tasks import interval, value
from tapeline.tuning.results import tuned

Job = Mapping[str, Any]
Row = dict[str, Any]
COLUMNS = (
    *("rank", "job", "status", "metric", "rows", "score", "test", "low", "high"),
    *("beside the best", "change", "change low", "change high", "decision", "run", "tuned"),
)
"""`score` is the gate's metric on `rows`; `test`, with its interval, is the same metric on the test rows. `change` is
from the best job to this one on the test rows, with its interval; it is paired if both have the same rows."""


def shown(job: Job) -> str:
    """One line about a finished job."""
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
    notes = [str(note) for note in dict.fromkeys(each.get("note") for each in data) if note]
    simulated = any(each["simulated"] for each in data)
    common = _common(jobs)
    groups = by_seed(rows, {row["job"]: _loss(job) for row, job in _pairs(rows, jobs)})
    reports = {Path(job["run"]).name: Path(job["run"]) / REPORT.file for job in jobs if job["status"] == "finished"}
    page = board_page.Page(folder, reports, rows, groups, common, chosen, simulated, notes)
    files.write_bytes(folder / "leaderboard.html", board_page.html(page).encode())
    print(*notes, sep="\n", end="\n" if notes else "")
    _print(rows, groups, chosen, common)


def say_where(folder: Path) -> None:
    """Print the path of the page."""
    print(f"leaderboard: {os.path.relpath(folder / 'leaderboard.html')}")


def _pairs(rows: Sequence[Row], jobs: Sequence[Job]) -> list[tuple[Row, Job]]:
    """Rows of finished jobs, each with its job."""
    known = {_name(job): job for job in jobs}
    return [(row, known[row["job"]]) for row in rows if row["status"] == "finished"]


def _name(job: Job) -> str:
    return " ".join(job["overrides"]) or "as configured"


def rank(jobs: Sequence[Job]) -> tuple[list[Row], str]:
    """The rows, the best first and failed jobs last, and the sentence about the ranking.

    By validation score where every finished job has one; otherwise by the test score, which then is
    too high for the first, the more so the more jobs were tried. Jobs with equal scores have the same rank.
    """
    finished = [job for job in jobs if job["status"] == "finished"]
    rows_of = "validation" if finished and all(job["metrics"].get("validation") for job in finished) else "test"
    order = sorted(finished, key=lambda job: _loss(job, rows_of))
    chosen = "ranked by validation score" if rows_of == "validation" else f"chosen on test, {len(jobs)} jobs tried"
    losses = [_loss(job, rows_of) for job in order]
    rows = [_row(losses.index(_loss(job, rows_of)) + 1, job, order[0], rows_of) for job in order]
    if losses and losses.count(losses[0]) > 1:
        chosen += f"; {losses.count(losses[0])} jobs share the first rank"
    rows += [_row("", job, None, rows_of) for job in jobs if job["status"] != "finished"]
    return rows, chosen


def _common(jobs: Sequence[Job]) -> list[str]:
    """Overrides that all jobs share."""
    return [word for word in jobs[0]["overrides"] if all(word in job["overrides"] for job in jobs)]


def _row(place: int | str, job: Job, best: Job | None, rows_of: str) -> Row:
    row: Row = dict.fromkeys(COLUMNS, "")
    row |= {"rank": place, "job": _name(job), "status": job["status"]}
    if best is None:
        return row | {"beside the best": job["problem"]}
    test, name = job["metrics"]["test"]["overall"], _metric(job)
    found = interval(test, metric(job["metrics"]))
    row |= {
        "metric": name,
        "rows": rows_of,
        "score": _score(job, rows_of),
        "test": value(test, name),
        "low": found["low"] if found else "",
        "high": found["high"] if found else "",
        "beside the best": "the best",
        "decision": "accepted" if job["metrics"]["gate"]["accepted"] else "rejected",
        "run": Path(job["run"]).name,
        "tuned": tuned(job["metrics"]),
    }
    return row if job is best else row | _beside(best, job)


def _beside(best: Job, job: Job) -> Row:
    """The change from the best job to this one, with what may be said of it: the same rule as in runs compare=."""
    change = _change(best, job)
    if change is None:
        return {"beside the best": ""}
    ends = (change.interval.low, change.interval.high) if change.interval else ("", "")
    return {
        "beside the best": change.verdict,
        "change": change.after - change.before,
        "change low": ends[0],
        "change high": ends[1],
    }


def _change(best: Job, job: Job) -> Change | None:
    if _metric(best) != _metric(job):
        return None
    of = [Run(Path(each["run"])).tested if Run(Path(each["run"])).metrics else None for each in (best, job)]
    if of[0] is None or of[1] is None:
        return None
    return next(iter(changes(of[0], of[1], only=_metric(job))), None)


def _metric(job: Job) -> str:
    return str(job["metrics"]["config"]["gate"]["metric"])


def _score(job: Job, rows_of: str) -> float | None:
    return value(job["metrics"][rows_of]["overall"], _metric(job))


def _loss(job: Job, rows_of: str = "test") -> float:
    """The sort key: lower is better; jobs without a score are last."""
    score = _score(job, rows_of)
    return math.inf if score is None else -metric(job["metrics"]).sign * score


def _print(rows: Sequence[Row], groups: Sequence[Group], chosen: str, common: Sequence[str]) -> None:
    """Print the columns that fit a terminal; the files have all."""
    if common:
        print(f"all with {printable(' '.join(common))}")
    print(chosen)
    cells = []
    for row in rows:
        score = f"{row['score']:.4f}" if isinstance(row["score"], float) else ""
        ends = f"{row['low']:.3f} to {row['high']:.3f}" if isinstance(row["low"], float) else ""
        job = board_page.own(row["job"], common)
        decision = row["decision"] or row["status"]
        cells.append([str(row["rank"]), job, score, ends, row["beside the best"], decision, row["tuned"]])
    heads = ("", "job", "score", "interval", "beside the best", "decision", "tuned")
    known = len(heads) if any(row["tuned"] for row in rows) else len(heads) - 1
    table(heads[:known], [each[:known] for each in cells])
    for group in groups:
        spread = f"mean {group.mean:.4f}, sd {group.sd:.4f}, {group.low:.4f} to {group.high:.4f}"
        print(f"{board_page.own(group.job, common)}: {group.seeds} seeds, {spread}")
