"""What following the forecasts would have returned, without costs, beside buying and holding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapeline.report import curves
from tapeline.report.charts import SERIES, SOFT, dates, picture, short
from tapeline.report.page import Figure, Grid
from tapeline.report.sections import Inputs
from tapeline.tables import decimation

MOVE = "move"
"""The context column with the log return of the period that is forecast."""
SOME = 13
"""Rows of the table."""


def figures(inputs: Inputs) -> Iterator[Figure]:
    """One picture, where the table has the move, rows have a time, and the forecasts are not all the same."""
    answers, scored = inputs.answers, inputs.predictions.scored
    if MOVE not in scored or "time" not in inputs.predictions.rows or curves.is_constant(answers.prediction):
        return
    time, held, followed = curves.returns(answers, scored[MOVE].astype(float))
    at_times, drawn = decimation.curve(time, np.stack([held, followed], axis=1))
    as_of = inputs.metrics["data"].get("as_of")
    warning = "no costs" + (f"; decided at {short(as_of, 24)},\npart of the move may be over" if as_of else "")

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.axhline(0, color=SOFT, linewidth=0.8)
        axes.plot(at_times, 100 * drawn[:, 0], color=SOFT, label="buy and hold")
        axes.plot(at_times, 100 * drawn[:, 1], color=SERIES[0], linewidth=2, label="following the forecasts")
        axes.text(0.02, 0.98, warning, transform=axes.transAxes, va="top", fontsize=8, color=SOFT)
        axes.margins(y=0.18)
        axes.set(ylabel="cumulative return (%)")
        dates(axes)
        figure.legend(loc="outside lower center", ncols=2, handlelength=1.4)

    better = "more" if followed[-1] > held[-1] else "less" if followed[-1] < held[-1] else "the same"
    caption = (
        f"Long where it says up, short where it says down: {100 * followed[-1]:+.1f} % over the test rows, {better} "
        f"{'than' if better != 'the same' else 'as'} buying and holding ({100 * held[-1]:+.1f} %). This is not a "
        "trading result: there are no costs, and a price of the decision's moment is not in the data."
    )
    some = sorted({round(at) for at in np.linspace(0, len(time) - 1, SOME)})
    rows = [[str(time[at]), f"{100 * followed[at]:.1f}", f"{100 * held[at]:.1f}"] for at in some]
    svg = picture("signal", caption, draw, 2.9)
    yield Figure("signal", "Following the forecasts", caption, svg, Grid(["until", "following, %", "holding, %"], rows))
