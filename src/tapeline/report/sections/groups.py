"""The score of each group of test rows that scores.json lists: of each partition, and of each month."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tapeline.report.charts import BAD, SERIES, SOFT, named_rows, picture
from tapeline.report.page import Figure, Grid
from tapeline.report.sections import Inputs
from tapeline.tasks import interval, interval_key, value


def figures(inputs: Inputs) -> Iterator[Figure]:
    """A picture for each kind of group; none where no group is listed."""
    for kind, groups in inputs.metrics["test"]["by"].items():
        if groups:
            yield _figure(inputs, kind, groups)


def _figure(inputs: Inputs, kind: str, groups: Mapping[str, Any]) -> Figure:
    metric, number = inputs.primary, inputs.number
    known = [(name, found) for name, each in groups.items() if (found := value(each, metric.name)) is not None]
    whole = value(inputs.metrics["test"]["overall"], metric.name)

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for at, (name, found) in enumerate(known):
            if ends := interval(groups[name], metric):
                axes.hlines(at, ends["low"], ends["high"], color=SOFT, linewidth=2)
            axes.plot(found, at, "o", color=SERIES[0], markersize=5)
        axes.axvline(0, color=SOFT, linewidth=0.8)
        if whole is not None:
            axes.axvline(whole, color=BAD, linestyle="--", linewidth=1)
        named_rows(axes, [name for name, _ in known], metric.label, 18)

    rows = []
    for name, each in groups.items():
        here = ("metrics", "test", "by", kind, name)
        keys = interval_key(each, metric)
        shown = number(*here, metric.name, form=metric.form) if value(each, metric.name) is not None else ""
        ends = [number(*here, *keys, end, form=metric.form) if keys else "" for end in ("low", "high")]
        rows.append([name, number(*here, "rows", form=",d"), shown, *ends])
    caption = f"The {metric.name} of the test rows of each {kind}, with its interval. Dashed: of all test rows."
    svg = picture(f"by-{kind}", caption, draw, 0.9 + 0.19 * len(known))
    title = f"{metric.name[0].upper()}{metric.name[1:]} by {kind}".replace("_", " ")
    return Figure(f"by-{kind}", title, caption, svg, Grid([kind, "test rows", metric.name, "from", "to"], rows))
