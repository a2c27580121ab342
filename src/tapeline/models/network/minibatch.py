"""Training by mini-batches inside a compiled graph, with early stopping; every network can use it.

One call makes many steps of Adam, so that Python costs nothing. Rows are taken in the order of a seeded shuffle, a new
one for each pass. They stay where they are, in memory or in a memory map: a call copies only its own batches.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tapeline import tensorflow as tf
from tapeline.errors import refuse
from tapeline.models import Point, Rows, Training
from tapeline.models.network.together import ALONE, Part
from tapeline.tables.spec import Array

log = logging.getLogger(__name__)

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's, as TensorFlow 1 had them."""
CALL_BYTES = 1 << 24
"""At most so much of the rows is copied for one call."""
CALL_STEPS = 200
"""At most so many steps between two moves of a progress bar."""
CALL_STEPS_TOGETHER = 20
"""The same of several workers, whose silence ends the training."""
SCORED = 100_000
"""Rows of a side that are scored for the trace, at most, drawn with the seed."""
VALIDATION = 0.15
"""Share of the train rows that decide when training stops, unless split.validation gives another."""


@dataclass(frozen=True)
class Plan:
    """How long, how fast, and in what portions."""

    batch_rows: int
    steps: int
    report_every: int
    """Steps between two looks at the scores."""
    learning_rate: float
    cosine: bool = False
    """The rate falls to 0 as half a cosine; else it is constant."""
    weight_decay: float = 0.0
    """Share of the weights, at a rate of 1, that a step removes: Loshchilov and Hutter, AdamW (2019)."""
    patience: int | None = None
    """Looks in a row without a lower loss on the validation rows, after which training ends; None: all steps."""
    loss_scale: float = 1.0
    """Of the gradients in half precision; steps with infinite gradients are left out."""
    xla: bool = True
    part: Part = ALONE
    """Of each batch, where several workers make a step."""


@dataclass(frozen=True)
class Learner:
    """A network that can be trained."""

    weights: tuple[Array, ...]
    """float32; those with two axes or more decay."""
    statistics: tuple[Array, ...]
    """float32; they follow the batches without gradients, as the means of batch normalisation do."""
    loss: Callable[[Any, Any, Any, Any, Any], tuple[Any, Any]]
    """weights, statistics, features, target, step -> the loss summed over rows, and the new statistics."""
    outputs: Callable[[Any, Any, Any], Any]
    """weights, statistics, features -> [rows, width]; nothing in it is random."""


@dataclass(frozen=True)
class _Best:
    """The weights with the least loss on the validation rows."""

    loss: float
    step: int
    learner: Learner


Model = Callable[[Learner], Any]
"""What a family makes of a learner, for `Training.watch`."""


def train(
    learner: Learner, rows: Rows, validation: Rows | None, plan: Plan, training: Training, model: Model
) -> tuple[Learner, list[Point]]:
    """The learner with trained weights, and the scores on the way.

    With patience, the weights are those with the least loss on the validation rows, and the trace ends there.

    Raises:
        Refused: the loss became NaN or infinite, or there is patience and no validation row has a label.
    """
    if plan.patience is not None and (validation is None or not np.isfinite(validation.target).any()):
        what = f"model.patience={plan.patience}"
        raise refuse(what, "no validation row has a label", "set split.validation=0.15, or model.patience=null")
    judged = [_sample(each, training) if each else None for each in (rows, validation)]
    measure, agreed = _measure(learner, training), plan.part.agreed()
    trace: list[Point] = []
    best: _Best | None = None
    done = 0
    for done, loss, (weights, statistics) in _steps(learner, rows, plan, training):
        if not math.isfinite(loss):
            key = f"model.learning_rate={plan.learning_rate:g}"
            raise refuse(key, f"the training diverged by step {done:,}: the loss is {loss}", "lower it")
        if done % plan.report_every == 0 or done == plan.steps:
            (score, _), held = (measure(weights, statistics, each) if each else None for each in judged)  # type: ignore[misc]
            trace.append(Point(done, score, held[0] if held else None))
            held_loss = agreed(held[1]) if held else math.inf
            if held and (best is None or held_loss < best.loss):
                best = _Best(held_loss, done, _so_far(learner, weights, statistics))
        training.report(done, trace[-1].score if trace else 0.0)
        if training.watch and done % plan.report_every == 0:
            training.watch(done, model(_so_far(learner, weights, statistics)))
        if plan.patience is not None and best and done - best.step >= plan.patience * plan.report_every:
            break
    if plan.patience is not None and best:
        if best.step < plan.steps:
            why = "the loss on the validation rows is least there"
            log.info("    keeps the weights of step %d of %d: %s", best.step, done, why, extra={"progress": (1, 1)})
        return best.learner, [point for point in trace if point.step <= best.step]
    return _so_far(learner, weights, statistics), trace


