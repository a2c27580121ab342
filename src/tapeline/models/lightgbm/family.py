"""Boosted trees: LightGBM's booster, trained on the float32 table and kept as its own text.

Its servable is trees as tensor operations (`trees.py`), with raw scores equal bit for bit.

    tapeline run model=lightgbm
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from tapeline import files
from tapeline.config import schema
from tapeline.errors import Finding, refuse
from tapeline.models import Array, Outputs, Point, Rows, Training
from tapeline.models.lightgbm import distributed, matrix
from tapeline.models.lightgbm import tensorflow_graph as trees
from tapeline.models.lightgbm import text_format as forest
from tapeline.tables.spec import Spec
from tapeline.tasks import Task

log = logging.getLogger(__name__)

VALIDATION = 0.15
"""Share of the train rows that decide when training stops, unless split.validation gives another."""
SEEDS = 2**31
"""LightGBM's seeds are 32-bit."""
COLUMN_WISE = 1 << 28
"""Values of features from which histograms are made by column."""


class Section(schema.Model):
    """The keys of `model=lightgbm`; most are LightGBM's own."""

    trains_with_tensorflow: ClassVar[bool] = False

    boosting: Literal["gbdt", "rf", "dart"]
    learning_rate: Annotated[float, Field(gt=0)]
    num_leaves: Annotated[int, Field(ge=2, le=131072)]
    """At most, of a tree; servables of more than 32 are slower by far."""
    min_data_in_leaf: Annotated[int, Field(ge=1)]
    feature_fraction: Annotated[float, Field(gt=0, le=1)]
    """Of the features, drawn for each tree."""
    bagging_fraction: Annotated[float, Field(gt=0, le=1)]
    """Of the rows, drawn for each tree."""
    lambda_l2: Annotated[float, Field(ge=0)]
    early_stopping_rounds: Annotated[int, Field(ge=1)] | None
    """Rounds to wait for a lower loss on the validation rows; null trains every round on all rows."""

    @model_validator(mode="after")
    def _fit_together(self) -> Section:
        if self.boosting == "dart" and self.early_stopping_rounds is not None:
            what = "cannot stop early, since it changes trees that it has made"
            raise refuse("model.boosting=dart", what, "set model.early_stopping_rounds=null")
        if self.boosting == "rf" and self.bagging_fraction == 1:
            what = "has to leave rows out of each tree"
            raise refuse("model.boosting=rf", what, "set model.bagging_fraction=0.7")
        return self

    @property
    def validation_share(self) -> float:
        """Share of the train rows kept for early stopping; 0 without it."""
        return 0.0 if self.early_stopping_rounds is None else VALIDATION

    def fixed(self, steps: int) -> Section:
        """Without early stopping, too."""
        return self.model_copy(update={"steps": steps, "early_stopping_rounds": None})


@dataclass(frozen=True)
class Model:
    """A trained booster."""

    text: str
    """In LightGBM's format, to the end of the trees: its parameters, threads among them, are not part of a model."""
    threads: int = 0
    """For predictions; 0: all cores. A prediction sets the threads of a training in the same process, too."""

    @property
    def binary(self) -> bool:
        """Whether it chooses between two classes; else it forecasts a number."""
        return "\nobjective=binary" in self.text.partition("\nTree=")[0]

    @property
    def sums(self) -> bool:
        """Whether the answer is the sum of the trees' values, as it is."""
        return not self.binary and "\naverage_output" not in self.text.partition("\nTree=")[0]


WEIGHTS = True
WORKERS = "rows"


def supports(spec: Spec) -> Finding | None:
    """One output; features are numbers, and may be missing."""
    if len(spec.outputs) > 1:
        problem = f"LightGBM forecasts one number, and this dataset has {len(spec.outputs)} outputs"
        return Finding("model.family", problem, "choose model=deep")
    if spec.feature_shape is not None:
        problem = f"trees take numbers, and each row of this dataset is an array of shape {spec.feature_shape}"
        return Finding("model.family", problem, "choose another model")
    return None


