"""The report: one HTML file from metrics.json, scores.json and the table's word about itself."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tapeline.evaluation.metrics import best

INK = "#010203"
"""Stands for the page's own text colour, so that one picture serves light and dark."""


def page(metrics: Mapping[str, Any], scores: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    """The whole page, as text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    metric = metrics["config"]["gate"]["metric"]
    return environment.get_template("report.html").render(
        metrics=metrics,
        scores=scores,
        late=table.get("late", {}),
        metric=metric,
        best=best("accuracy", metrics["baselines"]),
        curve=_curve(scores["train"]["trace"], scores["test"]["accuracy"]),
        configuration=yaml.safe_dump(metrics["config"], sort_keys=False, allow_unicode=True),
    )


def _curve(trace: list[dict[str, float]], test: float) -> str:
    """Accuracy on the training rows by step, and on the test rows at the end, as inline SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style = {"svg.fonttype": "none", "svg.hashsalt": "tapeline", "text.color": INK, "axes.labelcolor": INK}
    style |= {"xtick.color": INK, "ytick.color": INK, "axes.edgecolor": INK, "font.family": "sans-serif"}
    with mpl.rc_context(style):
        figure = Figure(figsize=(7, 3), layout="constrained")
        axes = figure.subplots()
        steps = [point["step"] for point in trace]
        axes.plot(steps, [point["score"] for point in trace], marker="o", color="#2a78d6", label="training rows")
        axes.plot(steps[-1:], [test], marker="s", linestyle="", color="#eb6834", label="test rows")
        axes.set(xlabel="training steps", ylabel="accuracy (share of days)")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2, color=INK)
        axes.legend(frameon=False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'width="100%"', svg[svg.index("<svg") :], count=1).replace(
        INK, "currentColor"
    )
