"""What the probabilities of two classes are worth: ROC and calibration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapeline.report import curves
from tapeline.report.charts import SERIES, SOFT, picture
from tapeline.report.page import Figure, Grid
from tapeline.report.sections import Inputs

SQUARE = {"xlim": (-0.02, 1.02), "ylim": (-0.02, 1.02)}
"""From no share to all."""


def figures(inputs: Inputs) -> Iterator[Figure]:
    """Both, where there are probabilities of two classes that differ from row to row."""
    answers, auc = inputs.answers, inputs.metrics["test"]["overall"].get("auc")
    if answers.down is None or auc is None or curves.is_constant(answers.down):
        return
    false, true = curves.roc(answers.target, answers.down)

    def draw_roc(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=SOFT, linestyle="--", linewidth=0.9)
        axes.plot(false, true, color=SERIES[0], linewidth=2)
        axes.text(0.97, 0.05, f"AUC {auc:.3f}", ha="right", transform=axes.transAxes, fontsize=10)
        axes.set(xlabel="false alarms (share of rises)", ylabel="falls found (share)", **SQUARE)

    levels = np.linspace(0, 1, 11)
    rows = [[f"{level:.1f}", f"{np.interp(level, false, true):.3f}"] for level in levels]
    order = "better than guessing" if auc > 0.5 else "worse than guessing" if auc < 0.5 else "the same as guessing"
    caption = f"Falls found against false alarms, for every threshold of its probability. AUC {auc:.3f}: {order}, the "
    caption += "dashed line."
    grid = Grid(["false alarms", "falls found"], rows)
    yield Figure("roc", "ROC", caption, picture("roc", caption, draw_roc, 2.9), grid)
    bins = curves.calibration(answers.target, answers.down)

    def draw_calibration(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=SOFT, linestyle="--", linewidth=0.9)
        for _, mean, share, low, high in bins:
            axes.vlines(mean, low, high, color=SERIES[0], linewidth=1, alpha=0.6)
            axes.plot(mean, share, "o", color=SERIES[0], markersize=4.5)
        axes.set(xlabel="probability of down that it states", ylabel="share that went down", **SQUARE)

    rows = [
        [f"{mean:.3f}", str(count), f"{share:.3f}", f"{low:.3f} to {high:.3f}"]
        for count, mean, share, low, high in bins
    ]
    inside = sum(low <= mean <= high for _, mean, _, low, high in bins)
    caption = (
        f"Test rows in {len(bins)} groups by the predicted probability. On the dashed line the probabilities are "
        f"calibrated: the intervals of {inside} of {len(bins)} groups contain it."
    )
    grid = Grid(["stated", "rows", "went down", "95 % interval"], rows)
    yield Figure("calibration", "Calibration", caption, picture("calibration", caption, draw_calibration, 2.9), grid)
