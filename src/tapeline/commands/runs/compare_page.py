"""The comparison as a page: one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.commands.runs.compare import Comparison, compare, descriptions, scores
from tapeline.console import table
from tapeline.pipeline.run_folder import Run
from tapeline.report.charts import SERIES, WIDE, picture
from tapeline.report.page import Figure, Grid, environment

WORDS = ("run", "decision", "", "method")
"""Columns without numbers."""


def show(runs: Sequence[Run], folder: Path) -> None:
    """Print the comparison, and write it as a page into the folder of the runs."""
    content = compare(runs)
    for head, rows in (*descriptions(content), scores(content)):
        table(head, rows)
        print()
    path = folder / f"compare-{files.digest([run.name for run in runs])[:12]}.html"
    files.write_bytes(path, page(content).encode())
    print(f"with curves: {path}")


def page(content: Comparison) -> str:
    """The whole page, as text."""
    _, *differences = descriptions(content)
    grids = [Grid(heads, rows, text_columns=heads) for heads, rows in differences]
    heads, rows = scores(content)
    return (
        environment(Path(__file__).parent)
        .get_template("compare.html")
        .render(
            runs=list(zip(content.letters, content.runs, strict=True)),
            simulated=any(run.metrics["data"].get("simulated") for run in content.runs),
            configuration=grids[0],
            circumstances=grids[1],
            scores=Grid(heads, rows, text_columns=WORDS),
            figures=[_curves(content)],
        )
    )


def _curves(content: Comparison) -> Figure:
    """The training traces in one chart."""
    traces = {letter: run.metrics["train"]["trace"] for letter, run in zip(content.letters, content.runs, strict=True)}

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for colour, (letter, trace) in zip(SERIES, traces.items(), strict=False):
            steps, values = ([point[key] for point in trace] for key in ("step", "score"))
            axes.plot(steps, values, marker="o", markersize=3, color=colour, label=letter)
        axes.set(xlabel="training steps", ylabel="score on training rows")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.legend(ncols=4)

    at = {letter: {point["step"]: point["score"] for point in trace} for letter, trace in traces.items()}
    steps = sorted({step for points in at.values() for step in points})
    rows = [[f"{step:,}", *(_score(points.get(step)) for points in at.values())] for step in steps]
    caption = "Score on the train rows by training step, for each run."
    svg = picture("curves", caption, draw, height=3.2, width=WIDE)
    return Figure("curves", "Training curves", caption, svg, Grid(["step", *traces], rows), wide=True)


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"
