"""Pages about a run, made of its files alone: report.html, and the data part before any training.

From three files of a run, wherever it took place:

    tapeline step report --in table=table.parquet --in scores=scores.json --in metrics=metrics.json --out report=r.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tapeline.report.page import environment, numbers
from tapeline.report.sections import Inputs, data, model
from tapeline.tasks import interval_key

Told = Mapping[str, Any]


def page(metrics: Told, scores: Told, about: Told) -> str:
    """The report of a run, as text.

    Args:
        metrics: metrics.json.
        scores: scores.json.
        about: what the table's file says of itself.
    """
    import matplotlib as mpl
    import yaml

    number = numbers({"metrics": metrics, "scores": scores, "table": about})
    inputs = Inputs(metrics, scores, number)
    every = about["overview"].get("series", {}).get("every")
    unit = f"{every}s" if every and len(set(scores["predictions"]["time"])) == metrics["test"]["rows"] else "rows"
    return _rendered(
        "report.html",
        about,
        number,
        metrics=metrics,
        scores=scores,
        metric=inputs.metric,
        note=inputs.task.NOTE,
        rival=model.rival(inputs),
        between=interval_key(metrics["test"], inputs.metric),
        sentence=model.sentence(inputs, unit),
        beside=model.beside(inputs),
        model=model.plates(inputs),
        others=model.others(inputs),
        intervals=model.intervals(inputs),
        configuration=[
            yaml.safe_dump({key: each}, sort_keys=False, allow_unicode=True) for key, each in metrics["config"].items()
        ],
        versions={**scores["versions"], "matplotlib": mpl.__version__},
    )


def data_page(about: Told, *, source: str, simulated: bool, as_of: str | None) -> str:
    """The data part alone, as text."""
    number = numbers({"table": about})
    return _rendered("explore.html", about, number, source=source, simulated=simulated, as_of=as_of)


def _rendered(template: str, about: Told, number: Any, **more: Any) -> str:
    shown = {"data": data.plates(about, number), "summaries": data.summaries(about, number), "late": data.late(about)}
    return environment().get_template(template).render(n=number, about=about, **shown, **more)
