"""The servable, loaded from disk, scored on the test rows beside naive baselines.

tapeline step evaluate --in table=... --in fitted=... --in servable=... --out scores=scores.json
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tapeline import files
from tapeline import tensorflow as tf
from tapeline.config.schema import Config
from tapeline.evaluation import comparison
from tapeline.evaluation.importance import Part, importance
from tapeline.intervals import by_time
from tapeline.lookup import dataset as kind
from tapeline.lookup import family, module
from tapeline.lookup import task as task_named
from tapeline.models import fitted as fits
from tapeline.serving import saved_model as servables
from tapeline.tables import splits
from tapeline.tables.table import Table, read
from tapeline.tasks import Scores, Task, best, metric
from tapeline.versions import versions

Array = np.ndarray[Any, Any]
SAME = 1e-6
"""How far the servable's numbers may be from the fitted model's."""


def run(config: Config, *, table: Path, fitted: Path, servable: Path, scores: Path) -> None:
    """Pool the test rows of all windows, score them, and write scores.json."""
    data, fit = read(table), fits.read(fitted)
    task, horizon = task_named(fit.task), kind(config.dataset).SPEC.horizon
    tf.load(fit.threads)
    windows = splits.windows(config.split, data.time)
    models = [_model(fit, fitted, number) for number in range(len(windows))]
    outputs = [predict(data.features[window.test]) for predict, window in zip(models, windows, strict=True)]
    served = servables.load(servable)(data.features[windows[-1].test])
    served.pop("model_version")
    _same(outputs[-1], served)
    outputs[-1] = served
    pooled = {name: np.concatenate([each[name] for each in outputs]) for name in served}
    test = np.concatenate([window.test for window in windows])
    baselines = _baselines(config, task, data, windows)
    validation = _validation(fit, fitted, data, windows)
    trace = fit.traces[-1]
    parts = [
        Part(predict, data.features[window.test], _others(data, window.test))
        for predict, window in zip(models, windows, strict=True)
    ]
    files.write_json(
        scores,
        {
            "schema": 1,
            "task": fit.task,
            "horizon": horizon.total_seconds() if horizon else 0,
            "rows": {
                "train": len(windows[-1].train) - fit.validation,
                "validation": fit.validation,
                "test": len(test),
            },
            "train": {task.TRACE: trace[-1].score, "trace": [asdict(point) for point in trace]},
            **({"validation": validation} if validation else {}),
            "test": _tested(task, data, test, pooled, horizon),
            "baselines": {name: each for name, (each, _) in baselines.items()},
            "predictions": _listed(data, test, pooled),
            **_references(task, baselines),
            "windows": [_told(fit, at, data, each, outputs[at]) for at, each in enumerate(windows)],
            "importance": importance(task, metric(task, task.PRIMARY), data.names, parts),
            "trained": {"hw": fit.hw, "device": fit.device, "threads": fit.threads, "tensorflow": fit.tensorflow},
            "versions": versions(),
        },
    )


def _others(data: Table, rows: Array) -> dict[str, Array]:
    """What scores of these rows read beside outputs: the target, context columns, and the weight where there is one."""
    weight = {} if data.weight is None else {"weight": data.weight[rows]}
    return {"target": data.target[rows], **{name: each[rows] for name, each in data.context.items()}, **weight}


def _score(task: Task, data: Table, rows: Array, outputs: Mapping[str, Array]) -> Scores:
    return task.score({**_others(data, rows), **outputs}, None if data.weight is None else data.weight[rows])


def _tested(task: Task, data: Table, rows: Array, outputs: Mapping[str, Array], horizon: timedelta | None) -> Scores:
    """Scores of the test rows; intervals of all metrics, where the scores have none of their own."""
    scores = _score(task, data, rows, outputs)
    if "interval" in scores:
        return scores
    weight = None if data.weight is None else data.weight[rows]
    units = by_time(data.time[rows], horizon)
    answers = comparison.Answers(task, {**_others(data, rows), **outputs}, weight, units)
    return {**scores, "intervals": comparison.of_scores(answers)}


def _model(fit: fits.Fitted, folder: Path, number: int) -> Callable[[Array], Mapping[str, Array]]:
    """A window's model as a function of features."""
    module = family(fit.family)
    model = module.load(fits.window(folder, number), task_named(fit.task))
    return lambda features: module.predict(model, features)


