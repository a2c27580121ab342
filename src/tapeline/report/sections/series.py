"""Pictures of the series of a data set: prices, autocorrelation, correlation by lag, missing values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tapeline.report.charts import (
    BAD,
    LINE,
    SERIES,
    SOFT,
    WIDE,
    bare,
    dates,
    dots,
    heat,
    lines,
    picture,
    short,
)
from tapeline.report.page import Figure, Grid, Number

Values = Mapping[str, Any]
LINES, CLOUDS, CELLS = 16, 8, 14
"""Series that a chart of lines, a matrix of scatter plots and one of correlations have room for."""
ROWS = 13
"""Of a curve's table."""
SPANS = 10
"""Years that a chart of missing values has room for."""
MARKED = ("unit", "jump", "frozen", "hole")
"""Kinds of defects that charts mark."""
SERIES_AT = ("profile", "statistics", "series")


def prices(series: Values, defects: Sequence[Values], number: Number) -> Iterator[Figure]:
    """Prices as they are, on a scale of ratios, and scaled to 100 on their first day."""
    time = np.array(series["curve"]["time"], "datetime64")
    curves = {name: series["curve"]["values"][name] for name in series["names"][:LINES]}
    scaled = {name: _from_first(values) for name, values in curves.items()}
    some = sorted({round(at) for at in np.linspace(0, len(time) - 1, ROWS)})
    here = (*SERIES_AT, "curve", "values")
    raw = [[str(time[at]), *(number(*here, name, at, form=",.6g") for name in curves)] for at in some]
    relative = [[str(time[at]), *(f"{scaled[name][at]:.1f}" for name in curves)] for at in some]
    marked, day = _marked(defects, time), (time[-1] - time[0]) / 400
    note = " Red: what the data quality box names." if marked else ""

    def draw(columns: Mapping[str, list[float]], label: str, scale: str) -> Any:
        def inside(figure: Any) -> None:
            axes = figure.subplots()
            for first, last in marked:
                axes.axvspan(first - day, last + day, color=BAD, alpha=0.15, linewidth=0)
            lines(axes, time, columns, series["target"])
            axes.set(ylabel=label, yscale=scale)
            axes.yaxis.set_major_formatter("{x:,.0f}")
            axes.yaxis.set_minor_formatter("")
            dates(axes)

        return inside

    unit = series["unit"]
    caption = f"As they are: {unit}, on a scale of ratios so that small ones are seen beside large ones.{note}"
    svg = picture("prices", caption, draw(curves, f"{unit} (log scale)", "log"), 3.0)
    yield Figure("prices", "Prices", caption, svg, Grid(["time", *curves], raw))
    caption = f"Each from 100 on its first day, so that their ways can be compared.{note}"
    svg = picture("scaled", caption, draw(scaled, "first = 100", "linear"), 3.0)
    yield Figure("scaled", "Prices, scaled", caption, svg, Grid(["time", *curves], relative))


def _marked(defects: Sequence[Values], time: Any) -> list[tuple[Any, Any]]:
    """First and last times of defects that have a place on the picture."""
    spans = [(np.datetime64(each["first"]), np.datetime64(each["last"])) for each in defects if each["kind"] in MARKED]
    return sorted({(first, last) for first, last in spans if first >= time[0] and last <= time[-1]})


def _from_first(values: list[float | None]) -> list[float]:
    numbers = np.array(values, float)
    known = numbers[np.isfinite(numbers)]
    scaled: list[float] = (100 * numbers / (known[0] if len(known) and known[0] else np.nan)).tolist()
    return scaled


def autocorrelation(series: Values) -> Iterator[Figure]:
    """Autocorrelation of the prices and of their moves."""
    lags = series["lags"]
    bound = 1.96 / np.sqrt(series["rows"])
    note = "Between the dashed lines a correlation may be chance (95 %)."
    parts = {
        "levels": (
            "Autocorrelation of prices",
            f"Correlation of each price with its own, so many times before. {note}",
        ),
        "returns": (
            f"Autocorrelation of {series['moves']}s",
            f"The same of the {series['moves']}s. {note}",
        ),
    }
    for part, (title, caption) in parts.items():
        columns = {name: series["autocorrelation"][part][name] for name in series["names"][:LINES]}

        def draw(figure: Any, columns: Mapping[str, Any] = columns, part: str = part) -> None:
            axes = figure.subplots()
            for level in (-bound, bound):
                axes.axhline(level, color=SOFT, linestyle="--", linewidth=0.9)
            lines(axes, lags, columns, series["target"])
            axes.set(xlabel=f"lag ({series['every']}s)", ylabel="autocorrelation")
            axes.set_ylim(top=1.02 if part == "levels" else None)

        rows = [[str(lag), *(_three(columns[name][at]) for name in columns)] for at, lag in enumerate(lags)]
        svg = picture(f"autocorrelation-{part}", f"{title}. {caption}", draw, 3.0)
        yield Figure(f"autocorrelation-{part}", title, caption, svg, Grid(["lag", *columns], rows))


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def by_lag(series: Values, number: Number) -> Iterator[Figure]:
    """What moves before the target, and every pair of series, by lag."""
    names, every, whole = series["names"], series["every"], series["correlation"]
    target = series["target"]
    row = names.index(target)
    ahead = [str(lag) for lag in range(len(whole))]
    shown = names[:CELLS]
    values = [[whole[lag][row][names.index(name)] for lag in range(len(whole))] for name in shown]

    def leading(figure: Any) -> None:
        axes = figure.subplots()
        heat(axes, shown, ahead, values)
        axes.set_xlabel(f"{every}s before")

    title = f"What moves before {short(target)}"
    caption = f"Correlation of its {series['moves']} with each {series['each']}'s own, so many {every}s before."
    rows = []
    for name in shown:
        at = names.index(name)
        cells = [number(*SERIES_AT, "correlation", lag, row, at, form=".3f") for lag in range(len(whole))]
        rows.append([name, *cells])
    height = 0.9 + 0.27 * len(shown)
    svg = picture("leading", caption, leading, height)
    yield Figure("leading", title, caption, svg, Grid([series["each"], *ahead], rows))
    for lag in range(min(3, len(whole))):
        table = [[whole[lag][y][x] for x in range(len(shown))] for y in range(len(shown))]
        when = f"{lag} {every}{'s' if lag > 1 else ''} before" if lag else f"the same {every}"
        caption = f"Rows: the {series['moves']} of a {every}. Columns: of {when}."

        def pairs(figure: Any, table: Any = table, when: str = when) -> None:
            axes = figure.subplots()
            heat(axes, shown, shown, table)
            axes.tick_params(axis="x", rotation=40)
            axes.set_xlabel(when)

        rows = [[name, *(number(*SERIES_AT, "correlation", lag, y, x, form=".3f") for x in range(len(shown)))]
                for y, name in enumerate(shown)]  # fmt: skip
        svg = picture(f"pairs-{lag}", caption, pairs, height + 0.35)
        yield Figure(f"pairs-{lag}", f"Every pair, {when}", caption, svg, Grid([series["each"], *shown], rows))
    yield _scatter(series)


