"""The convolutional family: labels that are missing, images that move with their labels, heads and normalisations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline import lookup
from tapeline import tensorflow as tf
from tapeline.datasets import faces
from tapeline.datasets.faces.shape import LABELS, SIDE
from tapeline.errors import Refused
from tapeline.models import Rows, Training, conv, flat
from tapeline.models.conv import augmentation, family, layers
from tapeline.models.conv.augmentation import Changes
from tapeline.models.network.together import ALONE
from tapeline.tasks import keypoints
from tests.faces import pixels

Array = np.ndarray[Any, Any]
FRAME = faces.simulate(0, 16)
IMAGES = pixels(FRAME)
TARGET = FRAME.select(LABELS).to_numpy()
SMALL = ["dataset=faces", "model=conv", "model.widths=[4,8]", "model.batch_rows=8", "model.patience=null"]
STEPS = ["model.steps=4", "model.report_every=2"]
STILL = ["model.flips=false", "model.shifts=0", "model.turns=0", "model.zooms=0", "model.dropout=0"]


def section(*overrides: str) -> conv.Section:
    found = lookup.configure([*SMALL, *STEPS, *overrides]).model
    assert isinstance(found, conv.Section)
    return found


def training(seed: int = 0, **more: Any) -> Training:
    return Training(lookup.task("keypoints"), seed, lambda *_: None, outputs=LABELS, **more)


def fit(*overrides: str, images: Array = IMAGES, target: Array = TARGET, **more: Any) -> Any:
    return conv.fit(section(*overrides), Rows(images, target), None, training(**more))[0]


@pytest.mark.parametrize(
    "keys",
    [
        ["model.head=heatmap", "model.normalisation=batch"],
        ["model.head=flat", "model.normalisation=group", "model.hidden=6", "model.convolutions=2"],
        ["model.head=global", "model.normalisation=none", "model.mirror_average=false", "model.rate=constant"],
    ],
    ids=["heatmap, batch", "flat, group", "global, none"],
)
def test_what_is_trained_is_saved_loaded_and_served(keys: list[str], tmp_path: Path) -> None:
    model = fit(*keys)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        conv.save(model, tmp_path / name)
    assert (tmp_path / "a" / "network.npz").read_bytes() == (tmp_path / "b" / "network.npz").read_bytes()
    read = conv.load(tmp_path / "a", lookup.task("keypoints"))
    answer = conv.predict(model, IMAGES)["prediction"]
    assert answer.shape == (16, 30)
    np.testing.assert_array_equal(conv.predict(read, IMAGES)["prediction"], answer)
    served = conv.servable(read)(tf.load().constant(IMAGES.astype(np.float32)))["prediction"]
    np.testing.assert_allclose(served, answer, atol=1e-4)


def test_it_learns_faces() -> None:
    keys = ["model.widths=[8,16,16]", "model.steps=100", "model.report_every=100", "model.learning_rate=0.01", *STILL]
    answer = conv.predict(fit(*keys), IMAGES)["prediction"]
    (mean,) = keypoints.baselines(TARGET, None, 16).values()
    scores = [keypoints.score({"target": TARGET, "prediction": each})["rmse"] for each in (answer, mean)]
    assert scores[0] < 0.7 * scores[1]


def test_answers_begin_at_the_mean_of_the_labels() -> None:
    shape = layers.Shape(SIDE, 30, (4, 8), 1, "none", "flat", 0, 0.0)
    mean = np.linspace(-0.5, 0.5, 30)
    weights, statistics = layers.initial(shape, 0, mean)
    values, _ = layers.forward(shape, weights, statistics, IMAGES.astype(np.float32)[..., None], None, None)
    np.testing.assert_allclose(np.mean(values, axis=0), mean, atol=0.15)


def test_a_missing_label_moves_no_weight() -> None:
    """Rows without labels of a point train as rows whose answers have no error there: the gradient is zero."""
    record, about = section(*STILL, "model.normalisation=none"), training()
    shape = family._shape(record, SIDE, 30)
    weights, statistics = layers.initial(shape, 0, np.zeros(30))
    loss, outputs = family._functions(record, shape, about, ALONE, 4)
    tensorflow = tf.load()
    target = keypoints.encode(TARGET[:4])

    def gradients(target: Array) -> list[Array]:
        variables = [tensorflow.constant(each) for each in weights]
        with tensorflow.GradientTape() as tape:
            tape.watch(variables)
            value, _ = loss(variables, statistics, tensorflow.constant(IMAGES[:4]), target, 0)
        return [each.numpy() for each in tape.gradient(value, variables)]

    none = gradients(np.full_like(target, np.nan))
    assert not any(each.any() for each in none)
    known, missing = np.isfinite(target), target.copy()
    missing[:, 0] = np.nan
    exact = np.where(known, target, np.nan)
    exact[:, 0] = outputs(weights, statistics, IMAGES[:4]).numpy()[:, 0]
    for without, right in zip(gradients(missing), gradients(exact), strict=True):
        np.testing.assert_allclose(without, right, atol=1e-6)


def drawn(changes: Changes, rows: int, step: int = 0) -> tuple[Array, Array, Array]:
    matrix, shift, mirrored = augmentation.drawn(changes, rows, SIDE, 0, step)
    return np.asarray(matrix), np.asarray(shift), np.asarray(mirrored)


def test_flips_mirror_images_exactly() -> None:
    matrix, shift, mirrored = drawn(Changes(True, 0, 0, 0), 16)
    assert 0 < mirrored.sum() < 16
    moved = np.asarray(augmentation.moved(IMAGES.astype(np.float32)[..., None], matrix, shift))[..., 0]
    np.testing.assert_allclose(moved[mirrored], IMAGES[mirrored][:, :, ::-1], atol=1e-3)
    np.testing.assert_allclose(moved[~mirrored], IMAGES[~mirrored], atol=1e-3)


def test_labels_follow_the_image() -> None:
    """A white dot is found at the place to which its label moves."""
    matrix, shift, mirrored = drawn(Changes(True, 6, 15, 0.15), 40)
    places = np.random.default_rng(0).integers(25, 70, (40, 2))
    images = np.zeros((40, SIDE, SIDE, 1), np.float32)
    for image, (x, y) in zip(images, places, strict=True):
        image[y - 1 : y + 2, x - 1 : x + 2] = 255
    moved = np.asarray(augmentation.moved(images, matrix, shift))[..., 0]
    target = keypoints.encode(places + 0.5)
    found = np.asarray(keypoints.moved(tf.load(), target, matrix, shift, mirrored, (0, 1))) * 48 + 48
    grid = np.arange(SIDE) + 0.5
    seen = np.stack([(moved.sum(axis=axis) * grid).sum(axis=1) / moved.sum(axis=(1, 2)) for axis in (1, 2)], axis=1)
    np.testing.assert_allclose(seen, found, atol=0.3)
    assert np.abs(found - places).max() > 5


def test_draws_depend_on_seed_and_step_alone() -> None:
    changes = Changes(True, 6, 15, 0.15)
    first, again, other = (drawn(changes, 8, step) for step in (3, 3, 4))
    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first[0], other[0])
    matrix, shift, _ = drawn(Changes(False, 5, 0, 0), 200)
    np.testing.assert_allclose(matrix, np.tile(np.eye(2), (200, 1, 1)))
    assert 4 < np.abs(shift).max() * SIDE / 2 <= 5


def test_the_answer_to_a_mirror_image_is_the_mirrored_answer() -> None:
    model = fit("model.mirror_average=true")
    answer, other = (conv.predict(model, each)["prediction"] for each in (IMAGES[:4], IMAGES[:4, :, ::-1]))
    order = keypoints.mirrored(LABELS)
    mirrored = np.asarray(keypoints.mirror(tf.load(), keypoints.encode(other), order)) * 48 + 48
    np.testing.assert_allclose(answer, mirrored, atol=1e-3)


def test_batch_normalisation_follows_the_batches() -> None:
    model = fit(*STILL)
    shape, features = model.shape, IMAGES.astype(np.float32)[..., None]
    assert not np.array_equal(model.statistics[0], np.zeros(4))
    draw = layers.Draw(0, tf.load().constant(0))
    _, renewed = layers.forward(shape, model.weights, model.statistics, features, draw, None)
    drift = np.abs(np.asarray(renewed[0]) - model.statistics[0])
    assert (drift <= 0.05 * np.abs(model.statistics[0]) + 0.05).all()


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_precision_trains_nearly_the_same(half: str) -> None:
    whole = conv.predict(fit(*STILL), IMAGES)["prediction"]
    other = conv.predict(fit(*STILL, half=half), IMAGES)["prediction"]
    assert not np.array_equal(other, whole)
    assert np.abs(other - whole).mean() < 1.5


def test_epochs_and_steps_end_the_training_whichever_is_first() -> None:
    _, trace = conv.fit(section("model.epochs=1"), Rows(IMAGES, TARGET), None, training())
    assert trace[-1].step == 2
    assert section("model.patience=3", "model.epochs=9").fixed(7).epochs is None


def test_a_seed_repeats_with_every_random_part() -> None:
    first, again = (fit("model.dropout=0.3").weights for _ in range(2))
    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first[0], fit("model.dropout=0.3", seed=1).weights[0])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["model.widths=[2,2,2,2,2,2]"], r"model.widths: .* list fewer widths"),
        (["model.head=heatmap", "model.hidden=8"], r"model.hidden=8: the head heatmap has no such layer"),
    ],
)
def test_what_cannot_be_built_is_refused(keys: list[str], said: str) -> None:
    with pytest.raises(Refused, match=said):
        fit(*keys)


def test_families_say_what_they_take() -> None:
    images, numbers = faces.SPEC, lookup.spec("indices")
    assert conv.supports(images) is None
    assert flat.supports(images) is None
    refused = conv.supports(numbers)
    assert refused is not None
    assert "square images" in refused.problem


def test_dense_layers_take_grey_values_as_shares_of_white() -> None:
    keys = ["dataset=faces", "model=flat", "model.batch_rows=8", "model.initial_sd=0.0001", *STEPS]
    record: Any = lookup.configure(keys).model
    model, _ = flat.fit(record, Rows(IMAGES, TARGET), None, training())
    by_hand = IMAGES.reshape(16, -1) / 255 @ model.arrays[0] + model.arrays[1]
    np.testing.assert_allclose(flat.predict(model, IMAGES)["prediction"], by_hand * 48 + 48, atol=1e-3)
