"""The search part: what study.json says of the trials, as pictures and a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tapeline.report.charts import SERIES, SOFT, WIDE, named_rows, picture, short
from tapeline.report.page import Cell, Figure, Grid, Number

Values = Mapping[str, Any]
SLICES = 6
"""Keys that the picture of slices has room for."""
COLUMNS = 3
"""Slices side by side."""


def figures(study: Values, number: Number) -> list[Figure]:
    """History, importances and slices, of the content of study.json."""
    return [_history(study, number), *_importances(study, number), _slices(study)]


def sentence(study: Values) -> str:
    """How the search went, in one sentence of its numbers."""
    counts, metric = study["counts"], study["metric"]
    rest = [f"{counts[state]} {state}" for state in ("pruned", "failed") if counts[state]]
    less = f" ({', '.join(rest)})" if rest else ""
    ended = "; the time limit ended the search" if study["stopped_by"] == "timeout" else ""
    rows = study["rows"]
    return (
        f"{len(study['trials'])} trials{less}, compared by {metric['name']} on the {rows['validation']:,} validation"
        f" rows of the first window after training on {rows['train']:,} rows{ended}."
    )


def best(study: Values, number: Number) -> dict[str, Cell]:
    """The values of the best trial, by key."""
    found = study["best"]["params"]
    return {key: _cell(value, ("study", "best", "params", key), number) for key, value in found.items()}


def trials(study: Values, number: Number) -> Grid:
    """All trials, the best first, then those without a value."""
    sign = 1 if study["metric"]["better"] == "higher" else -1
    values = [each["value"] for each in study["trials"]]
    known = [at for at, value in enumerate(values) if value is not None]
    order = [*sorted(known, key=lambda at: -sign * values[at]), *(at for at in range(len(values)) if at not in known)]
    keys = list(study["space"])
    head = ["trial", "state", study["metric"]["name"], "steps", *(key.partition(".")[2] for key in keys)]
    return Grid(head, [_row(study, at, keys, number) for at in order], text_columns=("state",))


def _row(study: Values, at: int, keys: Sequence[str], number: Number) -> list[Cell]:
    trial = study["trials"][at]
    here = ("study", "trials", at)
    score = number(*here, "value", form=study["metric"]["form"]) if trial["value"] is not None else ""
    steps = number(*here, "steps", form=",d") if trial["steps"] is not None else ""
    state = f"{trial['state']}: {trial['problem']}" if trial["problem"] else trial["state"]
    cells = [_cell(trial["params"][key], (*here, "params", key), number) for key in keys]
    return [str(trial["number"]), state, score, steps, *cells]


def _cell(value: Any, path: tuple[str | int, ...], number: Number) -> Cell:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value if isinstance(value, str) else json.dumps(value)
    return number(*path, form="d" if isinstance(value, int) else ".4g")


def _complete(study: Values) -> list[Values]:
    return [each for each in study["trials"] if each["state"] == "complete"]


def _history(study: Values, number: Number) -> Figure:
    metric = study["metric"]
    better = max if metric["better"] == "higher" else min

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        complete = _complete(study)
        pruned = [each for each in study["trials"] if each["state"] == "pruned" and each["trace"]]
        numbers, values = [each["number"] for each in complete], [each["value"] for each in complete]
        axes.plot(numbers, values, "o", color=SERIES[0], markersize=4, label="trial")
        if pruned:
            ends = [each["trace"][-1][1] for each in pruned]
            axes.plot([each["number"] for each in pruned], ends, "x", color=SOFT, markersize=4, label="pruned")
        best = [better(values[: at + 1]) for at in range(len(values))]
        axes.step(numbers, best, where="post", color=SERIES[1], label="best so far")
        axes.set(xlabel="trial", ylabel=metric["name"])
        axes.locator_params(axis="x", integer=True)
        figure.legend(loc="outside lower center", ncols=3, handlelength=1.4)

    caption = f"The {metric['name']} of each trial on the validation rows; {metric['better']} is better."
    rows = [["best", str(study["best"]["trial"]), number("study", "best", "value", form=metric["form"])]]
    grid = Grid(["", "trial", metric["name"]], rows)
    return Figure(
        "tuning-history", "History of the search", caption, picture("tuning-history", caption, draw, 2.7), grid
    )


def _importances(study: Values, number: Number) -> Iterator[Figure]:
    shares = study["importances"]
    if not shares:
        return

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.barh(range(len(shares)), list(shares.values()), color=SERIES[0], height=0.65)
        named_rows(axes, [key.partition(".")[2] for key in shares], "share")

    caption = "The share of each key in the spread of the trials' values (fANOVA), by complete trials only."
    rows = [[key, number("study", "importances", key, form=".4f")] for key in shares]
    svg = picture("tuning-importances", caption, draw, 0.8 + 0.2 * len(shares))
    yield Figure("tuning-importances", "Importance of the keys", caption, svg, Grid(["key", "share"], rows))


def _slices(study: Values) -> Figure:
    order = [*study["importances"], *(key for key in study["space"] if key not in study["importances"])][:SLICES]
    complete = _complete(study)
    rows = -(-len(order) // COLUMNS)

    def draw(figure: Any) -> None:
        grid = figure.subplots(rows, min(COLUMNS, len(order)), sharey=True, squeeze=False)
        for axes, key in zip(grid.flat, order, strict=False):
            _slice(axes, study["space"][key], [(each["params"][key], each["value"]) for each in complete])
            axes.set(xlabel=short(key.partition(".")[2], 24))
        for axes in list(grid.flat)[len(order) :]:
            axes.set_visible(False)
        grid[0][0].set(ylabel=study["metric"]["name"])

    caption = f"The {study['metric']['name']} of each complete trial by the value of one key."
    svg = picture("tuning-slices", caption, draw, 0.5 + 1.9 * rows, width=WIDE)
    return Figure("tuning-slices", "Slices", caption, svg, wide=True)


def _slice(axes: Any, dimension: Values, points: Sequence[tuple[Any, float]]) -> None:
    if dimension["choices"] is None:
        axes.plot([x for x, _ in points], [y for _, y in points], "o", color=SERIES[0], markersize=3.5)
        if dimension["log"] is True:
            from matplotlib import ticker

            axes.set_xscale("log")
            axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=4))
            axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(ticker.NullFormatter())
        return
    names = [json.dumps(each) for each in dimension["choices"]]
    places = [names.index(json.dumps(x)) for x, _ in points]
    axes.plot(places, [y for _, y in points], "o", color=SERIES[0], markersize=3.5)
    axes.set_xticks(range(len(names)), [short(each, 10) for each in names])
