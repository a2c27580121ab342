"""The servable, loaded from disk, scored on the test rows beside naive baselines.

tapeline step evaluate --in table=... --in fitted=... --in servable=... --out scores=scores.json
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tapeline import files
from tapeline import tensorflow as tf
from tapeline.config.schema import Dataset, Split
from tapeline.evaluation import metrics
from tapeline.evaluation.importance import importance
from tapeline.lookup import dataset as kind
from tapeline.lookup import family, module
from tapeline.models import SCORE
from tapeline.models import fitted as fits
from tapeline.serving import saved_model as servables
from tapeline.tables import splits
from tapeline.tables.table import Table, read
from tapeline.versions import versions

Array = np.ndarray[Any, Any]
SAME = 1e-6
"""How far the servable's numbers may be from the fitted model's."""


@dataclass(frozen=True)
class Reads:
    """What the step reads of the configuration."""

    dataset: Dataset
    split: Split


def run(config: Reads, *, table: Path, fitted: Path, servable: Path, scores: Path) -> None:
    """Pool the test rows of all windows, score them, and write scores.json."""
    data, fit = read(table), fits.read(fitted)
    tf.load(fit.threads)
    windows = splits.windows(config.split, data.time)
    parts = [(_model(fit, fitted, at), data.features[w.test], data.target[w.test]) for at, w in enumerate(windows)]
    outputs = [predict(features) for predict, features, _ in parts]
    served = servables.load(servable)(data.features[windows[-1].test])
    served.pop("model_version")
    _same(outputs[-1], served)
    outputs[-1] = served
    pooled = {name: np.concatenate([each[name] for each in outputs]) for name in served}
    test = np.concatenate([window.test for window in windows])
    baselines = _baselines(config, fit.task, data, windows)
    validation = _validation(fit, fitted, data, windows)
    trace = fit.traces[-1]
    files.write_json(
        scores,
        {
            "schema": 1,
            "task": fit.task,
            "rows": {
                "train": len(windows[-1].train) - fit.validation,
                "validation": fit.validation,
                "test": len(test),
            },
            "train": {SCORE[fit.task]: trace[-1].score, "trace": [asdict(point) for point in trace]},
            **({"validation": validation} if validation else {}),
            "test": metrics.score(fit.task, data.target[test], pooled),
            "baselines": {name: each for name, (each, _) in baselines.items()},
            "predictions": _listed(data, test, pooled),
            "reference": _reference(fit.task, baselines),
            "windows": [_told(fit, at, data, each, outputs[at]) for at, each in enumerate(windows)],
            "importance": importance(fit.task, metrics.METRICS[fit.task][0], data.names, parts),
            "trained": {"hw": fit.hw, "device": fit.device, "threads": fit.threads, "tensorflow": fit.tensorflow},
            "versions": versions(),
        },
    )


def _model(fit: fits.Fitted, folder: Path, number: int) -> Callable[[Array], Mapping[str, Array]]:
    """A window's model as a function of features."""
    module = family(fit.family)
    model = module.load(fits.window(folder, number))
    return lambda features: module.predict(model, features)


def _told(
    fit: fits.Fitted, number: int, data: Table, window: splits.Window, outputs: Mapping[str, Array]
) -> dict[str, Any]:
    """What the report tells of a window."""
    sides = {
        side: {"rows": len(rows), "first": str(data.time[rows[0]]), "last": str(data.time[rows[-1]])}
        for side, rows in (("train", window.train), ("test", window.test))
    }
    score = metrics.score(fit.task, data.target[window.test], outputs)
    return {**sides, "score": score, "trace": [asdict(point) for point in fit.traces[number]]}


def _reference(task: str, baselines: Mapping[str, tuple[metrics.Scores, Array]]) -> dict[str, Any]:
    """The best baseline row by row, to stand beside the model over time."""
    name, _ = metrics.best(metrics.METRICS[task][0], {name: each for name, (each, _) in baselines.items()})
    return {"name": name, "prediction": baselines[name][1].tolist()}


def _validation(fit: fits.Fitted, folder: Path, data: Table, windows: Sequence[splits.Window]) -> metrics.Scores | None:
    """Scores of the rows that families keep from training to tell when to stop; None where they keep none."""
    section = module("models", fit.family, "model.family").Section.model_validate(fit.section)
    held = [window.train[len(window.train) - section.validation_rows(len(window.train)) :] for window in windows]
    if not all(map(len, held)):
        return None
    outputs = [_model(fit, folder, number)(data.features[rows]) for number, rows in enumerate(held)]
    pooled = {name: np.concatenate([each[name] for each in outputs]) for name in outputs[0]}
    return metrics.score(fit.task, data.target[np.concatenate(held)], pooled)


def _same(fitted: Mapping[str, Array], served: Mapping[str, Array]) -> None:
    """A servable that answers otherwise than the model it was made of is our bug."""
    for name, values in fitted.items():
        if not np.allclose(values, served[name], rtol=0, atol=SAME):
            raise AssertionError(f"the servable's {name} differs from the fitted model's")


def _baselines(
    config: Reads, task: str, data: Table, windows: Sequence[splits.Window]
) -> dict[str, tuple[metrics.Scores, Array]]:
    """Scores of what needs no training, on the same pooled rows, and its answers."""
    naive = kind(config.dataset).baselines(data)
    guesses = {name: np.concatenate([each[window.test] for window in windows]) for name, each in naive.items()}
    most = [metrics.majority(task, data.target[window.train], len(window.test)) for window in windows]
    guesses = {"majority": np.concatenate(most), **guesses}
    target = np.concatenate([data.target[window.test] for window in windows])
    return {name: (metrics.score(task, target, {"prediction": guess}), guess) for name, guess in guesses.items()}


def _listed(data: Table, test: Array, pooled: Mapping[str, Array]) -> dict[str, Any]:
    """Row by row, for the report's curves."""
    listed = {name: values.tolist() for name, values in pooled.items()}
    return {"time": [str(moment) for moment in data.time[test]], "target": data.target[test].tolist(), **listed}
