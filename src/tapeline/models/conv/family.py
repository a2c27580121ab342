"""The convolutional family: keys, training by mini-batches with changed images, files and servable.

tapeline run experiment=faces_conv
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from tapeline import tensorflow as tf
from tapeline.config import schema
from tapeline.errors import Finding, refuse
from tapeline.models import Outputs, Point, Rows, Training
from tapeline.models.conv import augmentation, layers
from tapeline.models.conv.augmentation import Changes
from tapeline.models.conv.layers import Draw, Shape
from tapeline.models.network import minibatch, storage, together
from tapeline.models.network.minibatch import Learner, Plan
from tapeline.models.network.together import Part
from tapeline.tables.spec import Array, Spec
from tapeline.tasks import Task

FLOAT16_SCALE = 1024.0
"""Of the loss: float16 has no gradients below 6e-8."""
Positive = Annotated[int, Field(ge=1)]


class Section(schema.Model):
    """The keys of `model=conv`."""

    widths: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)]
    """Channels of each block; each block halves both sides of the image."""
    convolutions: Annotated[int, Field(ge=1, le=8)]
    """Of each block."""
    normalisation: Literal["batch", "group", "none"]
    head: Literal["heatmap", "flat", "global"]
    """How places become answers: as the mean place on a map of each point, by a layer over all, or by means."""
    hidden: Annotated[int, Field(ge=0)]
    """Width of a ReLU layer before the last one; 0: none. Of the heads flat and global."""
    dropout: Annotated[float, Field(ge=0, lt=1)]
    flips: bool
    """Half of the images of each step are mirrored, and the labels of left and right change places."""
    shifts: Annotated[float, Field(ge=0, le=1e38)]
    """Pixels to each side, at most."""
    turns: Annotated[float, Field(ge=0, le=180)]
    """Degrees to each side, at most."""
    zooms: Annotated[float, Field(ge=0, le=1)]
    """0.1: from 1 / 1.1 to 1.1 times."""
    mirror_average: bool
    """Answers are the mean of those to an image and to its mirror image."""
    batch_rows: Positive
    epochs: Positive | None
    """Passes over the train rows; null: model.steps alone. What is reached first ends the training."""
    patience: Positive | None
    """Points of the trace in a row without a lower loss on the validation rows, after which training ends."""
    learning_rate: Annotated[float, Field(gt=0, le=1e38)]
    rate: Literal["cosine", "constant"]
    """The learning rate falls to 0 as half a cosine, or stays."""
    weight_decay: Annotated[float, Field(ge=0, le=1e38)]

    @model_validator(mode="after")
    def _fit_together(self) -> Section:
        if self.head == "heatmap" and self.hidden:
            raise refuse(f"model.hidden={self.hidden}", "the head heatmap has no such layer", "set model.hidden=0")
        return self

    @property
    def validation_share(self) -> float:
        """Share of the train rows kept for early stopping; 0 without it."""
        return 0.0 if self.patience is None else minibatch.VALIDATION

    def fixed(self, steps: int) -> Section:
        """Without early stopping, too."""
        return self.model_copy(update={"steps": steps, "epochs": None, "patience": None})


@dataclass(frozen=True)
class Network:
    """A trained network."""

    task: Task
    shape: Shape
    mirrored: tuple[int, ...] | None
    """The order of a mirror image's targets, where answers are averaged with those to it."""
    weights: tuple[Array, ...]
    statistics: tuple[Array, ...]


WORKERS = "batches"


def supports(spec: Spec) -> Finding | None:
    """Any number of outputs, of square images; missing labels are left out of the loss."""
    if spec.feature_shape is None or len(spec.feature_shape) != 2 or len(set(spec.feature_shape)) != 1:
        features = "numbers" if spec.feature_shape is None else f"arrays of shape {spec.feature_shape}"
        problem = f"convolutions take square images, and the features of this dataset are {features}"
        return Finding("model.family", problem, "choose model=deep")
    return None


def fit(section: Section, train: Rows, validation: Rows | None, training: Training) -> tuple[Network, list[Point]]:
    """Train by mini-batches.

    Raises:
        Refused: there are more blocks than halvings of the image, or workers than rows of a batch, or as
            `minibatch.train`.
        Lost: another worker is gone.
    """
    batch = min(section.batch_rows, len(train.target))
    if training.machines and (number := len(training.machines.addresses)) > batch:
        raise refuse(
            f"hw.workers={number}", f"a step has {batch} rows", f"set model.batch_rows={number}, or fewer workers"
        )
    with together.errors(training.machines):
        return _fit(section, train, validation, training, together.of(training.machines))


def _fit(
    section: Section, train: Rows, validation: Rows | None, training: Training, part: Part
) -> tuple[Network, list[Point]]:
    target = training.task.encode(train.target)
    shape = _shape(section, train.features.shape[1], target.shape[1])
    known = np.isfinite(target)
    mean = np.where(known, target, 0).sum(axis=0, dtype=np.float64) / np.maximum(known.sum(axis=0), 1)
    weights, statistics = layers.initial(shape, training.seed, mean)
    batch = min(section.batch_rows, len(target))
    learner = Learner(weights, statistics, *_functions(section, shape, training, part, batch))
    steps = section.steps
    if section.epochs is not None:
        steps = min(steps, math.ceil(section.epochs * len(target) / batch))
    plan = Plan(
        batch_rows=section.batch_rows,
        steps=steps,
        report_every=section.report_every,
        learning_rate=section.learning_rate,
        cosine=section.rate == "cosine",
        weight_decay=section.weight_decay,
        patience=section.patience,
        loss_scale=FLOAT16_SCALE if training.half == "float16" else 1.0,
        xla=False,  # TensorFlow's own convolutions are several times as fast on a CPU
        part=part,
    )
    mirrored = _mirrored(training) if section.mirror_average else None

    def model(learner: Learner) -> Network:
        return Network(training.task, shape, mirrored, learner.weights, learner.statistics)

    trained, trace = minibatch.train(learner, train, validation, plan, training, model)
    return model(trained), trace


