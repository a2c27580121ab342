r"""The servable, loaded from disk, scored on the test rows beside naive baselines.

tapeline step evaluate --in table=table --in fitted=fitted --in servable=servable --out scores=scores.json \
    --out predictions=predictions.parquet --out examples=examples.parquet
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tapeline import files
from tapeline import tensorflow as tf
from tapeline.evaluation import comparison
from tapeline.evaluation.drift import drift
from tapeline.evaluation.importance import Part, importance
from tapeline.lookup import dataset_named, family
from tapeline.lookup import task as task_named
from tapeline.models import fitted as fits
from tapeline.serving import saved_model as servables
from tapeline.tables import examples as kept
from tapeline.tables import predictions as forecasts
from tapeline.tables.predictions import Predictions
from tapeline.tables.spec import Array, Manifest, Role, Rows
from tapeline.tables.table import Batch, Table, open_table
from tapeline.tables.windows import count, distinct, rows_of
from tapeline.tasks import Scores, Task, metric
from tapeline.versions import versions

SAME = 1e-6
"""How far the servable's numbers may be from the fitted model's, as a share of the largest where that is above 1."""
SAMPLE = 100_000
"""Rows for importance and for the comparison of servable and model, at most, spread evenly over the test rows."""
ARRAYS = 256
"""The same where features are an array a row, and the rows that a model is asked at once."""
ANSWERS = 6
"""Columns for each output: the model's, and those of naive baselines."""
Model = Callable[[Array], Mapping[str, Array]]


@dataclass(frozen=True)
class Reads:
    """What the step reads of the configuration: nothing; fitted.json says what trained and what tests."""


def space(config: Reads, *, table: Path, fitted: Path, servable: Path) -> int:
    """Bytes of disk that `run` needs at most, about: the test rows without features, with outputs and baselines."""
    manifest, fit = open_table(table).manifest, fits.read(fitted)
    columns = sum(each.role != "feature" for each in manifest.columns) + ANSWERS * len(manifest.outputs)
    return 8 * columns * sum(each["test"] for each in fit.rows)


def run(
    config: Reads, *, table: Path, fitted: Path, servable: Path, scores: Path, predictions: Path, examples: Path
) -> None:
    """Pool the test rows of all windows, score them, and write scores.json and predictions.parquet.

    A task may choose some test rows for the report: they are written with their features, as examples.parquet.
    """
    data, fit = open_table(table), fits.read(fitted)
    task, horizon = task_named(fit.task), dataset_named(fit.dataset).SPEC.horizon
    tf.load(fit.threads)
    models = [_model(fit, fitted, number) for number in range(len(fit.windows))]
    served = _served(servable)
    _check_same(models[-1], served, _features(data, fit, len(models) - 1))
    windows = enumerate([*models[:-1], served])
    rows = sum(count(each) for window in fit.windows for each in rows_of(window, data, "test").values())
    pooled = _pooled(data.manifest, rows, (part for at, model in windows for part in _window(data, fit, at, model)))
    forecasts.write(predictions, pooled)
    _write_examples(examples, task, data, pooled)
    answers = comparison.answers(task, pooled, horizon)
    held = _validation(data, fit, models)
    validation = comparison.scores(comparison.answers(task, held, horizon)) if held else None
    trace = fit.traces[-1]
    files.write_json(
        scores,
        {
            "schema": 2,
            "dataset": fit.dataset,
            "task": fit.task,
            "horizon": horizon.total_seconds() if horizon else None,
            "unit": data.manifest.extra.get("unit"),
            "rows": {**fit.rows[-1], "test": len(pooled)},
            "train": {task.TRACE: trace[-1].score, "trace": [point.record() for point in trace]},
            "validation": None if validation is None else {"overall": validation, "by": {}},
            "test": {"overall": comparison.scores(answers), "by": _by(task, pooled, horizon, data.manifest)},
            "baselines": {name: comparison.scores(each) for name, each in comparison.of_baselines(answers).items()},
            "windows": [
                {
                    "score": _score(task, pooled, pooled.rows["window"] == at),
                    "trace": [each.record() for each in of],
                }
                for at, of in enumerate(fit.traces)
            ],
            "importance": _importance(task, data, fit, models),
            "drift": _drift(data, fit),
            "versions": versions(),
        },
    )


