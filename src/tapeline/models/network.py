"""Dense networks and their training loop, which runs inside one compiled graph.

The originals called the session once a step and spent their time there. Here one call makes many
steps, compiled by XLA; between calls Python reads out a score. No Keras, so that TensorFlow 2.14
and 2.20 run the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tapeline import config, tf
from tapeline.errors import refuse
from tapeline.models import How, Outputs, Point, Rows

Array = np.ndarray[Any, Any]

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's, as TensorFlow 1 had them."""
BAR_STEPS = 1000
"""At most so many steps between two moves of a progress bar."""


class Section(config.Model):
    """Keys of dense networks."""

    learning_rate: Annotated[float, Field(gt=0)]
    """Adam's, for a loss summed over rows."""
    initial_sd: Annotated[float, Field(gt=0)]
    """Of the weights, drawn from a normal distribution cut at two sd."""
    initial_bias: float


@dataclass(frozen=True)
class Network:
    """A trained network."""

    task: str
    arrays: tuple[Array, ...]
    """float32 weights [in, out] and biases [out], in turn, from the input on."""


def fit(hidden: Sequence[int], section: Section, rows: Rows, how: How) -> tuple[Network, list[Point]]:
    """Train on all rows at once for `section.steps` steps.

    Raises:
        Refused: the loss became NaN or infinite.
    """
    classes = 2
    sizes = [rows.features.shape[1], *hidden, classes]
    arrays = initial(sizes, section, how.seed)
    trace: list[Point] = []
    for step, loss, score, arrays in _train(arrays, rows, section):
        if not np.isfinite(loss):
            raise refuse(
                f"model.learning_rate={section.learning_rate:g}", f"the training diverged by step {step:,}", "lower it"
            )
        if step % section.report_every == 0 or step == section.steps:
            trace.append(Point(step, score))
        how.report(step, score)
    return Network(how.task, tuple(arrays)), trace


def initial(sizes: Sequence[int], section: Section, seed: int) -> list[Array]:
    """Weights from a truncated normal distribution, constant biases; the same on every TensorFlow."""
    random = np.random.default_rng(seed)
    arrays: list[Array] = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        draws = random.standard_normal((inputs, outputs))
        while (far := np.abs(draws) > 2).any():
            draws[far] = random.standard_normal(int(far.sum()))
        arrays += [(draws * section.initial_sd).astype(np.float32), np.full(outputs, section.initial_bias, np.float32)]
    return arrays


def forward(arrays: Sequence[Any], features: Any) -> Any:
    """Logits of float32 [rows, in]: ReLU between layers, none after the last."""
    tensorflow = tf.load()
    values = features
    for layer, (weights, biases) in enumerate(zip(arrays[::2], arrays[1::2], strict=True)):
        values = tensorflow.matmul(tensorflow.nn.relu(values) if layer else values, weights) + biases
    return values


def _train(arrays: list[Array], rows: Rows, section: Section) -> Iterator[tuple[int, float, float, list[Array]]]:
    """Yield steps done, loss, accuracy and arrays after each call of the compiled loop."""
    tensorflow = tf.load()
    features = tensorflow.constant(rows.features)
    target = tensorflow.constant(rows.target)
    variables = [tensorflow.Variable(array) for array in arrays]
    moments = [[tensorflow.Variable(tensorflow.zeros_like(each)) for each in variables] for _ in range(2)]

    def loss_of(arrays: Any) -> Any:
        logits = forward(arrays, features)
        return tensorflow.reduce_sum(
            tensorflow.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=logits)
        )

    @tensorflow.function(jit_compile=True)
    def some_steps(first: Any, count: Any) -> Any:
        def body(step: Any, arrays: Any, first_moments: Any, second_moments: Any) -> Any:
            with tensorflow.GradientTape() as tape:
                tape.watch(arrays)
                loss = loss_of(arrays)
            gradients = tape.gradient(loss, arrays)
            t = tensorflow.cast(step, tensorflow.float32)
            rate = section.learning_rate * tensorflow.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
            m = [BETA_1 * old + (1 - BETA_1) * new for old, new in zip(first_moments, gradients)]
            v = [BETA_2 * old + (1 - BETA_2) * new * new for old, new in zip(second_moments, gradients)]
            arrays = [a - rate * x / (tensorflow.sqrt(y) + EPSILON) for a, x, y in zip(arrays, m, v)]
            return step + 1, arrays, m, v

        state = (first, [v + 0 for v in variables], [m + 0 for m in moments[0]], [m + 0 for m in moments[1]])
        _, a, m, v = tensorflow.while_loop(lambda step, *_: step < first + count, body, state)
        for variable, value in zip([*variables, *moments[0], *moments[1]], [*a, *m, *v]):
            variable.assign(value)
        logits = forward(variables, features)
        right = tensorflow.argmax(logits, axis=1, output_type=target.dtype) == target
        return loss_of(variables), tensorflow.reduce_mean(tensorflow.cast(right, tensorflow.float64))

    done = 0
    while done < section.steps:
        count = min(BAR_STEPS, section.report_every - done % section.report_every, section.steps - done)
        loss, accuracy = some_steps(tensorflow.constant(done + 1), tensorflow.constant(count))
        done += count
        yield done, float(loss), float(accuracy), [variable.numpy() for variable in variables]


def _outputs(task: str, logits: Any) -> dict[str, Any]:
    """The task's outputs as tensors."""
    tensorflow = tf.load()
    if task != "direction":
        raise ValueError(task)
    return {
        "prediction": tensorflow.argmax(logits, axis=1, output_type=tensorflow.int64),
        "probability": tensorflow.nn.softmax(tensorflow.cast(logits, tensorflow.float64)),
    }


def predict(model: Network, features: Array) -> Outputs:
    """Outputs for float32 [rows, in]."""
    outputs = _outputs(model.task, forward(model.arrays, tf.load().constant(features)))
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def save(model: Network, folder: Path) -> None:
    """One .npz file."""
    np.savez(folder / "network.npz", task=np.array(model.task), *model.arrays)


def load(folder: Path) -> Network:
    """Read what `save` wrote."""
    with np.load(folder / "network.npz") as saved:
        arrays = tuple(saved[f"arr_{number}"] for number in range(len(saved.files) - 1))
        return Network(str(saved["task"]), arrays)


def servable(model: Network) -> Callable[[Any], dict[str, Any]]:
    """The network as a tf.Module that owns its variables."""
    tensorflow = tf.load()

    class Module(tensorflow.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.arrays = [tensorflow.Variable(array, trainable=False) for array in model.arrays]

        def __call__(self, predictors: Any) -> dict[str, Any]:
            return _outputs(model.task, forward(self.arrays, predictors))

    module: Callable[[Any], dict[str, Any]] = Module()
    return module
