"""Whether the model is more often right where it is more confident: coverage against accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tapeline.report import curves
from tapeline.report.charts import SERIES, SOFT, picture
from tapeline.report.page import Figure, Grid
from tapeline.report.sections import Inputs


def figures(inputs: Inputs) -> Iterator[Figure]:
    """One curve, where there are probabilities that differ."""
    answers = inputs.answers
    if answers.down is None or answers.down.min() == answers.down.max():
        return
    points = curves.coverage(answers)
    whole = points[-1]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        at = [each.share for each in points]
        axes.fill_between(
            at, [each.low for each in points], [each.high for each in points], color=SERIES[0], alpha=0.15
        )
        axes.plot(at, [each.right for each in points], color=SERIES[0], marker="o", markersize=3.5)
        axes.axhline(whole.right, color=SOFT, linestyle="--", linewidth=0.9)
        axes.set(xlabel="most confident rows (share of test rows)", ylabel="accuracy (share of them)", xlim=(0, 1.02))

    first = points[0]
    if whole.low <= first.right <= whole.high:
        said = "about as often right as on all rows"
    else:
        said = "right more often than on all rows" if first.right > whole.right else "right less often than on all rows"
    caption = (
        f"On its most confident {percent(first.share)} of rows it was {said}: {percent(first.right)} of {first.rows:,} "
        f"against {percent(whole.right)} of {whole.rows:,}. The band is the 95 % interval."
    )
    rows = [
        [
            f"{each.share:.0%}",
            f"{each.rows:,}",
            f"{each.least:.3f}",
            f"{each.right:.4f}",
            f"{each.low:.3f} to {each.high:.3f}",
        ]
        for each in points
    ]
    grid = Grid(["share of rows", "rows", "least probability", "accuracy", "95 % interval"], rows)
    svg = picture("confidence", caption, draw, 2.7)
    yield Figure("confidence", "Accuracy by confidence", caption, svg, grid)


def percent(share: float) -> str:
    """A share with one decimal, or none where it is whole."""
    return f"{round(100 * share, 1):g} %"
