"""The loop of mini-batches: Adam in the order of a seeded shuffle, early stopping that restores the best weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tapeline import lookup
from tapeline import tensorflow as tf
from tapeline.errors import Refused
from tapeline.models import Rows, Training, deep, flat
from tapeline.models.network import dense, minibatch
from tapeline.models.network.minibatch import Learner, Plan
from tapeline.tasks import regression

Array = np.ndarray[Any, Any]
RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(90, 4)).astype(np.float32)
TARGET = FEATURES @ [1.0, -2, 0.5, 0] + 0.3
BATCHES = ["model=flat", "model.batch_rows=16", "model.report_every=20", "model.learning_rate=0.05", "model.steps=60"]


def section(*overrides: str) -> Any:
    return lookup.configure([*BATCHES, *overrides]).model


def training(seed: int = 0, **more: Any) -> Training:
    return Training(lookup.task("regression"), seed, lambda *_: None, **more)


def fit(*overrides: str, rows: Rows | None = None, validation: Rows | None = None, seed: int = 0) -> Any:
    return flat.fit(section(*overrides), rows or Rows(FEATURES, TARGET), validation, training(seed))


def by_hand(steps: int) -> list[Array]:
    """The same in plain numpy, float64."""
    shown = section()
    weights = [each.astype(float) for each in dense.initial([4, 1], shown, 0)]
    means, squares = ([np.zeros_like(each) for each in weights] for _ in range(2))
    random, left = np.random.default_rng(0), np.empty(0, np.int64)
    for step in range(1, steps + 1):
        if len(left) < 16:
            left = np.concatenate([left, random.permutation(90)])
        rows, left = np.sort(left[:16]), left[16:]
        gap = 2 * (FEATURES[rows] @ weights[0] + weights[1] - TARGET[rows, None])
        rate = shown.learning_rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        for at, gradient in enumerate((FEATURES[rows].T @ gap, gap.sum(0))):
            means[at] = 0.9 * means[at] + 0.1 * gradient
            squares[at] = 0.999 * squares[at] + 0.001 * gradient**2
            weights[at] -= rate * means[at] / (np.sqrt(squares[at]) + 1e-8)
    return weights


def test_a_step_is_adam_on_the_next_rows_of_a_seeded_shuffle() -> None:
    model, trace = fit()
    for ours, theirs in zip(model.arrays, by_hand(60), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert [point.step for point in trace] == [20, 40, 60]
    gap = flat.predict(model, FEATURES)["prediction"][:, 0] - TARGET
    assert trace[-1].score == pytest.approx(np.sqrt(np.mean(gap**2)), rel=1e-4)


@pytest.mark.long
def test_a_call_makes_as_many_steps_as_fit_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit("model.steps=40")[0].arrays[0]
    monkeypatch.setattr(minibatch, "CALL_BYTES", 1)
    np.testing.assert_allclose(fit("model.steps=40")[0].arrays[0], whole, atol=1e-6)


def test_a_seed_repeats_and_another_differs() -> None:
    first, again, other = (fit(seed=seed)[0].arrays[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_memory_map_trains_as_an_array_does(tmp_path: Any) -> None:
    mapped = np.memmap(tmp_path / "features", np.float32, "w+", shape=FEATURES.shape)
    mapped[:] = FEATURES
    np.testing.assert_array_equal(fit(rows=Rows(mapped, TARGET))[0].arrays[0], fit()[0].arrays[0])


def test_patience_stops_and_restores_the_best_weights() -> None:
    """Validation rows whose targets lie where the first steps pass by: later steps are worse."""
    start = fit("model.steps=20", "model.report_every=5")[0]
    passed = flat.predict(start, FEATURES[:30])["prediction"]
    held = Rows(FEATURES[:30], passed)
    keys = ["model.steps=400", "model.report_every=5", "model.patience=3"]
    seen: list[int] = []
    shown = section(*keys)
    record = Training(lookup.task("regression"), 0, lambda step, _: seen.append(step))
    model, trace = flat.fit(shown, Rows(FEATURES, TARGET), held, record)
    assert (trace[-1].step, seen[-1]) == (20, 35)
    held_back = [point.validation or 0.0 for point in trace]
    assert held_back == sorted(held_back, reverse=True)
    np.testing.assert_allclose(model.arrays[0], start.arrays[0], atol=1e-6)
    assert flat.fit(shown, Rows(FEATURES, TARGET), Rows(FEATURES, TARGET), record)[1][-1].step > 50


def test_without_patience_validation_rows_are_only_scored() -> None:
    held, none = (fit(validation=each) for each in (Rows(FEATURES, TARGET * 2), None))
    np.testing.assert_array_equal(held[0].arrays[0], none[0].arrays[0])
    assert all(point.validation > point.score for point in held[1])
    assert "validation" not in none[1][0].record()


@pytest.mark.parametrize("validation", [None, Rows(FEATURES, np.full(90, np.nan))])
def test_patience_needs_labels_of_validation_rows(validation: Rows | None) -> None:
    with pytest.raises(Refused, match=r"model.patience=2: no validation row has a label"):
        fit("model.patience=2", validation=validation)


def test_patience_needs_mini_batches() -> None:
    with pytest.raises(Refused, match=r"model.patience=2: .* set model.batch_rows=256"):
        lookup.configure(["model=flat", "model.patience=2"])


def test_a_divergence_is_refused() -> None:
    with pytest.raises(Refused, match=r"model.learning_rate=1e\+38: the training diverged"):
        fit("model.learning_rate=1e38")


@pytest.mark.parametrize(
    ("model", "key"),
    [
        *(("flat", key) for key in ("learning_rate", "initial_sd", "initial_bias")),
        *(("conv", key) for key in ("learning_rate", "weight_decay", "shifts")),
    ],
)
def test_a_number_that_float32_does_not_hold_is_refused(model: str, key: str) -> None:
    data = ["experiment=faces_conv"] if model == "conv" else []
    with pytest.raises(Refused, match=rf"model\.{key}=1e\+39"):
        lookup.configure([*data, f"model={model}", f"model.{key}=1e39"])


def test_rows_are_kept_for_validation_where_they_tell_when_to_stop() -> None:
    assert section().validation_share == 0
    stops = section("model.patience=2")
    assert stops.validation_share > 0
    assert (stops.fixed(7).steps, stops.fixed(7).patience) == (7, None)


def test_deep_learns_by_batches_what_a_line_cannot() -> None:
    target = np.abs(FEATURES[:, 0]) * 2
    keys = ["model=deep", "model.hidden=[16]", "model.initial_sd=0.5", "model.steps=600", "model.report_every=600"]
    _, trace = deep.fit(section(*keys, "model.learning_rate=0.01"), Rows(FEATURES, target), None, training())
    assert trace[-1].score < 0.25 < fit(rows=Rows(FEATURES, target))[1][-1].score


def test_a_search_watches_the_network_so_far() -> None:
    seen: list[tuple[int, Array]] = []
    watch = training(watch=lambda step, model: seen.append((step, model.arrays[0])))
    model, _ = flat.fit(section(), Rows(FEATURES, TARGET), None, watch)
    assert [step for step, _ in seen] == [20, 40, 60]
    np.testing.assert_array_equal(seen[-1][1], model.arrays[0])


def test_the_rate_falls_as_half_a_cosine() -> None:
    steps = minibatch.rates_of(Plan(1, 1000, 1000, 0.1, cosine=True))
    flat_rate = minibatch.rates_of(Plan(1, 1000, 1000, 0.1))
    np.testing.assert_allclose((steps / flat_rate)[[0, 500, 999]], [1, 0.5, 0], atol=1e-3)


def toy(overflows: bool) -> Learner:
    """One weight that wants to be 3; its loss overflows in the step 1 where asked."""

    def loss(weights: Any, statistics: Any, features: Any, target: Any, step: Any) -> tuple[Any, Any]:
        factor = tf.load().where((step == 1) & overflows, 1e38, 1.0)
        return tf.load().reduce_sum(factor * (weights[0] * features - target) ** 2), statistics

    return Learner((np.zeros((1, 1), np.float32),), (), loss, lambda weights, _, features: weights[0] * features)


def test_a_step_with_infinite_gradients_is_left_out_in_half_precision() -> None:
    rows = Rows(np.ones((4, 1), np.float32), np.full((4, 1), 3.0))
    plan = Plan(4, 1, 1, 0.1, loss_scale=1024.0)
    about = Training(regression, 0, lambda *_: None)
    found = [
        minibatch.train(toy(overflows), rows, None, Plan(4, steps, 2, 0.1, loss_scale=1024.0), about, lambda _: None)[0]
        for overflows, steps in ((False, 1), (False, 2))
    ]
    assert 0 < found[0].weights[0] < found[1].weights[0]
    compiled = minibatch._compiled(toy(True), plan)
    tensorflow = tf.load()
    weight = tensorflow.constant([[0.5]])
    state: Any = ([weight], [weight * 0], [weight * 0], [])
    batch = tensorflow.ones((1, 4, 1)), tensorflow.fill((1, 4, 1), 3.0)
    after, _ = compiled(tensorflow.constant(1), tensorflow.constant(1), state, tensorflow.constant([0.1, 0.1]), *batch)
    np.testing.assert_array_equal(after[0][0], weight)


def test_weights_decay_and_biases_do_not() -> None:
    plan = Plan(1, 1, 1, 1.0, weight_decay=0.1)
    zeros = [np.zeros((2, 2)), np.zeros(2)]
    weights, _, _ = minibatch._adam(([np.ones((2, 2)), np.ones(2)], zeros, zeros), zeros, 0.5, plan)
    np.testing.assert_allclose(weights[0], 0.95)
    np.testing.assert_array_equal(weights[1], np.ones(2))
