"""Dense networks and their training loop on all rows at once, which runs inside one compiled graph.

The originals called the session once a step and spent their time there. Here one call makes many
steps, compiled by XLA; between calls Python reads out a score. Only core TensorFlow is used, so that
2.14 and 2.20 run the same code. With `model.batch_rows` the loop is that of `minibatch`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from tapeline import tensorflow as tf
from tapeline.config import schema
from tapeline.errors import Finding, refuse
from tapeline.models import Outputs, Point, Rows, Training
from tapeline.models.network import minibatch, storage
from tapeline.models.network import scaling as scales
from tapeline.models.network.minibatch import BETA_1, BETA_2, EPSILON, Learner, Plan, rates_of
from tapeline.models.network.scaling import Scaling
from tapeline.tables.spec import Spec
from tapeline.tasks import Task

Array = np.ndarray[Any, Any]

GREY = 255
"""The largest grey value of an image."""
BAR_STEPS = 1000
"""At most so many steps between two moves of a progress bar."""


class Section(schema.Model):
    """Keys of dense networks."""

    learning_rate: Annotated[float, Field(gt=0, le=1e38)]
    """Adam's, for a loss summed over rows."""
    initial_sd: Annotated[float, Field(gt=0, le=1e38)]
    """Of the weights, drawn from a normal distribution cut at two sd."""
    initial_bias: Annotated[float, Field(ge=-1e38, le=1e38)]
    batch_rows: Annotated[int, Field(ge=1)] | None
    """Rows of a step, drawn by a seeded shuffle; null: every step sees all rows."""
    patience: Annotated[int, Field(ge=1)] | None
    """Points of the trace in a row without a lower loss on the validation rows, after which training ends."""

    @model_validator(mode="after")
    def _fit_together(self) -> Section:
        if self.patience is not None and self.batch_rows is None:
            what = "is read with mini-batches only"
            raise refuse(f"model.patience={self.patience}", what, "set model.batch_rows=256 too")
        return self

    @property
    def validation_share(self) -> float:
        """Share of the train rows kept for early stopping; 0 without it."""
        return 0.0 if self.patience is None else minibatch.VALIDATION

    def fixed(self, steps: int) -> Section:
        """Without early stopping, too."""
        return self.model_copy(update={"steps": steps, "patience": None})


@dataclass(frozen=True)
class Network:
    """A trained network."""

    task: Task
    arrays: tuple[Array, ...]
    """float32 weights [in, out] and biases [out], in turn, from the input to the output."""
    scaling: Scaling | None = None
    """Of the features of a dataset that allows missing ones; None: they are taken as they are."""


def supports(spec: Spec) -> Finding | None:
    """Any number of outputs; features are numbers, which may be missing, or the grey values of an image."""
    return None


def fit(
    hidden: Sequence[int], section: Section, rows: Rows, validation: Rows | None, training: Training
) -> tuple[Network, list[Point]]:
    """Train for `section.steps` steps on all rows at once, or on `section.batch_rows` of them in each.

    Raises:
        Refused: the loss became NaN or infinite, or as `minibatch.train`.
    """
    scaling = scales.of(rows.features) if training.missing_features else None
    inputs = scaling.width if scaling else math.prod(rows.features.shape[1:])
    arrays = initial([inputs, *hidden, training.task.encode(rows.target[:1]).shape[1]], section, training.seed)
    if section.batch_rows is not None:
        return _by_batches(arrays, scaling, section, rows, validation, training)
    features, target = _numbers(rows.features, scaling), training.task.encode(rows.target)
    trace: list[Point] = []
    for step, loss, score, trained in _train(arrays, features, target, training.task, section):
        if not np.isfinite(loss):
            key = f"model.learning_rate={section.learning_rate:g}"
            raise refuse(key, f"the training diverged by step {step:,}: the loss is {loss}", "lower it")
        if step % section.report_every == 0 or step == section.steps:
            trace.append(Point(step, score))
        training.report(step, score)
        arrays = trained
        if training.watch and step % section.report_every == 0:
            training.watch(step, Network(training.task, tuple(arrays), scaling))
    return Network(training.task, tuple(arrays), scaling), trace


def _by_batches(
    arrays: Sequence[Array],
    scaling: Scaling | None,
    section: Section,
    rows: Rows,
    validation: Rows | None,
    training: Training,
) -> tuple[Network, list[Point]]:
    loss_of = training.task.loss(tf.load())

    def loss(weights: Any, statistics: Any, features: Any, target: Any, step: Any) -> tuple[Any, Any]:
        return loss_of(forward(weights, _numbers(features, scaling)), target), statistics

    def outputs(weights: Any, statistics: Any, features: Any) -> Any:
        return forward(weights, _numbers(features, scaling))

    def model(learner: Learner) -> Network:
        return Network(training.task, learner.weights, scaling)

    assert section.batch_rows is not None
    plan = Plan(section.batch_rows, section.steps, section.report_every, section.learning_rate)
    plan = replace(plan, patience=section.patience)
    learner = Learner(tuple(arrays), (), loss, outputs)
    trained, trace = minibatch.train(learner, rows, validation, plan, training, model)
    return model(trained), trace


def _numbers(features: Any, scaling: Scaling | None) -> Any:
    """Features as the first layer takes them, float32 [rows, in].

    An image's grey values are shares of white, row by row; features that may be missing are scaled.
    """
    if scaling:
        found = scales.scaled(scaling, features)
        return found.numpy() if isinstance(features, np.ndarray) else found
    if len(features.shape) == 2:
        return features
    if isinstance(features, np.ndarray):
        return features.reshape(len(features), -1).astype(np.float32) / np.float32(GREY)
    tensorflow = tf.load()
    numbers = tensorflow.cast(features, tensorflow.float32) / GREY
    return tensorflow.reshape(numbers, [-1, math.prod(features.shape[1:])])


