"""How often each class was predicted and happened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tapeline.report import curves
from tapeline.report.charts import SERIES, bare, picture
from tapeline.report.page import Figure, Grid
from tapeline.report.sections import Inputs


def figures(inputs: Inputs) -> Iterator[Figure]:
    """One picture; none where the model always says the same."""
    if curves.is_constant(inputs.answers.prediction):
        return
    number, test = inputs.number, inputs.metrics["test"]["overall"]
    counts, rows = test["confusion"], test["rows"]
    cells = (("tp", 0, 0), ("fn", 1, 0), ("fp", 0, 1), ("tn", 1, 1))

    def draw(figure: Any) -> None:
        from matplotlib.patches import Rectangle

        axes = figure.subplots()
        for key, x, y in cells:
            colour = SERIES[0] if x == y else SERIES[1]
            depth = 0.1 + 0.6 * counts[key] / rows
            axes.add_artist(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, facecolor=colour, alpha=depth, linewidth=0))
            axes.text(x, y - 0.08, f"{counts[key]:,}", ha="center", va="center", fontsize=13)
            axes.text(x, y + 0.25, f"{100 * counts[key] / rows:.0f} % of rows", ha="center", va="center", fontsize=8)
        axes.set(xlim=(-0.5, 1.5), ylim=(1.5, -0.5), xlabel="predicted", ylabel="actual")
        axes.set_xticks([0, 1], ["down", "up or flat"])
        axes.set_yticks([0, 1], ["down", "up or flat"], rotation=90, va="center")
        bare(axes)

    here = ("metrics", "test", "overall", "confusion")
    lines = [
        [f"it went {word}", *(number(*here, key, form=",d") for key in keys)]
        for word, keys in (("down", ("tp", "fn")), ("up or flat", ("fp", "tn")))
    ]
    caption = "Predicted and actual directions of the test rows. Blue: the prediction was right."
    grid = Grid(["", "predicted down", "predicted up or flat"], lines)
    yield Figure("confusion", "Confusion", caption, picture("confusion", caption, draw, 2.6), grid)
