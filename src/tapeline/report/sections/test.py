"""What the model answered on the test rows: over time, by class or by size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tapeline.evaluation.metrics import METRICS
from tapeline.report import curves
from tapeline.report.charts import BAD, INK, SERIES, SOFT, bare, dates, dots, picture, short
from tapeline.report.page import Grid, Number, Plate

Told = Mapping[str, Any]
UNITS = {"auc": "0.5 is chance", "log_loss": "nats a row", "rmse": "in the target's unit"}
"""Of metrics that are no shares of rows."""
SQUARE = {"xlim": (-0.02, 1.02), "ylim": (-0.02, 1.02)}
"""From no share to all."""


def plates(metrics: Told, scores: Told, number: Number) -> list[Plate]:
    """Pictures that follow the task."""
    told = curves.answers(scores)
    if told.task == "direction":
        return [*_over_time(metrics, scores, told), _confusion(metrics, number), *_probabilities(metrics, told)]
    return [*_over_time(metrics, scores, told), *_numbers(told)]


def main(task: str, metrics: Told) -> str:
    """The metric that a task's interval belongs to."""
    return METRICS.get(task, (metrics["config"]["gate"]["metric"],))[0]


def label(metric: str) -> str:
    """A metric with its unit, for an axis."""
    return f"{metric} ({UNITS.get(metric, 'share of rows')})"


def _over_time(metrics: Told, scores: Told, told: curves.Answers) -> Iterator[Plate]:
    found = curves.moving(told)
    if found is None:
        return
    width, time, model, reference = found
    name, metric = scores["reference"]["name"], "accuracy" if told.task == "direction" else "rmse"
    gate = metrics["config"]["gate"]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot(time, reference, color=SOFT, label=short(name, 24))
        axes.plot(time, model, color=SERIES[0], linewidth=2, label="this model")
        low, high = axes.get_ylim()
        if gate["threshold"] is not None and gate["metric"] == metric and low - 0.1 < gate["threshold"] < high + 0.1:
            axes.axhline(gate["threshold"], color=BAD, linestyle="--", linewidth=1, label="threshold")
        axes.set(ylabel=label(metric))
        dates(axes)
        figure.legend(loc="outside lower center", ncols=3, handlelength=1.4, columnspacing=1.2)

    some = sorted({round(at) for at in np.linspace(0, len(time) - 1, 13)})
    rows = [[str(time[at]), f"{model[at]:.3f}", f"{reference[at]:.3f}"] for at in some]
    says = f"Over the last {width} test rows before each date, beside the best simple rule, {short(name, 40)}."
    title = f"{metric.capitalize() if metric == 'accuracy' else 'Error'} over time"
    svg = picture("over-time", says, draw, 2.9)
    yield Plate("over-time", title, says, svg, Grid(["until", "this model", "best simple rule"], rows))


def _confusion(metrics: Told, number: Number) -> Plate:
    counts, rows = metrics["test"]["confusion"], metrics["test"]["rows"]
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
        axes.set(xlim=(-0.5, 1.5), ylim=(1.5, -0.5), xlabel="the model said", ylabel="what happened")
        axes.set_xticks([0, 1], ["down", "up or flat"])
        axes.set_yticks([0, 1], ["down", "up or flat"], rotation=90, va="center")
        bare(axes)

    here = ("metrics", "test", "confusion")
    lines = [
        [f"it went {word}", *(number(*here, key, form=",d") for key in keys)]
        for word, keys in (("down", ("tp", "fn")), ("up or flat", ("fp", "tn")))
    ]
    says = "How often each was said and happened on the test rows. Blue was right."
    grid = Grid(["", "said down", "said up or flat"], lines)
    return Plate("confusion", "Confusion", says, picture("confusion", says, draw, 2.6), grid)


def _probabilities(metrics: Told, told: curves.Answers) -> Iterator[Plate]:
    """ROC and calibration, where there are probabilities of two classes."""
    auc = metrics["test"].get("auc")
    if told.down is None or auc is None:
        return
    false, true = curves.roc(told.target, told.down)

    def draw_roc(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=SOFT, linestyle="--", linewidth=0.9)
        axes.plot(false, true, color=SERIES[0], linewidth=2)
        axes.text(0.97, 0.05, f"AUC {auc:.3f}", ha="right", transform=axes.transAxes, fontsize=10)
        axes.set(xlabel="false alarms (share of rises)", ylabel="falls found (share)", **SQUARE)

    levels = np.linspace(0, 1, 11)
    rows = [[f"{level:.1f}", f"{np.interp(level, false, true):.3f}"] for level in levels]
    says = "Falls found against false alarms, for every threshold of its probability. The dashed line is guessing."
    grid = Grid(["false alarms", "falls found"], rows)
    yield Plate("roc", "ROC", says, picture("roc", says, draw_roc, 2.9), grid)
    bins = curves.calibration(told.target, told.down)

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
    says = "Test rows in ten groups by what it states. On the dashed line its probabilities can be taken at their word."
    grid = Grid(["stated", "rows", "went down", "95 % interval"], rows)
    yield Plate("calibration", "Calibration", says, picture("calibration", says, draw_calibration, 2.9), grid)


def _numbers(told: curves.Answers) -> Iterator[Plate]:
    """Truth against prediction, and the errors, of a regression."""
    true, predicted = curves.pairs(told)
    gaps = curves.errors(told)
    if not len(gaps):
        return

    def draw_pairs(figure: Any) -> None:
        axes = figure.subplots()
        axes.axline((float(true.mean()), float(true.mean())), slope=1, color=SOFT, linestyle="--", linewidth=0.9)
        dots(axes, true, predicted, SERIES[0])
        axes.set(xlabel="truth (target's unit)", ylabel="prediction (target's unit)")

    def draw_errors(figure: Any) -> None:
        axes = figure.subplots()
        axes.hist(gaps, bins=40, color=SERIES[0])
        axes.axvline(0, color=INK, linewidth=1)
        axes.set(xlabel="prediction less truth (target's unit)", ylabel="test rows (count)")

    says = "On the dashed line a prediction is exact."
    yield Plate("pairs", "Truth and prediction", says, picture("pairs", says, draw_pairs, 2.9))
    shares = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
    rows = [[f"{share:.0%}", f"{np.quantile(gaps, share):.5g}"] for share in shares]
    says = "How far off it is, and on which side."
    yield Plate("errors", "Errors", says, picture("errors", says, draw_errors), Grid(["share below", "error"], rows))