def initial(sizes: Sequence[int], section: Section, seed: int) -> list[Array]:
    """Weights from a truncated normal distribution, constant biases; the same on every TensorFlow."""
    random = np.random.default_rng(seed)
    arrays: list[Array] = []
    for inputs, outputs in pairwise(sizes):
        draws = random.standard_normal((inputs, outputs))
        while (far := np.abs(draws) > 2).any():
            draws[far] = random.standard_normal(int(far.sum()))
        arrays += [(draws * section.initial_sd).astype(np.float32), np.full(outputs, section.initial_bias, np.float32)]
    return arrays


def forward(arrays: Sequence[Any], features: Any) -> Any:
    """Logits, or predictions, [rows, outputs] of [rows, in]: ReLU between layers, none after the last."""
    tensorflow = tf.load()
    # Samples are columns inside: long contiguous rows make XLA's products 1.3 to 1.5 times as fast.
    values = tensorflow.transpose(features)
    for layer in range(0, len(arrays), 2):
        values = tensorflow.nn.relu(values) if layer else values
        values = tensorflow.matmul(arrays[layer], values, transpose_a=True) + arrays[layer + 1][:, None]
    return tensorflow.transpose(values)


def _train(
    arrays: Sequence[Array], features: Array, target: Array, task: Task, section: Section
) -> Iterator[tuple[int, float, float, list[Array]]]:
    """Yield steps done, loss, score and arrays after each call of the compiled loop."""
    tensorflow = tf.load()
    loss_of, score_of = task.loss(tensorflow), task.train_score(tensorflow)

    def some_steps(first: Any, last: Any, state: Any, rates: Any, features: Any, target: Any) -> Any:
        # Turned once here and back in each step, where it cancels with forward's own: 15 to 30 % faster.
        features, target = tensorflow.transpose(features), tensorflow.transpose(target)

        def step(i: Any, parameters: Any, means: Any, squares: Any) -> Any:
            with tensorflow.GradientTape() as tape:
                tape.watch(parameters)
                outputs = forward(parameters, tensorflow.transpose(features))
                loss = loss_of(outputs, tensorflow.transpose(target))
            gradients = tape.gradient(loss, parameters)
            means = [BETA_1 * m + (1 - BETA_1) * g for m, g in zip(means, gradients, strict=True)]
            squares = [BETA_2 * s + (1 - BETA_2) * g * g for s, g in zip(squares, gradients, strict=True)]
            moments = zip(parameters, means, squares, strict=True)
            moved = [p - rates[i] * m / (tensorflow.sqrt(s) + EPSILON) for p, m, s in moments]
            return i + 1, moved, means, squares

        return tensorflow.while_loop(lambda i, *_: i < last, step, (first, *state))[1:]

    compiled = tensorflow.function(some_steps, jit_compile=True, autograph=False)

    def scores(arrays: Any, features: Any, target: Any) -> tuple[Any, Any]:
        outputs = forward(arrays, features)
        return loss_of(outputs, target), score_of(outputs, target)

    measure = tensorflow.function(scores, autograph=False)
    data = tensorflow.constant(features), tensorflow.constant(target)
    rates = tensorflow.constant(rates_of(Plan(0, section.steps, section.report_every, section.learning_rate)))
    parameters = [tensorflow.constant(array) for array in arrays]
    zeros = [tensorflow.zeros_like(each) for each in parameters]
    state: Any = (parameters, zeros, zeros)
    done = 0
    while done < section.steps:
        first = done
        done += min(BAR_STEPS, section.report_every - done % section.report_every, section.steps - done)
        with nullcontext() if first else tf.quiet():
            state = compiled(tensorflow.constant(first), tensorflow.constant(done), state, rates, *data)
        loss, score = measure(state[0], *data)
        yield done, float(loss), float(score), [each.numpy() for each in state[0]]


def predict(model: Network, features: Array) -> Outputs:
    """Outputs for float32 [rows, in], or for images [rows, height, width]."""
    tensorflow = tf.load()
    values = tensorflow.constant(_numbers(features, model.scaling))
    outputs = model.task.outputs(tensorflow, forward(model.arrays, values))
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def save(model: Network, folder: Path) -> None:
    """One .npz file, whose bytes follow from the arrays alone."""
    name = model.task.__name__.rpartition(".")[2]
    named = {"task": np.array(name), **{f"array_{number}": each for number, each in enumerate(model.arrays)}}
    storage.write(folder / "network.npz", named | (vars(model.scaling) if model.scaling else {}))


def load(folder: Path, task: Task) -> Network:
    """Read what `save` wrote."""
    saved = storage.read(folder / "network.npz")
    count = sum(name.startswith("array_") for name in saved)
    arrays = tuple(saved[f"array_{number}"] for number in range(count))
    scaling = {each.name: saved[each.name] for each in fields(Scaling) if each.name in saved}
    return Network(task, arrays, Scaling(**scaling) if scaling else None)


def servable(model: Network) -> Callable[[Any], dict[str, Any]]:
    """The network as a tf.Module that owns its variables."""
    tensorflow = tf.load()

    class Module(tensorflow.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.arrays = [tensorflow.Variable(array, trainable=False) for array in model.arrays]

        def __call__(self, predictors: Any) -> dict[str, Any]:
            return model.task.outputs(tensorflow, forward(self.arrays, _numbers(predictors, model.scaling)))

    module: Callable[[Any], dict[str, Any]] = Module()
    return module
