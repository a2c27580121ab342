"""The model part: what scores.json and metrics.json say, as pictures and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tapeline.evaluation.metrics import best, value
from tapeline.report.charts import BAD, INK, SERIES, SOFT, bare, dates, picture, short
from tapeline.report.page import Grid, Number, Plate
from tapeline.report.sections import test as tested
from tapeline.report.sections.test import label, main

Told = Mapping[str, Any]
BARS = 24
"""Columns that the picture of importance has room for."""


def plates(metrics: Told, scores: Told, number: Number) -> list[Plate]:
    """Pictures of the model, in the order of reading."""
    answers = tested.plates(metrics, scores, number)
    return [
        _training(metrics, scores, number),
        *answers,
        *_importance(scores, number),
        _windows(metrics, scores, number),
    ]


def beside(metrics: Told, scores: Told, number: Number) -> Plate:
    """The score beside the baselines' and the threshold, in the gate's metric where all have it."""
    metric = metrics["config"]["gate"]["metric"]
    if not any(value(each, metric) is not None for each in metrics["baselines"].values()):
        metric = main(scores["task"], metrics)
    who = {"this model": ("metrics", "test")}
    who |= {name: ("metrics", "baselines", name) for name in metrics["baselines"]}
    each_of = [metrics["test"], *metrics["baselines"].values()]
    known = [(name, each) for name, each in zip(who, each_of, strict=True) if value(each, metric) is not None]
    bands = metric == main(scores["task"], metrics)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for at, (_, each) in enumerate(known):
            colour = SOFT if at else SERIES[0]
            if bands and "interval" in each:
                ends = each["interval"]["low"], each["interval"]["high"]
                axes.hlines(at, *ends, color=colour, linewidth=1 if at else 3)
            axes.plot(value(each, metric), at, "o", color=colour, markersize=4 if at else 7)
        threshold = metrics["config"]["gate"]["threshold"]
        if threshold is not None and metric == metrics["config"]["gate"]["metric"]:
            axes.vlines(threshold, -0.45, len(known) - 0.4, color=BAD, linestyle="--", linewidth=1.2)
            axes.text(threshold, -0.75, f"threshold {threshold:g}", color=BAD, ha="center", fontsize=8)
        axes.set_yticks(range(len(known)), [short(name, 27) for name, _ in known])
        axes.set(xlabel=label(metric), ylim=(len(known) - 0.4, -1.1))
        bare(axes)
        axes.grid(visible=True, axis="x")

    rows = []
    for name, each in known:
        ends = [number(*who[name], "interval", end) if "interval" in each else "" for end in ("low", "high")]
        rows.append([name, number(*who[name], *metric.split("."), form=".6f"), *ends])
    says = "Beside what needs no training, on the same test rows."
    if bands and "interval" in metrics["test"]:
        says += " The bars are intervals: where two overlap, the difference may be chance."
    svg = picture("beside", says, draw, 0.75 + 0.24 * len(known))
    return Plate("beside", "The score beside simple rules", says, svg, Grid(["who", metric, "from", "to"], rows))


def _training(metrics: Told, scores: Told, number: Number) -> Plate:
    name = next(each for each in metrics["train"] if each != "trace")
    windows = scores["windows"]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for window in windows:
            last = window is windows[-1]
            steps, values = [p["step"] for p in window["trace"]], [p["score"] for p in window["trace"]]
            text = "training rows" if last else "earlier windows" if window is windows[0] else None
            style = {"color": SERIES[0], "marker": "o", "markersize": 3.5} if last else {"color": SOFT, "linewidth": 1}
            axes.plot(steps, values, label=text, **style)
        found = value(metrics["test"], name)
        if found is not None:
            end = windows[-1]["trace"][-1]["step"]
            axes.plot(end, found, marker="s", linestyle="", color=SERIES[1], label="test rows")
        axes.set(xlabel="training steps", ylabel=label(name))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.locator_params(axis="x", nbins=5)
        figure.legend(loc="outside lower center", ncols=3, handlelength=1.4)

    here = ("metrics", "train", "trace")
    points = range(len(metrics["train"]["trace"]))
    rows = [[number(*here, at, "step", form=",d"), number(*here, at, "score", form=".6f")] for at in points]
    says = (
        "How well it does on the rows it learns from, and in the end on the test rows. A wide gap is learning by heart."
    )
    grid = Grid(["step", f"{name} on training rows"], rows)
    return Plate("training", "Training", says, picture("training", says, draw, 2.7), grid)


def _importance(scores: Told, number: Number) -> Iterator[Plate]:
    told = scores["importance"]
    if not told:
        return
    order = sorted(told["columns"].items(), key=lambda item: -item[1]["loss"])
    shown = order[:BARS]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        losses, sds = [each["loss"] for _, each in shown], [each["sd"] for _, each in shown]
        colours = [SERIES[0] if loss > sd else SOFT for loss, sd in zip(losses, sds, strict=True)]
        axes.barh(range(len(shown)), losses, color=colours, height=0.65)
        axes.hlines(range(len(shown)), np.subtract(losses, sds), np.add(losses, sds), color=INK, linewidth=0.8)
        axes.set_yticks(range(len(shown)), [short(name, 24) for name, _ in shown])
        axes.set(xlabel=f"loss of {told['metric']}", ylim=(len(shown) - 0.4, -0.6))
        bare(axes)
        axes.grid(visible=True, axis="x")

    rows = [
        [name, *(number("scores", "importance", "columns", name, part, form=".4f") for part in ("loss", "sd"))]
        for name, _ in order
    ]
    says = (
        f"How much {told['metric']} on the test rows falls where a column is shuffled: mean and spread of "
        f"{told['repeats']} shuffles. Grey is no more than noise. Columns that move together share what they are worth."
    )
    svg = picture("importance", says, draw, 0.8 + 0.155 * len(shown))
    yield Plate("importance", "What it lives on", says, svg, Grid(["column", "loss", "spread"], rows))


def _windows(metrics: Told, scores: Told, number: Number) -> Plate:
    windows = scores["windows"]
    metric = main(scores["task"], metrics)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for at, window in enumerate(windows):
            for side, colour in (("train", SOFT), ("test", SERIES[0])):
                ends = np.array([window[side]["first"], window[side]["last"]], "datetime64")
                axes.hlines(at, *ends, color=colour, linewidth=9, label=side if not at else None)
            if (found := value(window["score"], metric)) is not None:
                axes.annotate(f"{found:.3f}", (ends[1], at), (4, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(windows)), [str(at + 1) for at in range(len(windows))])
        axes.set(ylabel="window", ylim=(len(windows) - 0.4, -0.6))
        axes.margins(x=0.16)
        dates(axes)
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside lower center", ncols=2, handlelength=1.2)

    rows = []
    for at, window in enumerate(windows):
        here = ("scores", "windows", at)
        spans = [f"{window[side]['first']} to {window[side]['last']}" for side in ("train", "test")]
        counts = [number(*here, side, "rows", form=",d") for side in ("train", "test")]
        known = value(window["score"], metric) is not None
        found = number(*here, "score", *metric.split(".")) if known else ""
        rows.append([str(at + 1), spans[0], counts[0], spans[1], counts[1], found])
    several = f"{len(windows)} models, each tested on what came after its own rows; the last one is served."
    says = several if len(windows) > 1 else "Nothing is shuffled: it is tested on what came after all that it learnt."
    says += f" The number is the {metric} of each."
    head = ["window", "train", "train rows", "test", "test rows", metric]
    svg = picture("windows", says, draw, 1.25 + 0.27 * len(windows))
    return Plate("windows", "What trains and what tests", says, svg, Grid(head, rows, ("train", "test")))


def others(metrics: Told, scores: Told, number: Number) -> Grid:
    """Every metric of every row's answerer."""
    who: dict[str, tuple[str, ...]] = {"this model": ("metrics", "test")}
    who |= {"validation rows": ("metrics", "validation")} if "validation" in metrics else {}
    who |= {name: ("metrics", "baselines", name) for name in metrics["baselines"]}
    names = list(_scalars(metrics["test"]))
    rows = []
    for name, path in who.items():
        found = _scalars(_at(metrics, path[1:]))
        rows.append([name, *(number(*path, *key.split("."), form=".4f") if key in found else "" for key in names)])
    return Grid(["who", *names], rows)


def _at(whole: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        whole = whole[key]
    return whole


def _scalars(scores: Told, prefix: str = "") -> dict[str, Any]:
    """Metrics by dotted name, without counts and intervals."""
    found: dict[str, Any] = {}
    for key, each in scores.items():
        if isinstance(each, Mapping) and key not in ("confusion", "interval"):
            found |= _scalars(each, f"{prefix}{key}.")
        elif key == "auc" or (isinstance(each, float) and not isinstance(each, bool)):
            found[prefix + key] = each
    return found


def rival(metrics: Told, scores: Told) -> tuple[str, str] | None:
    """The best baseline and the metric that says so: the gate's where baselines have it, else the task's first."""
    for metric in (metrics["config"]["gate"]["metric"], main(scores["task"], metrics)):
        if any(value(each, metric) is not None for each in metrics["baselines"].values()):
            return best(metric, metrics["baselines"])[0], metric
    return None