def _scatter(series: Values) -> Figure:
    """All cells in one pair of axes, each drawn into a square of side 1: matplotlib needs a second for 64 axes."""
    names = series["names"][:CLOUDS]
    values = {name: np.array(series["scatter"][name], float) for name in names}

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for y, below in enumerate(names):
            for x, across in enumerate(names):
                if x == y:
                    curve = series["density"][below]
                    at, height = x + _within(curve["at"]), len(names) - y - 0.95 + 0.9 * _of_highest(curve["density"])
                    axes.fill_between(at, len(names) - y - 0.95, height, color=SERIES[0], alpha=0.35, linewidth=0)
                    axes.plot(at, height, color=SERIES[0], linewidth=1)
                elif x < y:
                    dots(axes, x + _within(values[across]), len(names) - 1 - y + _within(values[below]), SERIES[0], 1.4)
                elif (value := series["correlation"][0][y][x]) is not None:
                    axes.text(x + 0.5, len(names) - y - 0.5, f"{value:.2f}", ha="center", va="center", fontsize=10)
        axes.set(xlim=(0, len(names)), ylim=(0, len(names)))
        middle = np.arange(len(names)) + 0.5
        axes.set_xticks(middle, [short(name, 10) for name in names])
        axes.set_yticks(middle, [short(name, 10) for name in reversed(names)], rotation=90, va="center")
        bare(axes)
        axes.hlines(range(len(names) + 1), 0, len(names), color=LINE, linewidth=0.8)
        axes.vlines(range(len(names) + 1), 0, len(names), color=LINE, linewidth=0.8)

    caption = (
        f"Each point is a {series['every']}, {len(values[names[0]])} of them at equal distances; both axes are "
        f"{series['moves']}s, from the least to the greatest. The diagonal shows how often each size occurs, the upper "
        "half the correlation."
    )
    svg = picture("scatter", caption, draw, 0.9 * max(3, len(names)), WIDE)
    return Figure("scatter", f"Every {series['each']} against every other", caption, svg, None, wide=True)


def _within(values: Any) -> Any:
    """Moved and scaled to between 0.05 and 0.95."""
    array = np.array(values, float)
    low, high = (array.min(), array.max()) if len(array) else (0.0, 0.0)
    return 0.05 + 0.9 * (array - low) / (high - low) if high > low else np.full(len(array), 0.5)


def _of_highest(values: Any) -> Any:
    array = np.array(values, float)
    return array / array.max() if len(array) else array


def missing(series: Values, number: Number) -> Figure:
    """Missing values by series and period."""
    gaps, names = series["missing"], series["names"][:LINES]
    spans = gaps["periods"] if len(gaps["periods"]) <= SPANS else []
    totals = [gaps["total"][name] for name in names]
    counts = [[gaps["counts"][name][at] or None for at in range(len(spans))] for name in names]
    most = max((each or 0 for row in counts for each in row), default=0)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        if not any(totals):
            text = f"a value on each {series['every']} of the table"  # which may itself lack days: see data quality
            axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=11, color=SOFT)
            axes.set(xticks=[], yticks=[])
            bare(axes)
        elif spans:
            heat(axes, names, spans, counts, full=most, form="{:,}".format)
            axes.set_xlabel(f"{series['every']}s without a value")
        else:
            axes.barh(range(len(names)), totals, color=SERIES[0])
            axes.set_yticks(range(len(names)), [short(name, 12) for name in names])
            axes.set(xlabel=f"{series['every']}s without a value", ylim=(len(names) - 0.4, -0.6))

    here = (*SERIES_AT, "missing")
    rows: list[list[Any]] = []
    for name in names:
        cells = [number(*here, "counts", name, at, form=",d") for at in range(len(spans))]
        ends = [number(*here, part, name, form=",d") for part in ("total", "longest")]
        rows.append([name, *cells, *ends, number(*SERIES_AT, "unchanged", name, form=",d")])
    caption = (
        f"A {series['each']} that is closed while {short(series['target'])} trades has no value, and the one before is "
        "filled in. The table also counts unchanged values: where none is missing, they may have been filled in before."
    )
    grid = Grid([series["each"], *spans, "in all", "longest gap", "unchanged"], rows)
    height = 0.75 + 0.24 * len(names) if any(totals) else 0.8
    return Figure("missing", "Missing values", caption, picture("missing", caption, draw, height), grid)