def _write_examples(path: Path, task: Task, data: Table, pooled: Predictions) -> None:
    """The rows that the task chooses, where it chooses some."""
    choose = getattr(task, "examples", None)
    chosen = choose(pooled.scored)[: kept.MOST] if choose else np.empty(0, np.int64)
    if not len(chosen):
        return
    ids = [part.id for part in data.manifest.parts]
    names = pooled.rows["partition"][chosen] if "partition" in pooled.rows else np.repeat(ids[0], len(chosen))
    axis = pooled.axis[chosen]
    rows = [int(np.searchsorted(data.times(name), at)) for name, at in zip(names, axis, strict=True)]
    parts = np.array([ids.index(name) for name in names])
    kept.write(path, kept.Examples(chosen, data.take(("feature",), parts, np.array(rows))["feature"]))


def _model(fit: fits.Fitted, folder: Path, number: int) -> Model:
    """A window's model as a function of features."""
    module = family(fit.family)
    model = module.load(fits.window(folder, number), task_named(fit.task))
    return lambda features: module.predict(model, features)


def _served(servable: Path) -> Model:
    """The servable's answers, without what is not a forecast."""
    answer = servables.load(servable)

    def predict(features: Array) -> Mapping[str, Array]:
        return {name: values for name, values in answer(features).items() if name != "model_version"}

    return predict


def _check_same(model: Model, served: Model, features: Array) -> None:
    """A servable that answers otherwise than the model it was made of is our bug."""
    answers = served(features)
    for name, values in model(features).items():
        if not np.allclose(values, answers[name], rtol=0, atol=SAME * max(1.0, float(np.abs(values).max()))):
            raise AssertionError(f"the servable's {name} differs from the fitted model's")


