"""Truth against prediction, and the errors, of forecasts that are numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapeline.report import curves
from tapeline.report.charts import INK, SERIES, SOFT, dots, picture
from tapeline.report.page import Figure, Grid
from tapeline.report.sections import Inputs


def figures(inputs: Inputs) -> Iterator[Figure]:
    """A cloud of points, and a histogram."""
    answers, unit = inputs.answers, getattr(inputs.task, "TARGET", "target's unit")
    true, predicted = curves.pairs(answers)
    gaps = curves.errors(answers)
    if not len(gaps):
        return

    def draw_pairs(figure: Any) -> None:
        axes = figure.subplots()
        axes.axline((float(true.mean()), float(true.mean())), slope=1, color=SOFT, linestyle="--", linewidth=0.9)
        dots(axes, true, predicted, SERIES[0])
        axes.set(xlabel=f"truth ({unit})", ylabel=f"prediction ({unit})")

    def draw_errors(figure: Any) -> None:
        axes = figure.subplots()
        axes.hist(gaps, bins=40, color=SERIES[0])
        axes.axvline(0, color=INK, linewidth=1)
        axes.set(xlabel=f"prediction less truth ({unit})", ylabel="test rows (count)")

    caption = "On the dashed line a prediction is exact."
    yield Figure("pairs", "Truth and prediction", caption, picture("pairs", caption, draw_pairs, 2.9))
    shares = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
    rows = [[f"{share:.0%}", f"{np.quantile(gaps, share):.5g}"] for share in shares]
    caption = "How far off it is, and on which side."
    yield Figure(
        "errors", "Errors", caption, picture("errors", caption, draw_errors), Grid(["share below", "error"], rows)
    )
