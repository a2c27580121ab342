"""The score of the rows before each date, beside the best baseline's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapeline.report import curves
from tapeline.report.charts import BAD, SERIES, SOFT, dates, picture, short
from tapeline.report.page import Figure, Grid
from tapeline.report.sections import Inputs


def figures(inputs: Inputs) -> Iterator[Figure]:
    """One curve for each; none where rows are few, or the model always says the same."""
    found = curves.moving(inputs.answers)
    if found is None or curves.is_constant(inputs.answers.prediction):
        return
    width, time, model, reference = found
    name, metric, threshold = inputs.reference, inputs.primary, inputs.metrics["config"]["gate"]["threshold"]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot(time, reference, color=SOFT, label=short(name, 24))
        axes.plot(time, model, color=SERIES[0], linewidth=2, label="this model")
        low, high = axes.get_ylim()
        if threshold is not None and inputs.metric == metric and low - 0.1 < threshold < high + 0.1:
            axes.axhline(threshold, color=BAD, linestyle="--", linewidth=1, label="threshold")
        axes.set(ylabel=metric.label)
        dates(axes)
        figure.legend(loc="outside lower center", ncols=3, handlelength=1.4, columnspacing=1.2)

    some = sorted({round(at) for at in np.linspace(0, len(time) - 1, 13)})
    rows = [[str(time[at]), f"{model[at]:{metric.form}}", f"{reference[at]:{metric.form}}"] for at in some]
    caption = f"Over the last {width} test rows before each date, beside the best simple rule, {short(name, 40)}."
    svg = picture("over-time", caption, draw, 2.9)
    grid = Grid(["until", "this model", "best simple rule"], rows)
    yield Figure("over-time", f"{metric.name[0].upper()}{metric.name[1:]} over time", caption, svg, grid)
