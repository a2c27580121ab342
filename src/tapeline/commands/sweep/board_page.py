"""The leaderboard as a page for people: one HTML file with links to the reports of its runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from tapeline.commands.sweep.groups import Group

WIDTH, HEIGHT = 120, 12
"""Units of the picture of an interval."""


@dataclass(frozen=True)
class Page:
    """What the page is made of."""

    folder: Path
    """Of the sweep."""
    reports: Mapping[str, Path]
    """By the run's name."""
    rows: Sequence[Mapping[str, Any]]
    groups: Sequence[Group]
    common: Sequence[str]
    """Overrides that all jobs share."""
    chosen: str
    """How jobs were ranked."""
    simulated: bool
    notes: Sequence[str]
    """What must be known of the data."""


def own(job: str, common: Sequence[str]) -> str:
    """The overrides of a job that not all jobs have."""
    return " ".join(word for word in job.split() if word not in common) or "as configured"


def html(page: Page) -> str:
    """The page as text. Columns that are the same in all rows are left out."""
    from tapeline.report.page import Grid, environment

    finished = [row for row in page.rows if row["status"] == "finished"]
    metrics = sorted({str(row["metric"]) for row in finished})
    span = _span(finished)
    heads = ["rank", "job", metrics[0] if len(metrics) == 1 else "score", "interval", "", "beside the best", "gate", ""]
    cells: list[list[Any]] = []
    for row in page.rows:
        ends = _ends(row) if isinstance(row["low"], float) else ""
        score = f"{row['test']:.4f}" if isinstance(row["test"], float) else ""
        if score and len(metrics) > 1:
            score = f"{row['metric']} {score}"
        gate = row["decision"] or row["status"]
        beside = _beside(row)
        cells.append(
            [
                str(row["rank"]),
                own(row["job"], page.common) + (f"; tuned: {row['tuned']}" if row.get("tuned") else ""),
                score,
                _picture(row, span),
                ends,
                beside,
                gate,
                _link(page, row),
            ]
        )
    kept = [at for at, head in enumerate(heads) if at < 3 or _varies([line[at] for line in cells])]
    grid = Grid(
        [heads[at] for at in kept], [[line[at] for at in kept] for line in cells], text_columns=heads[1:2] + heads[3:]
    )
    seeds = Grid(
        ["job", "seeds", "mean", "sd", "least", "most"],
        [
            [
                own(each.job, page.common),
                str(each.seeds),
                *(f"{x:.4f}" for x in (each.mean, each.sd, each.low, each.high)),
            ]
            for each in page.groups
        ],
    )
    template = environment(Path(__file__).parent).get_template("leaderboard.html")
    same = [f"{head} is {cells[0][at]}" for at, head in enumerate(heads) if at not in kept and head and cells[0][at]]
    return template.render(page=page, grid=grid, seeds=seeds if page.groups else None, same=same, metrics=metrics)


def _varies(cells: Sequence[Any]) -> bool:
    return len(set(map(str, cells))) > 1


def _beside(row: Mapping[str, Any]) -> str:
    """The verdict with the interval of the change."""
    if not isinstance(row["change low"], float):
        return str(row["beside the best"])
    return f"{row['change']:+.4f} ({row['change low']:+.4f} to {row['change high']:+.4f}): {row['beside the best']}"


def _link(page: Page, row: Mapping[str, Any]) -> Markup | str:
    """To the report of the row's run, relative to the sweep's folder."""
    if not row["run"]:
        return ""
    target = os.path.relpath(page.reports[row["run"]], page.folder)
    return Markup('<a href="{}">report</a>').format(quote(target))


def _ends(row: Mapping[str, Any]) -> str:
    """The interval of a row as text."""
    return f"{row['low']:.4f} to {row['high']:.4f}"


def _span(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """The ends of all intervals."""
    ends = [float(row[end]) for row in rows for end in ("low", "high") if isinstance(row[end], float)]
    return (min(ends), max(ends)) if ends and max(ends) > min(ends) else None


def _picture(row: Mapping[str, Any], span: tuple[float, float] | None) -> Markup | str:
    """The interval as a line and the score as a dot, on the same scale in all rows."""
    if span is None or not isinstance(row["low"], float) or not isinstance(row["test"], float):
        return ""
    low, high, score = (
        (float(row[key]) - span[0]) / (span[1] - span[0]) * (WIDTH - 12) + 6 for key in ("low", "high", "test")
    )
    return Markup(
        '<svg class="interval" role="img" aria-label="{}" viewBox="0 0 {} {}"><path d="M{:.1f} 6H{:.1f}"/>'
        '<circle cx="{:.1f}" cy="6" r="4"/></svg>'
    ).format(_ends(row), WIDTH, HEIGHT, low, high, score)