def _so_far(learner: Learner, weights: Any, statistics: Any) -> Learner:
    found = [tuple(each.numpy() for each in part) for part in (weights, statistics)]
    return replace(learner, weights=found[0], statistics=found[1])


def _sample(rows: Rows, training: Training) -> tuple[Array, Array]:
    """Features and encoded target of the rows that the trace is about."""
    chosen: Any = slice(None)
    if len(rows.target) > SCORED:
        chosen = np.sort(np.random.default_rng(training.seed).choice(len(rows.target), SCORED, replace=False))
    return rows.features[chosen], training.task.encode(rows.target[chosen])


def _measure(learner: Learner, training: Training) -> Callable[[Any, Any, tuple[Array, Array]], tuple[float, float]]:
    """A function that gives the task's score and the mean loss of rows."""
    tensorflow = tf.load()
    loss_of, score_of = training.task.loss(tensorflow), training.task.train_score(tensorflow)

    def measure(weights: Any, statistics: Any, rows: tuple[Array, Array]) -> tuple[float, float]:
        features, target = rows
        # not as a compiled function, which would be traced again for each training
        answered = tensorflow.concat([learner.outputs(weights, statistics, each) for each in portions(features)], 0)
        return float(score_of(answered, target)), float(loss_of(answered, target)) / len(target)

    return measure