def _thinned(rows: Mapping[str, Rows], table: Table) -> dict[str, Rows]:
    """At most SAMPLE or ARRAYS of these rows, spread evenly."""
    most = SAMPLE if table.manifest.feature_shape is None else ARRAYS
    every = max(1, -(-sum(map(count, rows.values())) // most))
    numbers = {part.id: np.arange(part.rows)[rows[part.id]] for part in table.manifest.parts if part.id in rows}
    return {name: each[::every] for name, each in numbers.items()}


def _size(data: Table) -> int | None:
    """Rows that a model is asked at once: layers of arrays need memory."""
    return None if data.manifest.feature_shape is None else ARRAYS


def _features(data: Table, fit: fits.Fitted, number: int) -> Array:
    """Features of a window's test rows, thinned."""
    return data.read(("feature",), _thinned(rows_of(fit.windows[number], data, "test"), data))["feature"]


def _names(manifest: Manifest) -> list[str]:
    """What is read of a table to score its rows."""
    roles: tuple[Role, ...] = ("feature", "target", "weight", "group")
    axis = [manifest.axis] if manifest.axis else []
    return [*(role for role in roles if manifest.names(role)), *manifest.names("context"), *axis]


def _window(data: Table, fit: fits.Fitted, number: int, model: Model) -> Iterator[Predictions]:
    """A window's test rows, part by part, with the answers of its model and of naive baselines."""
    module, task = dataset_named(fit.dataset), task_named(fit.task)
    names = data.manifest.names("feature")
    train, weight = _train_targets(data, fit, number)
    for batch in data.batches(_names(data.manifest), rows_of(fit.windows[number], data, "test"), _size(data)):
        naive = {**task.baselines(train, weight, len(batch)), **module.baselines(batch, names)}
        yield _predictions(data.manifest, batch, number, model(batch["feature"]), naive)


def _train_targets(data: Table, fit: fits.Fitted, number: int) -> tuple[Array, Array | None]:
    """Targets of all rows that a window's model saw, and their weights where there are some."""
    weights = ["weight"] if data.manifest.names("weight") else []
    sides = [rows_of(fit.windows[number], data, side) for side in ("train", "validation")]
    arrays = [data.read(("target", *weights), rows) for rows in sides]
    target = np.concatenate([each["target"] for each in arrays])
    return target, np.concatenate([each["weight"] for each in arrays]) if weights else None


def _predictions(
    manifest: Manifest, batch: Batch, number: int, outputs: Mapping[str, Array], naive: Mapping[str, Array]
) -> Predictions:
    rows: dict[str, Array] = {"window": np.full(len(batch), number, dtype=np.int64)}
    if manifest.axis:
        rows["time" if manifest.names("time") else "row"] = batch[manifest.axis]
    if dataset_named(manifest.dataset).SPEC.partition:
        rows["partition"] = np.empty(len(batch), dtype=object)
        rows["partition"].fill(batch.part)  # numpy.full would make a text for each row
    if manifest.names("group"):
        rows["group"] = batch["group"]
    context = {name: batch[name] for name in manifest.names("context")}
    weight = {"weight": batch["weight"]} if manifest.names("weight") else {}
    return Predictions(rows, {"target": batch["target"], **weight, **context, **outputs}, naive)


def _pooled(manifest: Manifest, rows: int, found: Iterable[Predictions]) -> Predictions:
    """The test rows of all windows, so many, in the order of (time, partition); baselines that every window has."""
    pooled: tuple[dict[str, Array], ...] = ({}, {}, {})
    first = 0
    for each in found:
        for columns, of in zip(pooled, (each.rows, each.scored, each.baselines), strict=True):
            if not first:
                columns |= {name: np.empty((rows, *some.shape[1:]), some.dtype) for name, some in of.items()}
            for name in columns.keys() - of.keys():
                del columns[name]
            for name, values in columns.items():
                values[first : first + len(each)] = of[name]
        first += len(each)
    if manifest.axis:
        axis = pooled[0]["time" if "time" in pooled[0] else "row"]
        # rows of one time are in the order of partitions, since parts are
        order = np.argsort(axis, kind="stable")
        for columns in pooled:
            for name in columns:
                columns[name] = columns[name][order]
    return Predictions(*pooled)


def _by(task: Task, pooled: Predictions, horizon: timedelta | None, manifest: Manifest) -> dict[str, dict[str, Any]]:
    """The scores of the rows of each partition and of each month, as the dataset wants them."""
    found: dict[str, dict[str, Any]] = {}
    for kind in dataset_named(manifest.dataset).SPEC.by:
        if kind == "month":
            of, names = pooled.rows["time"].astype("datetime64[M]"), {}
        else:
            of, names = pooled.rows["partition"], manifest.extra.get("partitions", {})
        found[kind] = {
            names.get(str(each), str(each)): comparison.scores(comparison.answers(task, rows, horizon))
            for each in distinct([of])
            if len(rows := pooled.take(of == each))
        }
    return found


def _score(task: Task, pooled: Predictions, of: Array) -> Scores:
    """Of some rows."""
    chosen: Any = slice(None) if of.all() else of  # without a copy where they are all
    scored = {name: values[chosen] for name, values in pooled.scored.items()}
    return task.score(scored, scored.get("weight"))


def _validation(data: Table, fit: fits.Fitted, models: Sequence[Model]) -> Predictions | None:
    """The validation rows of all windows; None where there are none."""
    held = [rows_of(window, data, "validation") for window in fit.windows]
    if not all(sum(map(count, rows.values())) for rows in held):
        return None
    found = (
        _predictions(data.manifest, batch, number, models[number](batch["feature"]), {})
        for number, rows in enumerate(held)
        for batch in data.batches(_names(data.manifest), rows, _size(data))
    )
    return _pooled(data.manifest, sum(count(each) for rows in held for each in rows.values()), found)


def _drift(data: Table, fit: fits.Fitted) -> dict[str, Any]:
    """How the features of the last window's test rows differ from its train rows, thinned."""
    if data.manifest.feature_shape is not None:
        return {}
    rows = {side: _thinned(rows_of(fit.windows[-1], data, side), data) for side in ("train", "test")}
    train, test = (data.read(("feature",), rows[side])["feature"] for side in ("train", "test"))
    return drift(data.manifest.names("feature"), train, test)


def _importance(task: Task, data: Table, fit: fits.Fitted, models: Sequence[Model]) -> dict[str, Any] | None:
    if data.manifest.feature_shape is not None:
        return None
    parts = []
    for number, model in enumerate(models):
        rows = _thinned(rows_of(fit.windows[number], data, "test"), data)
        arrays = data.read([name for name in _names(data.manifest) if name != data.manifest.axis], rows)
        features = arrays.pop("feature")
        parts.append(Part(model, features, arrays))
    return importance(task, metric(task, task.PRIMARY), data.manifest.names("feature"), parts)
