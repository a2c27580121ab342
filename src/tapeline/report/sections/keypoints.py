"""Images of test rows with predicted and true points, the error of each point, and which labels there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tapeline import lookup
from tapeline.report.charts import INK, SERIES, SOFT, WIDE, bare, picture, short
from tapeline.report.page import Figure, Grid
from tapeline.report.sections import Inputs
from tapeline.tables.examples import Examples
from tapeline.tasks import Array
from tapeline.tasks.keypoints import EXAMPLES, names_of

ACROSS = 4
"""Images side by side."""
NUMBERS = ("metrics", "test", "overall", "points")
KNOWN = ("profile", "statistics", "table", "known")


def figures(inputs: Inputs) -> Iterator[Figure]:
    """Some images, the worst and the best; errors by point; missing labels."""
    if inputs.examples is not None and len(inputs.examples.rows):
        yield from _faces(inputs, inputs.examples)
    yield _by_point(inputs)
    yield from _missing(inputs)


def _faces(inputs: Inputs, examples: Examples) -> Iterator[Figure]:
    true, predicted = (inputs.predictions.scored[name][examples.rows] for name in ("target", "prediction"))
    labels = [inputs.predictions.labels[row] for row in examples.rows]
    gaps = (predicted - true) ** 2
    known = np.isfinite(gaps)
    error = np.sqrt(np.where(known, gaps, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1))
    order = np.argsort(error, kind="stable")
    spread = order[np.unique(np.linspace(0, len(order) - 1, min(len(order), EXAMPLES)).astype(np.int64))]
    parts = {
        "faces": ("Test images", "From the least to the greatest error", spread),
        "worst": ("The greatest errors", "The test images with the greatest error", order[::-1][:EXAMPLES]),
        "best": ("The least errors", "The test images with the least error", order[:EXAMPLES]),
    }
    marks = "Crosses are predicted, circles are labels. The number is the error of the image in pixels."
    for name, (title, what, rows) in parts.items():

        def draw(figure: Any, rows: Array = rows) -> None:
            _mosaic(figure, examples.features[rows], true[rows], predicted[rows], error[rows])

        caption = f"{what}. {marks}"
        grid = Grid(["row", "error (pixels)"], [[labels[row], f"{error[row]:.3f}"] for row in rows])
        height = 0.15 + WIDE / ACROSS * -(-len(rows) // ACROSS)
        yield Figure(name, title, caption, picture(name, caption, draw, height, WIDE), grid, wide=True)


def _mosaic(figure: Any, images: Array, true: Array, predicted: Array, error: Array) -> None:
    """All images in one pair of axes."""
    side, down = images.shape[1], -(-len(images) // ACROSS)
    whole = np.full((down * side, ACROSS * side), 255, np.uint8)
    axes = figure.subplots()
    for at, image in enumerate(images):
        y, x = at // ACROSS * side, at % ACROSS * side
        whole[y : y + side, x : x + side] = image
        # pixels have their middle at whole numbers
        corner = np.array([x, y]) - 0.5
        labelled, found = (points[at].reshape(-1, 2) + corner for points in (true, predicted))
        axes.plot(*labelled.T, "o", markerfacecolor="none", markeredgecolor=SERIES[1], markersize=4, markeredgewidth=1)
        axes.plot(*found.T, "x", color=SERIES[0], markersize=3.5, markeredgewidth=1.1)
        box = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 1}
        axes.text(x + 2, y + 3, f"{error[at]:.2f}", fontsize=7, color="black", va="top", bbox=box)
    axes.imshow(whole, cmap="gray", vmin=0, vmax=255, interpolation="none")
    axes.set(xticks=[], yticks=[], xlim=(-0.5, ACROSS * side - 0.5), ylim=(down * side - 0.5, -0.5))
    bare(axes)


def _points(inputs: Inputs) -> tuple[str, ...]:
    return names_of(lookup.spec(inputs.scores["dataset"]).outputs)


def _by_point(inputs: Inputs) -> Figure:
    names, errors = _points(inputs), inputs.metrics["test"]["overall"]["points"]
    shape = _mean_shape(inputs.predictions.scored["target"])
    most = max((each for each in errors if each is not None), default=1.0)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for (x, y), error in zip(shape, errors, strict=True):
            if error is None or not np.isfinite(x):
                continue
            axes.plot(x, y, "o", color=SERIES[0], alpha=0.35 + 0.4 * error / most, markersize=4 + 9 * error / most)
            axes.annotate(f"{error:.1f}", (x, y), (0, 7), textcoords="offset points", ha="center", fontsize=7.5)
        axes.set(xlabel="x (pixels)", ylabel="y (pixels)", xlim=(0, 96), ylim=(96, 0), aspect="equal")

    order = np.argsort([-(each or 0) for each in errors], kind="stable")
    rows = [[names[at], inputs.number(*NUMBERS, int(at), form=".3f")] for at in order]
    caption = "Root mean squared error of each point in pixels, at its mean place. The table begins with the greatest."
    svg = picture("by-point", caption, draw, 3.6)
    return Figure("by-point", "Error by point", caption, svg, Grid(["point", "rmse (pixels)"], rows))


def _mean_shape(target: Array) -> Array:
    """[points, 2], NaN for a point without any label."""
    known = np.isfinite(target)
    totals, counts = np.where(known, target, 0).sum(axis=0), known.sum(axis=0)
    return np.asarray(np.where(counts, totals / np.maximum(counts, 1), np.nan)).reshape(-1, 2)


def _missing(inputs: Inputs) -> Iterator[Figure]:
    known = inputs.profile.get("statistics", {}).get("table", {}).get("known")
    if not known:
        return
    rows, points = inputs.profile["statistics"]["table"]["described"], known["points"]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for at, pattern in enumerate(known["patterns"]):
            there = [place for place, has in enumerate(pattern["known"]) if has]
            gone = [place for place, has in enumerate(pattern["known"]) if not has]
            axes.plot([at] * len(there), there, "s", color=SERIES[0], markersize=6)
            axes.plot([at] * len(gone), gone, "s", markerfacecolor="none", markeredgecolor=SOFT, markersize=6)
            axes.text(at, -1.1, f"{pattern['rows']:,}", ha="center", fontsize=7.5, color=INK)
        axes.set_yticks(range(len(points)), [short(name, 26) for name in points])
        axes.set(xticks=[], xlim=(-0.6, len(known["patterns"]) - 0.4), ylim=(len(points) - 0.5, -1.8))
        bare(axes)

    table = [
        [name, inputs.number(*KNOWN, "rows", at, form=",d"), f"{1 - known['rows'][at] / rows:.1%}"]
        for at, name in enumerate(points)
    ]
    caption = (
        f"Each column is a set of labels that rows have, with its number of rows, the most frequent first; filled: the "
        f"label is there. {known['complete']:,} of {rows:,} rows have all labels."
    )
    svg = picture("missing-labels", caption, draw, 3.5)
    yield Figure("missing-labels", "Missing labels", caption, svg, Grid(["point", "rows with it", "missing"], table))