def _told(
    fit: fits.Fitted, number: int, data: Table, window: splits.Window, outputs: Mapping[str, Array]
) -> dict[str, Any]:
    """What the report tells of a window."""
    sides = {
        side: {"rows": len(rows), "first": str(data.time[rows[0]]), "last": str(data.time[rows[-1]])}
        for side, rows in (("train", window.train), ("test", window.test))
    }
    score = _score(task_named(fit.task), data, window.test, outputs)
    return {**sides, "score": score, "trace": [asdict(point) for point in fit.traces[number]]}


def _references(task: Task, baselines: Mapping[str, tuple[Scores, Array]]) -> dict[str, Any]:
    """Row by row the baselines that are best in some metric; `reference` names the best in the task's first."""
    scores = {name: each for name, (each, _) in baselines.items()}
    leaders = {each.name: found[0] for each in task.METRICS if (found := best(each, scores))}
    predictions = {name: _plain(baselines[name][1]) for name in sorted(set(leaders.values()))}
    return {"reference": leaders.get(task.PRIMARY), "references": predictions}


def _validation(fit: fits.Fitted, folder: Path, data: Table, windows: Sequence[splits.Window]) -> Scores | None:
    """Scores of the rows that families keep from training to tell when to stop; None where they keep none."""
    section = module("models", fit.family, "model.family").Section.model_validate(fit.section)
    held = [window.train[len(window.train) - section.validation_rows(len(window.train)) :] for window in windows]
    if not all(map(len, held)):
        return None
    outputs = [_model(fit, folder, number)(data.features[rows]) for number, rows in enumerate(held)]
    pooled = {name: np.concatenate([each[name] for each in outputs]) for name in outputs[0]}
    return _score(task_named(fit.task), data, np.concatenate(held), pooled)


def _same(fitted: Mapping[str, Array], served: Mapping[str, Array]) -> None:
    """A servable that answers otherwise than the model it was made of is our bug."""
    for name, values in fitted.items():
        if not np.allclose(values, served[name], rtol=0, atol=SAME):
            raise AssertionError(f"the servable's {name} differs from the fitted model's")


def _baselines(
    config: Config, task: Task, data: Table, windows: Sequence[splits.Window]
) -> dict[str, tuple[Scores, Array]]:
    """Scores of what needs no training, on the same pooled rows, and its answers."""
    naive = kind(config.dataset).baselines(data)
    guesses = {name: np.concatenate([each[window.test] for window in windows]) for name, each in naive.items()}
    test = np.concatenate([window.test for window in windows])
    return {
        name: (_score(task, data, test, {"prediction": guess}), guess)
        for name, guess in {**_of_train_rows(task, data, windows), **guesses}.items()
    }


def _of_train_rows(task: Task, data: Table, windows: Sequence[splits.Window]) -> dict[str, Array]:
    """The task's own baselines, of those that every window has."""
    of_windows = []
    for window in windows:
        weight = None if data.weight is None else data.weight[window.train]
        of_windows.append(task.baselines(data.target[window.train], weight, len(window.test)))
    names = [name for name in of_windows[0] if all(name in each for each in of_windows)]
    return {name: np.concatenate([each[name] for each in of_windows]) for name in names}


def _listed(data: Table, test: Array, pooled: Mapping[str, Array]) -> dict[str, Any]:
    """Row by row, for intervals and the report's curves."""
    listed = {name: _plain(values) for name, values in {**_others(data, test), **pooled}.items()}
    return {"time": [str(moment) for moment in data.time[test]], **listed}


def _plain(values: Array) -> list[Any]:
    """As JSON values: null for what is missing."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return np.where(np.isfinite(values), values, None).tolist()  # type: ignore[call-overload, no-any-return]
    return list(values.tolist())