def _shape(section: Section, side: int, outputs: int) -> Shape:
    if side >> len(section.widths) < 2:
        problem = f"{len(section.widths)} blocks halve a side of {side} pixels to less than 2"
        raise refuse("model.widths", problem, "list fewer widths, as in model.widths=[16,32,64]")
    if section.head == "heatmap" and outputs % 2:
        problem = f"needs x and y of each point, and there are {outputs} outputs"
        raise refuse("model.head=heatmap", problem, "set model.head=flat")
    same = ("widths", "convolutions", "normalisation", "head", "hidden", "dropout")
    return Shape(side, outputs, **{name: getattr(section, name) for name in same})


def _mirrored(training: Training) -> tuple[int, ...]:
    order = getattr(training.task, "mirrored", None)
    return order(training.outputs) if order else tuple(range(len(training.outputs)))


def _functions(section: Section, shape: Shape, training: Training, part: Part, batch: int) -> tuple[Any, Any]:
    """Loss and outputs of a Learner."""
    tensorflow = tf.load()
    loss_of = training.task.loss(tensorflow)
    changes = Changes(section.flips, section.shifts, section.turns, section.zooms)
    follow = getattr(training.task, "moved", None)
    order = _mirrored(training)

    def loss(weights: Any, statistics: Any, features: Any, target: Any, step: Any) -> tuple[Any, Any]:
        images = _as_images(features)
        if not changes.none:
            rows = tensorflow.shape(images)[0] if part.workers == 1 else batch
            moves = augmentation.drawn(changes, rows, shape.side, training.seed, step)
            matrix, shift, mirrored = moves if part.workers == 1 else (each[part.rows] for each in moves)
            images = augmentation.moved(images, matrix, shift)
            target = follow(tensorflow, target, matrix, shift, mirrored, order) if follow else target
        draw = Draw(training.seed, step, batch, part)
        answers, renewed = layers.forward(shape, weights, statistics, images, draw, training.half)
        return loss_of(answers, target), renewed

    def outputs(weights: Any, statistics: Any, features: Any) -> Any:
        return layers.forward(shape, weights, statistics, _as_images(features), None, None)[0]

    return loss, outputs


def _as_images(features: Any) -> Any:
    """float32 [rows, side, side, 1] of [rows, side, side]."""
    return tf.load().cast(features, "float32")[..., None]


def _answers(model: Network, weights: Any, statistics: Any, features: Any) -> dict[str, Any]:
    """The servable's outputs."""
    tensorflow = tf.load()
    images = _as_images(features)
    values = layers.forward(model.shape, weights, statistics, images, None, None)[0]
    if model.mirrored is not None:
        turned = layers.forward(model.shape, weights, statistics, tensorflow.reverse(images, [2]), None, None)[0]
        values = (values + model.task.mirror(tensorflow, turned, model.mirrored)) / 2  # type: ignore[attr-defined]
    return model.task.outputs(tensorflow, values)


def predict(model: Network, features: Array) -> Outputs:
    """Outputs for images [rows, side, side]."""
    tensorflow = tf.load()
    weights, statistics = ([tensorflow.constant(each) for each in part] for part in (model.weights, model.statistics))
    parts = [_answers(model, weights, statistics, each) for each in minibatch.portions(features)]
    return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}


def save(model: Network, folder: Path) -> None:
    """One .npz file, whose bytes follow from the network alone."""
    about = {"task": model.task.__name__.rpartition(".")[2], "shape": asdict(model.shape), "mirrored": model.mirrored}
    arrays = {f"weights_{number}": each for number, each in enumerate(model.weights)}
    arrays |= {f"statistics_{number}": each for number, each in enumerate(model.statistics)}
    storage.write(folder / "network.npz", {"about": np.array(json.dumps(about)), **arrays})


def load(folder: Path, task: Task) -> Network:
    """Read what `save` wrote."""
    saved = storage.read(folder / "network.npz")
    about = json.loads(str(saved.pop("about")))
    shape = Shape(**{**about["shape"], "widths": tuple(about["shape"]["widths"])})
    weights, statistics = (
        tuple(each for name, each in saved.items() if name.startswith(part)) for part in ("weights", "statistics")
    )
    mirrored = None if about["mirrored"] is None else tuple(about["mirrored"])
    return Network(task, shape, mirrored, weights, statistics)


def servable(model: Network) -> Callable[[Any], dict[str, Any]]:
    """The network as a tf.Module that owns its variables."""
    tensorflow = tf.load()

    class Module(tensorflow.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.weights = [tensorflow.Variable(each, trainable=False) for each in model.weights]
            self.statistics = [tensorflow.Variable(each, trainable=False) for each in model.statistics]

        def __call__(self, predictors: Any) -> dict[str, Any]:
            return _answers(model, self.weights, self.statistics, predictors)

    module: Callable[[Any], dict[str, Any]] = Module()
    return module