def portions(features: Array) -> Iterator[Any]:
    """Rows of features, some at a time, as tensors: so many that a network's layers fit into memory."""
    rows = min(4096, max(32, (1 << 20) // max(1, math.prod(features.shape[1:]))))
    for first in range(0, len(features), rows):
        yield tf.load().constant(features[first : first + rows])


def _steps(
    learner: Learner, rows: Rows, plan: Plan, training: Training
) -> Iterator[tuple[int, float, tuple[list[Any], list[Any]]]]:
    """Steps done, mean loss of the last ones, weights and statistics, after each call of the compiled loop."""
    tensorflow = tf.load()
    target = training.task.encode(rows.target)
    size = min(plan.batch_rows, len(target))
    each = size * (rows.features[:1].nbytes + target[:1].nbytes)
    most = CALL_STEPS if plan.part.workers == 1 else CALL_STEPS_TOGETHER
    count = max(1, min(most, plan.report_every, plan.steps, CALL_BYTES // each))
    batches = _shuffled(len(target), size, training.seed)
    own = len(range(size)[plan.part.rows])
    features = np.zeros((count, own, *rows.features.shape[1:]), rows.features.dtype)
    targets = np.zeros((count, own, target.shape[1]), np.float32)
    compiled = _compiled(learner, plan)
    rates = tensorflow.constant(rates_of(plan))
    weights = [tensorflow.constant(array) for array in learner.weights]
    zeros = [tensorflow.zeros_like(array) for array in weights]
    state: Any = (weights, zeros, zeros, [tensorflow.constant(array) for array in learner.statistics])
    done = 0
    while done < plan.steps:
        several = min(count, plan.report_every - done % plan.report_every, plan.steps - done)
        for at in range(several):
            chosen = next(batches)[plan.part.rows]
            features[at], targets[at] = rows.features[chosen], target[chosen]
        first, last = tensorflow.constant(done), tensorflow.constant(several)
        state, loss = compiled(first, last, state, rates, tensorflow.constant(features), tensorflow.constant(targets))
        done += several
        yield done, float(loss) / (several * size), (state[0], state[3])


def _shuffled(rows: int, size: int, seed: int) -> Iterator[Array]:
    """Row numbers of one batch after the other, in the order of one shuffle after the other."""
    random = np.random.default_rng(seed)
    left = np.empty(0, np.int64)
    while True:
        while len(left) < size:
            left = np.concatenate([left, random.permutation(rows)])
        # in the order of a memory map, which is read faster so
        yield np.sort(left[:size])
        left = left[size:]


def rates_of(plan: Plan) -> Array:
    """Adam's step sizes with TensorFlow 1's correction of bias; element i is that of step i + 1."""
    step = np.arange(1, plan.steps + 1)
    rates: Array = plan.learning_rate * np.sqrt(1 - BETA_2**step) / (1 - BETA_1**step)
    if plan.cosine:
        rates = rates * (1 + np.cos(np.pi * (step - 1) / plan.steps)) / 2
    return rates.astype(np.float32)


def _compiled(learner: Learner, plan: Plan) -> Any:
    """Some steps as one call: first step, number of steps, state, rates and batches to the state and the loss."""
    tensorflow = tf.load()

    def gradients(weights: Any, statistics: Any, features: Any, target: Any, step: Any) -> Any:
        with tensorflow.GradientTape() as tape:
            tape.watch(weights)
            loss, moved = learner.loss(weights, statistics, features, target, step)
            scaled = loss * plan.loss_scale
        return loss, tape.gradient(scaled, weights), moved

    if not plan.xla:
        # in the body of a loop TensorFlow does not choose oneDNN's pooling, whose gradient is several times as fast
        apart = {"_noinline": True}
        gradients = tensorflow.function(gradients, autograph=False, experimental_attributes=apart)

    def some_steps(first: Any, several: Any, state: Any, rates: Any, features: Any, target: Any) -> Any:
        def slopes(i: Any, weights: Any, statistics: Any) -> Any:
            loss, slope, moved = gradients(weights, statistics, features[i], target[i], first + i)
            moved = [each / plan.part.workers for each in moved] if plan.part.workers > 1 else moved
            found = plan.part.summed([loss, *slope, *moved])
            return found[0], found[1 : 1 + len(weights)], found[1 + len(weights) :]

        def step(i: Any, state: Any, total: Any) -> Any:
            weights, means, squares, statistics = state
            loss, gradients, moved = plan.part.run(slopes, i, weights, statistics)
            gradients = [each / plan.loss_scale for each in gradients]
            after: Any = _adam((weights, means, squares), gradients, rates[first + i], plan)
            if plan.loss_scale != 1:
                finite = [tensorflow.reduce_all(tensorflow.math.is_finite(each)) for each in gradients]
                good = tensorflow.reduce_all(tensorflow.stack(finite))
                pairs = zip(after, (weights, means, squares), strict=True)
                after = tuple(
                    [tensorflow.where(good, new, old) for new, old in zip(*pair, strict=True)] for pair in pairs
                )
            return i + 1, (*after, moved), total + loss

        start = (tensorflow.constant(0), state, tensorflow.constant(0.0))
        return tensorflow.while_loop(lambda i, *_: i < several, step, start)[1:]

    return tensorflow.function(some_steps, jit_compile=plan.xla, autograph=False)


def _adam(state: Any, gradients: Any, rate: Any, plan: Plan) -> tuple[list[Any], list[Any], list[Any]]:
    """Weights, means and squares after one step."""
    sqrt = tf.load().sqrt
    weights, means, squares = state
    means = [BETA_1 * m + (1 - BETA_1) * g for m, g in zip(means, gradients, strict=True)]
    squares = [BETA_2 * s + (1 - BETA_2) * g * g for s, g in zip(squares, gradients, strict=True)]
    moved = [
        w - rate * (m / (sqrt(s) + EPSILON) + (plan.weight_decay * w if len(w.shape) > 1 else 0))
        for w, m, s in zip(weights, means, squares, strict=True)
    ]
    return moved, means, squares
