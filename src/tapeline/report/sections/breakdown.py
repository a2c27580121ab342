"""The score by year, by volatility before the forecast and by the size of the move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapeline.report import curves
from tapeline.report.charts import SERIES, SOFT, named_rows, picture
from tapeline.report.page import Figure, Grid
from tapeline.report.sections import Inputs

THIRDS = {
    "volatility": ("low volatility", "middle volatility", "high volatility"),
    "move": ("small moves", "middle moves", "large moves"),
}
"""Context columns, and what their thirds are called; the size of the value counts."""


def figures(inputs: Inputs) -> Iterator[Figure]:
    """One picture; none where rows have neither time nor these columns."""
    groups = list(_groups(inputs))
    if not groups:
        return
    metric, whole = inputs.primary, curves.score(inputs.answers, inputs.answers.prediction)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for at, group in enumerate(groups):
            axes.plot(group.reference, at, "o", color=SOFT, markersize=4, label=None if at else "best simple rule")
            if group.low is not None and group.high is not None:
                axes.hlines(at, group.low, group.high, color=SERIES[0], linewidth=1.2)
            axes.plot(group.score, at, "o", color=SERIES[0], markersize=5, label=None if at else "this model")
        axes.axvline(whole, color=SERIES[0], linestyle=":", linewidth=1)
        named_rows(axes, [group.name for group in groups], metric.label, 26)
        figure.legend(loc="outside lower center", ncols=2, handlelength=1.2)

    rows = [
        [
            each.name,
            f"{each.rows:,}",
            f"{each.score:{metric.form}}",
            _ends(each, metric.form),
            f"{each.reference:{metric.form}}",
        ]
        for each in groups
    ]
    least, most = (pick(groups, key=lambda each: metric.sign * each.score) for pick in (min, max))
    caption = (
        f"Worst: {least.name} ({least.score:{metric.form}} on {least.rows:,} rows); best: {most.name} "
        f"({most.score:{metric.form}} on {most.rows:,}). The dotted line is the score of all test rows. Thirds are of "
        "the test rows; the bars are 95 % intervals."
    )
    svg = picture("breakdown", caption, draw, 0.95 + 0.2 * len(groups))
    head = ["test rows of", "rows", metric.name, "95 % interval", "best simple rule"]
    title = f"{metric.name[0].upper()}{metric.name[1:]} by year, volatility and move"
    yield Figure("breakdown", title, caption, svg, Grid(head, rows, text_columns=("95 % interval",)))


def _ends(group: curves.Group, form: str) -> str:
    return "" if group.low is None else f"{group.low:{form}} to {group.high:{form}}"


def _groups(inputs: Inputs) -> Iterator[curves.Group]:
    """The rows of each year, and of each third of the context columns that are there."""
    answers, scored = inputs.answers, inputs.predictions.scored
    if "time" in inputs.predictions.rows:
        years = answers.time.astype("datetime64[Y]")
        for year in np.unique(years):
            yield curves.group(answers, str(year), years == year)
    for name, words in THIRDS.items():
        values = np.abs(scored[name].astype(float)) if name in scored else np.array([])
        if len(values) < 3 or not np.isfinite(values).any():
            continue
        edges = np.nanquantile(values, [1 / 3, 2 / 3])
        which = np.where(np.isfinite(values), np.searchsorted(edges, values, side="right"), -1)
        for at, word in enumerate(words):
            if (which == at).any():
                yield curves.group(answers, word, which == at)
