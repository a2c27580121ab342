"""The data part: the series and the table, from profile.json, as pictures and tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from tapeline.report.charts import BAD, INK, SERIES, SOFT, named_rows, picture
from tapeline.report.page import Figure, Grid, Number
from tapeline.report.sections.series import SERIES_AT, autocorrelation, by_lag, missing, prices

Values = Mapping[str, Any]
STATISTICS = ("mean", "sd", "min", "q1", "median", "q3", "max")
COLUMNS = 40
"""That a picture of the columns has room for, those known last."""


def figures(profile: Values, number: Number) -> list[Figure]:
    """Pictures of the data, in the order of reading."""
    series = profile["statistics"].get("series")
    of_series = (
        [
            *prices(series, profile["quality"], number),
            *autocorrelation(series),
            *(by_lag(series, number) if len(series["names"]) > 1 else ()),
            missing(series, number),
        ]
        if series
        else []
    )
    return [*of_series, *_known(profile, number), *_target(profile["statistics"]["table"], number)]


def summaries(profile: Values, number: Number) -> list[tuple[str, Grid]]:
    """Titles and tables of summary statistics."""
    series, table = profile["statistics"].get("series", {}), ("profile", "statistics", "table")
    parts = [
        (f"Prices, in {series.get('unit')}", series.get("levels", {}), (*SERIES_AT, "levels")),
        (f"{series.get('moves', '').capitalize()}s", series.get("returns", {}), (*SERIES_AT, "returns")),
        ("Targets", profile["statistics"]["table"].get("outputs", {}), (*table, "outputs")),
        ("Columns that the model sees", profile["statistics"]["table"]["features"], (*table, "features")),
    ]
    return [(title, _statistics(each, where, number)) for title, each, where in parts if each]


def _statistics(columns: Values, where: tuple[str, ...], number: Number) -> Grid:
    decimals = {name: _decimals(series) for name, series in columns.items()}
    if max(decimals.values()) - min(decimals.values()) < 3:
        decimals = dict.fromkeys(decimals, max(decimals.values()))
    rows = []
    for name, places in decimals.items():
        cells = [number(*where, name, each, form=f",.{places}f") for each in STATISTICS]
        rows.append([name, number(*where, name, "count", form=",d"), *cells])
    return Grid(["", "count", *STATISTICS], rows)


def _decimals(series: Values) -> int:
    """Enough to distinguish values that differ by a thousandth of the standard deviation."""
    spread = series["sd"] or abs(series["mean"] or 0) or 1
    return min(12, max(0, 3 - math.floor(math.log10(spread))))


def quality(profile: Values) -> dict[str, Any]:
    """What the data quality box says: lines, and how many series were examined."""
    return {"lines": [each["text"] for each in profile["quality"]], "examined": profile.get("examined", 0)}


def _known(profile: Values, number: Number) -> Iterator[Figure]:
    known = profile["notes"].get("known")
    if not known:
        return
    last = dict(sorted(known.items(), key=lambda item: (item[1]["hours"] is not None, item[1]["hours"]))[:COLUMNS])
    hours = [float("nan") if each["hours"] is None else each["hours"] for each in last.values()]

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=INK, linewidth=1)
        colours = [BAD if each < 0 else SERIES[0] for each in hours]
        axes.hlines(range(len(last)), 0, hours, color=colours, linewidth=1.2)
        axes.scatter(hours, range(len(last)), c=colours, s=14, zorder=3)
        named_rows(axes, list(last), "hours before the decision")
        axes.invert_xaxis()

    rows = [
        [
            name,
            each["when"],
            number("profile", "notes", "known", name, "hours", form=".1f"),
            "unknown" if each["hours"] is None else "late" if each["hours"] < 0 else "known",
        ]
        for name, each in last.items()
    ]
    caption = (
        "Hours from when a column is known to the decision, on the worst day. Right of the line is too late; a column "
        "without a point has unknown hours."
    )
    svg = picture("known", caption, draw, 0.8 + 0.155 * len(last))
    head = ["column", "when", "hours before", "at the decision"]
    yield Figure(
        "known", "What is known in time", caption, svg, Grid(head, rows, text_columns=("when", "at the decision"))
    )


def _target(series: Values, number: Number) -> Iterator[Figure]:
    down = series.get("down")
    if not down:
        return

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.bar(range(len(down["periods"])), down["share"], color=SERIES[0], width=0.7)
        axes.axhline(0.5, color=SOFT, linestyle="--", linewidth=0.9)
        every = -(-len(down["periods"]) // 7)
        axes.set_xticks(range(0, len(down["periods"]), every), down["periods"][::every])
        axes.set(ylabel="share of rows that fall", ylim=(0, 1))
        axes.grid(visible=False, axis="x")

    here = ("profile", "statistics", "table", "down")
    rows = [
        [span, number(*here, "rows", at, form=",d"), number(*here, "share", at, form=".3f")]
        for at, span in enumerate(down["periods"])
    ]
    caption = "Share of the rows whose target is down. The dashed line is one half."
    grid = Grid(["time", "rows", "share down"], rows)
    yield Figure("target", "How often it falls", caption, picture("target", caption, draw), grid)


def late(profile: Values) -> list[Markup]:
    """A line for each column that is not known in time."""
    return [Markup("{}: {}").format(name, why) for name, why in profile["notes"].get("late", {}).items()]