def fit(section: Section, train: Rows, validation: Rows | None, training: Training) -> tuple[Model, list[Point]]:
    """Boost for `section.steps` rounds, and keep those with the least loss on the validation rows.

    Rows without a label are left out.

    Raises:
        Refused: the target is several numbers a row, or early stopping is on and no validation row has a label.
    """
    import lightgbm

    if (outputs := train.target.size // len(train.target)) > 1:
        raise refuse("model=lightgbm", f"forecasts one number, and the target has {outputs}", "choose another model")
    labelled = _labelled(train)
    stopping = _labelled(validation) if validation and section.early_stopping_rounds else None
    if section.early_stopping_rounds and (stopping is None or not len(stopping.target)):
        key = f"model.early_stopping_rounds={section.early_stopping_rounds}"
        raise refuse(key, "no validation row has a label", "set split.validation=0.15, or the key to null")
    parameters = _parameters(section, training, labelled.features.size)
    data = matrix.of(labelled, training.categorical, None, None if training.machines else parameters)
    trace: list[Point] = []
    callbacks, validation_sets = [_tracing(section, training, labelled, trace)], []
    if section.early_stopping_rounds and stopping:
        validation_sets = [matrix.of(stopping, training.categorical, data)]
        callbacks.append(lightgbm.early_stopping(section.early_stopping_rounds, verbose=False))
    with distributed.errors(training.machines):
        booster = lightgbm.train(parameters, data, section.steps, validation_sets, callbacks=callbacks)
        if training.machines:
            booster.free_network()  # the process has one: freed late, it would be that of the next window
    kept = booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration()
    model = Model(_text(booster, kept))
    task = training.task
    features, target = matrix.sample(labelled)
    score = task.trace_score(predict(model, features)["prediction"], target)
    if kept < section.steps:
        why = (
            f"the loss on the {len(stopping.target):,} validation rows is least there" if stopping else "no split helps"
        )
        # the bar is done, too
        log.info("    keeps %d rounds: %s; %s %.6f", kept, why, task.TRACE, score, extra={"progress": (1, 1)})
    return model, [*(point for point in trace if point.step < kept), Point(kept, score)]


def _labelled(rows: Rows) -> Rows:
    """The rows that have a label, with targets [rows]."""
    target = rows.target.reshape(-1)
    known = np.isfinite(target)
    if known.all():
        return Rows(rows.features, target, rows.weight)
    return Rows(rows.features[known], target[known], None if rows.weight is None else rows.weight[known])


def _parameters(section: Section, training: Training, values: int) -> dict[str, Any]:
    """Of LightGBM, for so many values of features."""
    same = ("boosting", "learning_rate", "num_leaves", "min_data_in_leaf", "feature_fraction", "bagging_fraction")
    return {
        **{name: getattr(section, name) for name in (*same, "lambda_l2")},
        "objective": training.task.LIGHTGBM,
        "bagging_freq": 1,
        "seed": training.seed % SEEDS,
        "num_threads": training.threads,
        "deterministic": True,
        # by rows is faster, and LightGBM then holds its binned data twice
        "force_row_wise" if values < COLUMN_WISE else "force_col_wise": True,
        "verbosity": -1,
        **(distributed.parameters(training.machines) if training.machines else {}),
    }


def _tracing(section: Section, training: Training, rows: Rows, trace: list[Point]) -> Callable[[Any], None]:
    """A callback that moves the bar every round and scores the training rows where the trace has a point.

    Of many rows it scores some: LightGBM's own scores would be copied for all of them.
    """
    binary = training.task.LIGHTGBM == "binary"
    first = training.machines is None or training.machines.rank == 0
    some = matrix.sample(rows) if len(rows.target) > matrix.SCORED else None

    def trace_score(predicted: Array, target: Array) -> float:
        return training.task.trace_score((predicted > 0.5).astype(np.int64) if binary else predicted, target)

    def score(booster: Any) -> float:
        if some is not None:
            features, target = some
            return trace_score(booster.predict(features, num_threads=training.threads), target)
        found = booster.eval_train(lambda predicted, data: ("score", trace_score(predicted, data.get_label()), True))
        return float(found[-1][2])

    def after(environment: Any) -> None:
        step = environment.iteration + 1
        if not first:
            return
        if step % section.report_every == 0 or step == section.steps:
            trace.append(Point(step, score(environment.model)))
        training.report(step, trace[-1].score if trace else 0.0)
        if training.watch and step % section.report_every == 0:
            training.watch(step, Model(_text(environment.model, step), training.threads))

    return after


def _text(booster: Any, rounds: int) -> str:
    text: str = booster.model_to_string(num_iteration=rounds)
    return text.partition("\nend of trees")[0] + "\nend of trees\n"


def predict(model: Model, features: Array) -> Outputs:
    """The booster's own answers for float32 [rows, features]."""
    import lightgbm

    booster = lightgbm.Booster(model_str=model.text)
    raw = booster.predict(features, raw_score=True, num_threads=model.threads)
    answer = raw if model.sums else booster.predict(features, num_threads=model.threads)
    if not model.binary:
        return {"prediction": answer[:, None], "raw_score": raw}
    probability = np.stack([1 - answer, answer], axis=1)
    return {"prediction": (raw > 0).astype(np.int64), "probability": probability, "raw_score": raw}


def save(model: Model, folder: Path) -> None:
    """One text file, which LightGBM reads, too."""
    files.write_bytes(folder / "model.txt", model.text.encode())


def load(folder: Path, task: Task) -> Model:
    """Read what `save` wrote."""
    return Model((folder / "model.txt").read_text(encoding="utf-8"))


def servable(model: Model) -> Callable[[Any], dict[str, Any]]:
    """The trees as a tf.Module; LightGBM is not needed."""
    return trees.servable(forest.parse(model.text))
