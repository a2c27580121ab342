"""The model part: what scores.json and metrics.json say, as pictures and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tapeline.evaluation.metrics import METRICS, best, value
from tapeline.evaluation.report import curves
from tapeline.evaluation.report.page import Grid, Number, Plate
from tapeline.evaluation.report.pictures import BAD, INK, SERIES, SOFT, bare, dates, dots, picture, short

Told = Mapping[str, Any]
UNITS = {"auc": "0.5 is chance", "log_loss": "nats a row", "rmse": "in the target's unit"}
"""Of metrics that are no shares of rows."""
BARS = 24
"""Columns that the picture of importance has room for."""


def plates(metrics: Told, scores: Told, number: Number) -> list[Plate]:
    """Pictures of the model, in the order of reading."""
    told = curves.answers(scores)
    those = [_training(metrics, scores, number), *_over_time(metrics, scores, told)]
    if told.task == "direction":
        those += [_confusion(metrics, number), *_probabilities(metrics, told)]
    else:
        those += _numbers(told)
    return [*those, *_importance(scores, number), _windows(metrics, scores, number)]


def main(task: str, metrics: Told) -> str:
    """The metric that a task's interval belongs to."""
    return METRICS.get(task, (metrics["config"]["gate"]["metric"],))[0]


def label(metric: str) -> str:
    """A metric with its unit, for an axis."""
    return f"{metric} ({UNITS.get(metric, 'share of rows')})"


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
                axes.hlines(at, each["interval"]["low"], each["interval"]["high"], color=colour, linewidth=1 if at else 3)
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
        ends = [number(*who[name], "interval", end, form=".4f") for end in ("low", "high")] if "interval" in each else ["", ""]
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
    rows = [[number(*here, at, "step", form=",d"), number(*here, at, "score", form=".6f")] for at in range(len(metrics["train"]["trace"]))]
    says = "How well it does on the rows it learns from, and in the end on the test rows. A wide gap means learning by heart."
    grid = Grid(["step", f"{name} on training rows"], rows)
    return Plate("training", "Training", says, picture("training", says, draw, 2.7), grid)


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
        if gate["threshold"] is not None and gate["metric"] == metric:
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
            box = Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, facecolor=colour, alpha=0.1 + 0.6 * counts[key] / rows, linewidth=0)
            axes.add_patch(box)
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
        axes.set(xlabel="false alarms (share of rises)", ylabel="falls found (share)", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))

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
        axes.set(xlabel="probability of down that it states", ylabel="share that went down", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))

    rows = [[f"{mean:.3f}", str(count), f"{share:.3f}", f"{low:.3f} to {high:.3f}"] for count, mean, share, low, high in bins]
    says = "Test rows in groups of equal size by what it states. On the dashed line its probabilities can be taken at their word."
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
        found = number(*here, "score", *metric.split("."), form=".4f") if value(window["score"], metric) is not None else ""
        rows.append([str(at + 1), spans[0], counts[0], spans[1], counts[1], found])
    several = f"{len(windows)} models, each tested on what came after its own rows; the last one is served."
    says = several if len(windows) > 1 else "Nothing is shuffled: it is tested on what came after all that it learnt."
    says += f" The number is the {metric} of each."
    head = ["window", "train", "train rows", "test", "test rows", metric]
    svg = picture("windows", says, draw, 1.25 + 0.27 * len(windows))
    return Plate("windows", "What trains and what tests", says, svg, Grid(head, rows, ("train", "test")))


def others(metrics: Told, scores: Told, number: Number) -> Grid:
    """Every metric of every row's answerer."""
    who = {"this model": ("metrics", "test")} | ({"validation rows": ("metrics", "validation")} if "validation" in metrics else {})
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
