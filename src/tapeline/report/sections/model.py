"""The model part: what scores.json and metrics.json say, as pictures and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from string import Formatter
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from tapeline import lookup
from tapeline.report.charts import BAD, INK, SERIES, SOFT, dates, named_rows, picture
from tapeline.report.page import Figure, Grid, Number
from tapeline.report.sections import Inputs
from tapeline.tables.spec import format_time
from tapeline.tasks import best, interval, interval_key, value

Values = Mapping[str, Any]
BARS = 24
"""Columns that the picture of importance has room for."""


def figures(inputs: Inputs) -> list[Figure]:
    """Pictures of the model, in the order of reading."""
    shown = [lookup.module("report.sections", name, "figure").figures(inputs) for name in inputs.task.FIGURES]
    return [
        _training(inputs),
        *(plate for each in shown for plate in each),
        *_importance(inputs.scores, inputs.number),
        *_drift(inputs.scores, inputs.number),
        *_windows(inputs),
    ]


def beside(inputs: Inputs) -> Figure:
    """The score beside the baselines' and the threshold, in the gate's metric where all have it."""
    metrics, metric, number = inputs.metrics, inputs.of_baselines, inputs.number
    who = {"this model": ("metrics", "test", "overall")}
    who |= {name: ("metrics", "baselines", name) for name in metrics["baselines"]}
    each_of = [metrics["test"]["overall"], *metrics["baselines"].values()]
    known = [(name, each) for name, each in zip(who, each_of, strict=True) if value(each, metric.name) is not None]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for at, (_, each) in enumerate(known):
            colour = SOFT if at else SERIES[0]
            if found := interval(each, metric):
                axes.hlines(at, found["low"], found["high"], color=colour, linewidth=1 if at else 3)
            axes.plot(value(each, metric.name), at, "o", color=colour, markersize=4 if at else 7)
        threshold = metrics["config"]["gate"]["threshold"]
        if threshold is not None and metric == inputs.metric:
            axes.vlines(threshold, -0.45, len(known) - 0.4, color=BAD, linestyle="--", linewidth=1.2)
            axes.text(threshold, -0.75, f"threshold {threshold:g}", color=BAD, ha="center", fontsize=8)
        named_rows(axes, [name for name, _ in known], metric.label, 27, top=-1.1)

    rows = []
    for name, each in known:
        keys = interval_key(each, metric)
        ends = [number(*who[name], *keys, end) if keys else "" for end in ("low", "high")]
        rows.append([name, number(*who[name], *metric.name.split("."), form=".6f"), *ends])
    caption = "Beside rules that need no training, on the same test rows."
    if all(interval(each, metric) for _, each in known):
        caption += " The bars are 95 % intervals of each score; a difference has an interval of its own, above."
    svg = picture("beside", caption, draw, 0.75 + 0.24 * len(known))
    return Figure(
        "beside", "The score beside naive baselines", caption, svg, Grid(["who", metric.name, "from", "to"], rows)
    )


def _training(inputs: Inputs) -> Figure:
    metrics, number, name = inputs.metrics, inputs.number, inputs.task.TRACE
    windows = inputs.scores["windows"]
    held = any("validation" in point for point in windows[-1]["trace"])

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for window in windows:
            last = window is windows[-1]
            steps, values = [p["step"] for p in window["trace"]], [p["score"] for p in window["trace"]]
            text = "training rows" if last else "earlier windows" if window is windows[0] else None
            style = {"color": SERIES[0], "marker": "o", "markersize": 3.5} if last else {"color": SOFT, "linewidth": 1}
            axes.plot(steps, values, label=text, **style)
            if last and held:
                known = [p.get("validation", np.nan) for p in window["trace"]]
                axes.plot(steps, known, label="validation rows", color=SERIES[2], marker="o", markersize=3.5)
        found = value(metrics["test"]["overall"], name)
        if found is not None:
            end = windows[-1]["trace"][-1]["step"]
            axes.plot(end, found, marker="s", linestyle="", color=SERIES[1], label="test rows")
        axes.set(xlabel="training steps", ylabel=inputs.named(name).label)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.locator_params(axis="x", nbins=5)
        figure.legend(loc="outside lower center", ncols=2 if held else 3, handlelength=1.4)

    here = ("metrics", "train", "trace")
    points = range(len(metrics["train"]["trace"]))
    columns = ["score", *(["validation"] if held else [])]
    rows = [
        [number(*here, at, "step", form=",d"), *(number(*here, at, each, form=".6f") for each in columns)]
        for at in points
    ]
    caption = _gap(inputs)
    heads = [f"{name} on {side} rows" for side in ("training", "validation")[: len(columns)]]
    grid = Grid(["step", *heads], rows)
    return Figure("training", "Training", caption, picture("training", caption, draw, 2.7), grid)


def _gap(inputs: Inputs) -> str:
    """What the training score says beside the test score, as numbers."""
    name = inputs.task.TRACE
    known, trained = inputs.named(name), inputs.metrics["train"]["trace"][-1]["score"]
    text = f"{name[0].upper()}{name[1:]} on the rows it learns from: {trained:{known.form}} in the end"
    found = value(inputs.metrics["test"]["overall"], name)
    if found is None:
        return f"{text}."
    gap = known.sign * (trained - found)
    side = "better than" if gap > 0 else "worse than" if gap < 0 else "the same as"
    return f"{text}, {side} the {found:{known.form}} on the test rows. Overfitting shows as a wide gap."


def _drift(scores: Values, number: Number) -> Iterator[Figure]:
    """How far the features of the test rows are from those of the train rows; nothing in files of older versions."""
    found = scores.get("drift") or {}
    order = sorted(found.get("columns", {}).items(), key=lambda item: -item[1]["distance"])
    shown = order[:BARS]
    if not shown:
        return
    critical = found["critical"]
    beyond = sum(each["distance"] > critical for _, each in order)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        distances = [each["distance"] for _, each in shown]
        axes.barh(
            range(len(shown)), distances, color=[SERIES[0] if d > critical else SOFT for d in distances], height=0.65
        )
        axes.axvline(critical, color=BAD, linestyle="--", linewidth=1)
        named_rows(axes, [name for name, _ in shown], "Kolmogorov-Smirnov distance")

    rows = [
        [name, *(number("scores", "drift", "columns", name, part, form=".3f") for part in ("distance", "shift"))]
        for name, _ in order
    ]
    caption = (
        f"How the distribution of each feature differs between train and test rows. {beyond} of {len(order)} are "
        "beyond the dashed line, which is the 95 % point for independent rows of one distribution: about one in twenty "
        "is by chance."
    )
    svg = picture("drift", caption, draw, 0.8 + 0.155 * len(shown))
    grid = Grid(["feature", "distance", "shift of the mean (sd)"], rows)
    yield Figure("drift", "Drift of the features", caption, svg, grid)


def _importance(scores: Values, number: Number) -> Iterator[Figure]:
    importance = scores["importance"]
    if not importance:
        return
    order = sorted(importance["columns"].items(), key=lambda item: -item[1]["loss"])
    shown = order[:BARS]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        losses, sds = [each["loss"] for _, each in shown], [each["sd"] for _, each in shown]
        colours = [SERIES[0] if loss > sd else SOFT for loss, sd in zip(losses, sds, strict=True)]
        axes.barh(range(len(shown)), losses, color=colours, height=0.65)
        axes.hlines(range(len(shown)), np.subtract(losses, sds), np.add(losses, sds), color=INK, linewidth=0.8)
        named_rows(axes, [name for name, _ in shown], f"loss of {importance['metric']}")

    rows = [
        [name, *(number("scores", "importance", "columns", name, part, form=".4f") for part in ("loss", "sd"))]
        for name, _ in order
    ]
    caption = (
        f"How much {importance['metric']} on the test rows falls where a column is shuffled: mean and spread of "
        f"{importance['repeats']} shuffles. Grey: no more than noise. Correlated columns share their importance."
    )
    svg = picture("importance", caption, draw, 0.8 + 0.155 * len(shown))
    yield Figure("importance", "Permutation importance", caption, svg, Grid(["column", "loss", "spread"], rows))


def _windows(inputs: Inputs) -> Iterator[Figure]:
    """When the rows of each window train and test; nothing where rows have no time."""
    windows, number, metric = inputs.scores["windows"], inputs.number, inputs.primary.name
    if inputs.fitted.windows[0].by != "time":
        return
    sides = [{side: _span(getattr(window, side)) for side in ("train", "test")} for window in inputs.fitted.windows]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for at, window in enumerate(windows):
            for side, colour in (("train", SOFT), ("test", SERIES[0])):
                ends = np.array(sides[at][side])
                axes.hlines(at, *ends, color=colour, linewidth=9, label=side if not at else None)
            if (found := value(window["score"], metric)) is not None:
                axes.annotate(f"{found:.3g}", (ends[1], at), (4, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(windows)), [str(at + 1) for at in range(len(windows))])
        axes.set(ylabel="window", ylim=(len(windows) - 0.4, -0.6))
        axes.margins(x=0.16)
        dates(axes)
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside lower center", ncols=2, handlelength=1.2)

    rows = []
    for at, window in enumerate(windows):
        spans = ["{} to {}".format(*map(format_time, sides[at][side])) for side in ("train", "test")]
        counts = [number("metrics", "split", "windows", at, "rows", side, form=",d") for side in ("train", "test")]
        known = value(window["score"], metric) is not None
        found = number("scores", "windows", at, "score", *metric.split(".")) if known else ""
        rows.append([str(at + 1), spans[0], counts[0], spans[1], counts[1], found])
    several = f"{len(windows)} models, each tested on what came after its own rows; the last one is served."
    caption = several if len(windows) > 1 else _order(sides[0])
    caption += f" The number is the {metric} of each."
    head = ["window", "train", "train rows", "test", "test rows", metric]
    svg = picture("windows", caption, draw, 1.25 + 0.27 * len(windows))
    yield Figure("windows", "What trains and what tests", caption, svg, Grid(head, rows, ("train", "test")))


def _order(sides: Mapping[str, tuple[np.datetime64, np.datetime64]]) -> str:
    """Whether the test rows come after the train rows."""
    if sides["test"][0] > sides["train"][1]:
        return "The test rows come after all train rows."
    return "Some test rows come before train rows."


def _span(periods: Sequence[Any]) -> tuple[np.datetime64, np.datetime64]:
    """The first and the last time of a side."""
    return periods[0].first, periods[-1].last


def others(inputs: Inputs) -> Grid:
    """Every metric of the model, of its validation rows and of every baseline."""
    metrics, number = inputs.metrics, inputs.number
    who: dict[str, tuple[str, ...]] = {"this model": ("metrics", "test", "overall")}
    who |= {"validation rows": ("metrics", "validation", "overall")} if metrics["validation"] else {}
    who |= {name: ("metrics", "baselines", name) for name in metrics["baselines"]}
    names = list(_scalars(metrics["test"]["overall"]))
    rows = []
    for name, path in who.items():
        found = _scalars(_at(metrics, path[1:]))
        rows.append([name, *(number(*path, *key.split("."), form=".4f") if key in found else "" for key in names)])
    return Grid(["who", *names], rows)


def intervals(inputs: Inputs) -> Grid | None:
    """The intervals of the test rows' metrics; None where the scores list none."""
    found = inputs.metrics["test"]["overall"].get("intervals")
    if not found:
        return None
    here = ("metrics", "test", "overall", "intervals")
    rows = [
        [name, *(inputs.number(*here, name, end, form=".5g") for end in ("low", "high")), each["method"]]
        for name, each in found.items()
    ]
    return Grid(["metric", "from", "to", "method"], rows, text_columns=("method",))


def _at(whole: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        whole = whole[key]
    return whole


def _scalars(scores: Values, prefix: str = "") -> dict[str, Any]:
    """Metrics by dotted name, without counts and intervals."""
    found: dict[str, Any] = {}
    for key, each in scores.items():
        if isinstance(each, Mapping):
            found |= _scalars(each, f"{prefix}{key}.") if key not in ("confusion", "intervals") else {}
        elif each is None or isinstance(each, float):
            found[prefix + key] = each
    return found


def rival(inputs: Inputs) -> tuple[str, str] | None:
    """The best baseline and the metric that says so: the gate's where baselines have it, else the task's first."""
    found = best(inputs.of_baselines, inputs.metrics["baselines"])
    return (found[0], inputs.of_baselines.name) if found else None


def sentence(inputs: Inputs, unit: str) -> Markup:
    """What the gate's metric says of the test rows, in the task's words."""
    text = Markup()
    for words, field, form, _ in Formatter().parse(inputs.task.sentence(inputs.metric.name)):
        text += escape(words)
        if field == "unit":
            text += unit
        elif field == "metric_unit":
            text += inputs.metric.unit
        elif field:
            text += inputs.number("metrics", "test", "overall", *field.split("."), form=form or ".4f")
    return text
