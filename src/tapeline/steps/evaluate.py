"""The servable, loaded from disk, scored on the test rows beside naive baselines.

tapeline step evaluate --in table=... --in fitted=... --in servable=... --out scores=scores.json
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tapeline import files, tf
from tapeline.config import Config, module
from tapeline.datasets import kind, splits
from tapeline.datasets.table import Table, read
from tapeline.evaluation import metrics
from tapeline.models import fitted as fits
from tapeline.serving import servable as servables

Array = np.ndarray[Any, Any]
SAME = 1e-6
"""How far the servable's numbers may be from the fitted model's."""


def run(config: Config, *, table: Path, fitted: Path, servable: Path, scores: Path) -> None:
    """Pool the test rows of all windows, score them, and write scores.json."""
    data, fit = read(table), fits.read(fitted)
    tf.load(fit.threads)
    windows = splits.windows(config.split, data.time)
    outputs = [_predict(fit, fitted, number, data.features[window.test]) for number, window in enumerate(windows)]
    served = servables.load(servable)(data.features[windows[-1].test])
    served.pop("model_version")
    _same(outputs[-1], served)
    outputs[-1] = served
    pooled = {name: np.concatenate([each[name] for each in outputs]) for name in served}
    test = np.concatenate([window.test for window in windows])
    target = data.target[test]
    validation = _validation(fit, fitted, data, windows)
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
            "train": {"accuracy": fit.traces[-1][-1].score, "trace": [asdict(point) for point in fit.traces[-1]]},
            **({"validation": validation} if validation else {}),
            "test": metrics.score(fit.task, target, pooled),
            "baselines": _baselines(config, fit.task, data, windows),
            "predictions": _listed(data, test, pooled),
        },
    )


def _predict(fit: fits.Fitted, folder: Path, number: int, features: Array) -> Mapping[str, Array]:
    return fit.module.predict(fit.module.load(fits.window(folder, number)), features)


def _validation(fit: fits.Fitted, folder: Path, data: Table, windows: Sequence[splits.Window]) -> metrics.Scores | None:
    """Scores of the rows that families keep from training to tell when to stop; None where they keep none."""
    section = module("models", fit.family, "model.family").Section.model_validate(fit.section)
    held = [window.train[len(window.train) - section.validation_rows(len(window.train)) :] for window in windows]
    if not all(map(len, held)):
        return None
    outputs = [_predict(fit, folder, number, data.features[rows]) for number, rows in enumerate(held)]
    pooled = {name: np.concatenate([each[name] for each in outputs]) for name in outputs[0]}
    return metrics.score(fit.task, data.target[np.concatenate(held)], pooled)


def _same(fitted: Mapping[str, Array], served: Mapping[str, Array]) -> None:
    """A servable that answers otherwise than the model it was made of is our bug."""
    for name, values in fitted.items():
        if not np.allclose(values, served[name], rtol=0, atol=SAME):
            raise AssertionError(f"the servable's {name} differs from the fitted model's")


def _baselines(config: Config, task: str, data: Table, windows: Iterable[splits.Window]) -> dict[str, Any]:
    """Scores of what needs no training, on the same pooled rows."""
    windows = list(windows)
    naive = kind(config.dataset).baselines(data)
    guesses = {name: np.concatenate([each[window.test] for window in windows]) for name, each in naive.items()}
    most = [metrics.majority(task, data.target[window.train], len(window.test)) for window in windows]
    guesses = {"majority": np.concatenate(most), **guesses}
    target = np.concatenate([data.target[window.test] for window in windows])
    return {name: metrics.score(task, target, {"prediction": guess}) for name, guess in guesses.items()}


def _listed(data: Table, test: Array, pooled: Mapping[str, Array]) -> dict[str, Any]:
    """Row by row, for the report's curves."""
    listed = {name: values.tolist() for name, values in pooled.items()}
    return {"time": [str(moment) for moment in data.time[test]], "target": data.target[test].tolist(), **listed}
