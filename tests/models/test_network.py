from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from tapeline import lookup
from tapeline import tensorflow as tf
from tapeline.errors import Refused
from tapeline.lookup import configure as compose
from tapeline.models import Rows, Training, deep, flat
from tapeline.models.network import dense as network

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(200, 5)).astype(np.float32)
UP = (FEATURES[:, 0] + FEATURES[:, 1] < 0).astype(np.int64)

DEEP, DEEP_KEYS = deep.Section, compose(["model=deep"]).model.model_dump()


def section(*overrides: str) -> flat.Section:
    found = compose(["model=flat", "model.report_every=30", "model.learning_rate=0.01", *overrides]).model
    assert isinstance(found, flat.Section)
    return found


def training(
    task: str = "direction", seed: int = 0, seen: list[int] | None = None, *, missing: bool = False
) -> Training:
    def report(step: int, score: float) -> None:
        if seen is not None:
            seen.append(step)

    return Training(lookup.task(task), seed, report, missing_features=missing)


def adam(features: np.ndarray, target: np.ndarray, steps: int, record: flat.Section) -> np.ndarray:
    """The same training in plain numpy, float64: softmax layer, TensorFlow 1's Adam."""
    weights, bias = (each.astype(float) for each in network.initial([features.shape[1], 2], record, 0))
    moments = [np.zeros_like(each) for each in (weights, bias, weights, bias)]
    onehot = np.eye(2)[target]
    for step in range(1, steps + 1):
        logits = features @ weights + bias
        share = np.exp(logits - logits.max(1, keepdims=True))
        error = share / share.sum(1, keepdims=True) - onehot
        rate = record.learning_rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        for i, (value, gradient) in enumerate(((weights, features.T @ error), (bias, error.sum(0)))):
            moments[i] = 0.9 * moments[i] + 0.1 * gradient
            moments[i + 2] = 0.999 * moments[i + 2] + 0.001 * gradient**2
            value -= rate * moments[i] / (np.sqrt(moments[i + 2]) + 1e-8)
    return weights


def test_the_loop_is_adam() -> None:
    record = section("model.steps=90")
    model, trace = flat.fit(record, Rows(FEATURES, UP), None, training())
    np.testing.assert_allclose(model.arrays[0], adam(FEATURES, UP, 90, record), atol=1e-5)
    assert [point.step for point in trace] == [30, 60, 90]
    assert trace[-1].score == np.mean(flat.predict(model, FEATURES)["prediction"] == UP)


def test_what_is_saved_is_the_same_bytes_in_every_python(tmp_path: Path) -> None:
    """Up to 3.11.3, zipfile notes another version than later ones for what np.savez writes."""
    model = network.Network(lookup.task("direction"), (FEATURES[:5, :2], np.zeros(2, np.float32)))
    network.save(model, tmp_path)
    with zipfile.ZipFile(tmp_path / "network.npz") as archive:
        record = [(each.filename, each.create_version, each.extract_version, each.extra) for each in archive.infolist()]
    assert record == [(f"{name}.npy", 20, 20, b"") for name in ("task", "array_0", "array_1")]
    again = network.load(tmp_path, lookup.task("direction"))
    assert again.task == model.task
    assert all(map(np.array_equal, again.arrays, model.arrays))


def test_the_last_point_of_a_trace_is_the_last_step() -> None:
    seen: list[int] = []
    _, trace = flat.fit(section("model.steps=70"), Rows(FEATURES, UP), None, training(seen=seen))
    assert [point.step for point in trace] == [30, 60, 70]
    assert seen == [30, 60, 70]


def test_layers_learn_what_a_line_cannot() -> None:
    xor = ((FEATURES[:, 0] > 0) != (FEATURES[:, 1] > 0)).astype(np.int64)
    keys = ["model=deep", "model.hidden=[16]", "model.steps=600", "model.report_every=600", "model.initial_sd=0.5"]
    record = compose([*keys, "model.learning_rate=0.02"]).model
    assert isinstance(record, deep.Section)
    _, trace = deep.fit(record, Rows(FEATURES, xor), None, training())
    assert trace[-1].score > 0.95


def test_a_regression_leaves_out_missing_labels() -> None:
    target = np.stack([FEATURES @ [1, 2, 0, 0, 0], FEATURES @ [0, 0, 3, 0, 1]], axis=1)
    target[::3, 0] = np.nan
    model, trace = flat.fit(
        section("model.steps=2000", "model.learning_rate=0.05"), Rows(FEATURES, target), None, training("regression")
    )
    assert trace[-1].score < 0.01
    outputs = flat.predict(model, FEATURES)
    assert set(outputs) == {"prediction"}
    np.testing.assert_allclose(outputs["prediction"][1], target[1], atol=0.05)


