"""Pages about a run, made of its files alone: report.html, and the data part before any training.

From files of a run, wherever it took place: see `tapeline step report --help`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tapeline.models.fitted import Fitted
from tapeline.report import opening
from tapeline.report.page import SLOTS, environment, numbers
from tapeline.report.sections import Inputs, data, model, tuning
from tapeline.tables.examples import Examples
from tapeline.tables.predictions import Predictions
from tapeline.tasks import interval_key

Values = Mapping[str, Any]


def page(
    metrics: Values,
    scores: Values,
    profile: Values,
    fitted: Fitted,
    predictions: Predictions,
    study: Values | None = None,
    examples: Examples | None = None,
) -> str:
    """The report of a run, as text.

    Args:
        metrics: metrics.json.
        scores: scores.json.
        profile: profile.json.
        fitted: fitted.json.
        predictions: of the test rows.
        study: study.json, where there was a search.
        examples: some of them with their features, where the task chose some.
    """
    import matplotlib as mpl
    import yaml

    number = numbers({"metrics": metrics, "scores": scores, "profile": profile, "study": study})
    inputs = Inputs(metrics, scores, fitted, predictions, number, profile, examples)
    return _rendered(
        "report.html",
        profile,
        number,
        **_opening(inputs, profile),
        slot=SLOTS,
        metrics=metrics,
        scores=scores,
        metric=inputs.metric,
        note=inputs.task.NOTE,
        rival=model.rival(inputs),
        between=interval_key(metrics["test"]["overall"], inputs.metric),
        beside=model.beside(inputs),
        model=model.figures(inputs),
        other_metrics=model.others(inputs),
        intervals=model.intervals(inputs),
        search=None if study is None else _search(study, number),
        configuration=[
            yaml.safe_dump({key: each}, sort_keys=False, allow_unicode=True) for key, each in metrics["config"].items()
        ],
        versions={**scores["versions"], "matplotlib": mpl.__version__},
    )


def _opening(inputs: Inputs, profile: Values) -> Values:
    """What the first screen says."""
    every = profile["statistics"].get("series", {}).get("every")
    alone = len(np.unique(inputs.predictions.axis)) == len(inputs.predictions)
    rivals = opening.rivals(inputs)
    return {
        "question": opening.question(inputs, profile),
        "tested": opening.tested(inputs, profile),
        "rivals": rivals,
        "caveats": list(opening.caveats(inputs, profile, rivals)),
        "sentence": model.sentence(inputs, f"{every}s" if every and alone else "rows"),
    }


def _search(study: Values, number: Any) -> Values:
    return {
        "sentence": tuning.sentence(study),
        "figures": tuning.figures(study, number),
        "trials": tuning.trials(study, number),
        "best": tuning.best(study, number),
    }


def data_page(profile: Values) -> str:
    """The data part alone, as text, of a profile.json."""
    return _rendered("explore.html", profile, numbers({"profile": profile}))


def _rendered(template: str, profile: Values, number: Any, **more: Any) -> str:
    shown = {
        "data": data.figures(profile, number),
        "summaries": data.summaries(profile, number),
        "late": data.late(profile),
        "quality": data.quality(profile),
    }
    return environment().get_template(template).render(n=number, profile=profile, **shown, **more)