def test_a_seed_repeats_and_another_differs() -> None:
    record = section("model.steps=30")
    first, again, other = (
        flat.fit(record, Rows(FEATURES, UP), None, training(seed=seed))[0].arrays[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_initial_weights_are_cut_at_two_sd_and_biases_constant() -> None:
    weights, bias, *_ = network.initial([200, 50, 2], section(), 0)
    assert np.abs(weights).max() <= 2e-4
    assert weights.std() == pytest.approx(0.88e-4, rel=0.05)
    assert bias.tolist() == [1.0] * 50


def test_a_divergence_is_refused_with_its_step() -> None:
    record = section("model.steps=60", "model.learning_rate=1e38")
    with pytest.raises(Refused, match="the training diverged by step 30"):
        flat.fit(record, Rows(FEATURES, UP), None, training())


def test_what_is_saved_is_read_back_and_the_same_bytes(tmp_path: Path) -> None:
    model, _ = flat.fit(section("model.steps=30"), Rows(FEATURES, UP), None, training())
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        flat.save(model, tmp_path / name)
    assert (tmp_path / "a" / "network.npz").read_bytes() == (tmp_path / "b" / "network.npz").read_bytes()
    read = flat.load(tmp_path / "a", lookup.task("direction"))
    for name, values in flat.predict(model, FEATURES).items():
        np.testing.assert_array_equal(values, flat.predict(read, FEATURES)[name])


def test_validation_rows_train_nothing() -> None:
    rows = Rows(FEATURES[:150], UP[:150])
    held, none = (
        flat.fit(section("model.steps=30"), rows, each, training())[0].arrays[0]
        for each in (Rows(FEATURES[150:], UP[150:]), None)
    )
    np.testing.assert_array_equal(held, none)


def with_gaps() -> tuple[np.ndarray, np.ndarray]:
    """Features on scales far from 0 and 1, two of them with gaps, and a target that a gap moves by 2."""
    scale, middle = (np.array(each, np.float32) for each in ([1, 1000, 0.001, 1, 1], [0, 5000, 0, 0, 7]))
    features = FEATURES * scale + middle
    features[::4, 1] = np.nan
    features[1::5, 3] = np.inf
    target = FEATURES @ [1, 0, 1, 0, 0] + 2 * np.isnan(features[:, 1])
    features[:, 4] = 7
    return features, target


def test_a_missing_feature_is_the_mean_and_has_an_indicator(tmp_path: Path) -> None:
    features, target = with_gaps()
    record = section("model.steps=1500", "model.report_every=1500", "model.learning_rate=0.02")
    model, trace = flat.fit(record, Rows(features, target), None, training("regression", missing=True))
    assert trace[-1].score < 0.05
    assert model.scaling is not None
    assert model.scaling.indicators.tolist() == [1, 3]
    known = features[np.isfinite(features[:, 1]), 1]
    assert model.scaling.mean[1] == pytest.approx(known.mean())
    assert model.scaling.sd[1] == pytest.approx(known.std())
    assert (model.scaling.mean[4], model.scaling.sd[4]) == (7, 1)
    assert model.arrays[0].shape == (7, 1)
    flat.save(model, tmp_path)
    read = flat.load(tmp_path, lookup.task("regression"))
    served = flat.servable(model)(tf.load().constant(features))["prediction"].numpy()
    predicted = flat.predict(model, features)["prediction"]
    np.testing.assert_array_equal(flat.predict(read, features)["prediction"], predicted)
    np.testing.assert_allclose(served, predicted, rtol=1e-6)


def test_the_scaling_sees_train_rows_only() -> None:
    features, target = with_gaps()
    record, rows = section("model.steps=30"), Rows(features[:100], target[:100])
    first, other = (
        flat.fit(record, rows, Rows(held, target[100:]), training("regression", missing=True))[0]
        for held in (features[100:], features[100:] * 3)
    )
    assert first.scaling is not None
    assert other.scaling is not None
    np.testing.assert_array_equal(first.scaling.mean, other.scaling.mean)


def test_features_of_a_dataset_without_missing_ones_are_taken_as_they_are() -> None:
    model, _ = flat.fit(section("model.steps=30"), Rows(FEATURES, UP), None, training())
    assert model.scaling is None


@pytest.mark.parametrize(
    ("first", "decay", "depth", "widths"),
    [(256, 0.7, 3, (256, 179, 125)), (50, 0.1, 15, (50, 5, *[2] * 13)), (8, 1, 4, (8, 8, 8, 8)), (1, 0.5, 1, (2,))],
)
def test_widths_follow_from_the_first_layer_decay_and_depth(
    first: int, decay: float, depth: int, widths: tuple[int, ...]
) -> None:
    shape = {"hidden": None, "first": first, "decay": float(decay), "depth": depth}
    record = DEEP.model_validate({**DEEP_KEYS, **shape})
    assert record.widths == widths


def test_layers_have_these_widths() -> None:
    shape = {"hidden": None, "first": 8, "decay": 0.5, "depth": 3, "steps": 2, "report_every": 2}
    model, _ = deep.fit(DEEP.model_validate({**DEEP_KEYS, **shape}), Rows(FEATURES, UP), None, training())
    assert [each.shape[1] for each in model.arrays[::2]] == [8, 4, 2, 2]


@pytest.mark.parametrize(
    ("keys", "where", "fix"),
    [
        (["model.first=8", "model.decay=0.5", "model.depth=2"], "model.hidden=[50, 25]", "set model.hidden=null"),
        (["model.depth=2"], "model.hidden=[50, 25]", "leave out model.depth"),
        (["model.hidden=null"], "model.first, model.decay, model.depth", "model.first=256"),
        (["model.hidden=null", "model.first=8", "model.decay=0.5"], "model.depth", "model.depth=3"),
        (["model.hidden=null", "model.first=8", "model.decay=1.5", "model.depth=1"], "model.decay=1.5", ""),
        (["model.hidden=[]"], "model.hidden=[]", ""),
    ],
)
def test_the_shape_is_set_in_one_way(keys: list[str], where: str, fix: str) -> None:
    with pytest.raises(Refused) as refused:
        compose(["model=deep", *keys])
    (finding,) = refused.value.findings
    assert finding.where == where
    assert fix in finding.fix
