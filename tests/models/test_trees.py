"""The servable of trees, saved and loaded again, beside the booster that it was made of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeline import tensorflow as tf
from tapeline.models.lightgbm import tensorflow_graph as trees
from tapeline.models.lightgbm import text_format as forest
from tapeline.models.lightgbm.text_format import Forest, Tree
from tapeline.serving import saved_model as servable

Array = np.ndarray[Any, Any]
ROWS = 20_000
NUMBERS = 6
"""Columns; one more is a category."""
ODD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36, -1e-36, 1e-35, 1.1e-35, 1e-40, -0.5, 0.5, 3e38, -3e38]
ODD_CATEGORIES = [np.nan, np.inf, -np.inf, -1.0, -0.5, -1e9, 2.5, 39.999, 777.0, 2.0**24, 2.0**31, 1e20]


def sample(seed: int, rows: int) -> Array:
    """float32 [rows, NUMBERS + 1] with all that is odd in every column."""
    random = np.random.default_rng(seed)
    numbers = random.standard_normal((rows, NUMBERS)) * np.logspace(-2, 3, NUMBERS)
    numbers[:, 2] *= random.random(rows) > 0.5
    odd = random.random(numbers.shape) < 0.1
    numbers[odd] = random.choice(ODD, int(odd.sum()))
    categories = random.integers(0, 60, rows).astype(float)
    odd_rows = random.random(rows) < 0.1
    categories[odd_rows] = random.choice(ODD_CATEGORIES, int(odd_rows.sum()))
    return np.column_stack([numbers, categories]).astype(np.float32)


def signal(features: Array) -> Array:
    """float64 [rows], of what trees can learn from the odd values, too."""
    known = np.nan_to_num(features, nan=3, posinf=2, neginf=-2).clip(-4, 4)
    noise = np.random.default_rng(9).standard_normal(len(features))
    score: Array = (
        known[:, 0] * 50 + known[:, 2] + np.isnan(features[:, 1]) * 2 + np.isin(known[:, 6], [1, 3, 9]) + noise
    )
    return score


FEATURES = sample(0, ROWS)
LEARNT = sample(1, 3000)
LEARNT[:, NUMBERS] = np.where(LEARNT[:, NUMBERS] >= 40, 1, LEARNT[:, NUMBERS])  # so that larger ones are unseen
SIGNAL = signal(LEARNT)
TARGETS = {
    "regression": SIGNAL,
    "binary": (SIGNAL > 0).astype(int),
    "multiclass": np.digitize(SIGNAL, [-1, 1]),
}
FOREST = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}
CASES: dict[str, dict[str, Any]] = {
    "regression": {"objective": "regression"},
    "binary": {"objective": "binary"},
    "sigmoid": {"objective": "binary", "sigmoid": 0.7},
    "multiclass": {"objective": "multiclass", "num_class": 3},
    "rf": {"objective": "regression", **FOREST},
    "rf of classes": {"objective": "multiclass", "num_class": 3, **FOREST},
    "dart": {"objective": "binary", "boosting": "dart", "drop_rate": 0.5},
    "zero is missing": {"objective": "binary", "zero_as_missing": True},
    "nothing is missing": {"objective": "binary", "use_missing": False},
    "no category": {"objective": "binary", "categorical_feature": ""},
    "rounds that fill blocks": {"objective": "binary", "rounds": 128},
    "stumps": {"objective": "binary", "num_leaves": 2},
    "32 leaves": {"objective": "binary", "num_leaves": 32},
    "more than 32 leaves": {"objective": "binary", "num_leaves": 50},
    "many leaves, several classes": {"objective": "multiclass", "num_class": 3, "num_leaves": 40},
    "many leaves, zero is missing": {"objective": "regression", "num_leaves": 60, "zero_as_missing": True},
    "many leaves, nothing is missing": {"objective": "regression", "num_leaves": 60, "use_missing": False},
}


def boosted(case: dict[str, Any]) -> lightgbm.Booster:
    fixed = {"verbosity": -1, "num_threads": 2, "min_data_in_leaf": 3, "min_data_per_group": 3, "num_leaves": 15}
    options = {**fixed, "categorical_feature": [NUMBERS], **case}
    rounds, category = options.pop("rounds", 25), options.pop("categorical_feature")
    data = lightgbm.Dataset(LEARNT, TARGETS[options["objective"]], categorical_feature=category or "auto")
    return lightgbm.train(options, data, rounds)


def reloaded(text: str, folder: Path) -> Callable[[Array], dict[str, Array]]:
    """The trees as a SavedModel without the mask of a servable, which gives infinite features no answer."""
    tensorflow = tf.load()
    model, module = trees.servable(forest.parse(text)), tensorflow.Module()
    module.model = model
    spec = tensorflow.TensorSpec([None, FEATURES.shape[1]], tensorflow.float32, name="predictors")
    serve = tensorflow.function(lambda predictors: model(predictors), input_signature=[spec])
    tensorflow.saved_model.save(module, str(folder / "servable"), signatures={"serving_default": serve})
    return servable.load(folder / "servable")


def assert_same_bits(got: Array, wanted: Array) -> None:
    assert got.dtype == wanted.dtype == np.float64
    assert got.shape == wanted.shape
    np.testing.assert_array_equal(got.view(np.int64), wanted.view(np.int64))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] * name.startswith("many leaves, ")) for name in CASES]
)
def test_raw_scores_are_the_boosters_bit_for_bit(name: str, tmp_path: Path) -> None:
    booster = boosted(CASES[name])
    predict = reloaded(booster.model_to_string(), tmp_path)
    answer = predict(FEATURES)
    raw = booster.predict(FEATURES, raw_score=True)
    assert len(np.unique(raw)) > 3
    assert_same_bits(answer["raw_score"], raw)
    for rows in (1, 2, 1000):
        assert_same_bits(predict(FEATURES[-rows:])["raw_score"], raw[-rows:])
    record = booster.predict(FEATURES)
    if CASES[name]["objective"] == "regression":
        assert_same_bits(answer["prediction"], record[:, None])
        return
    probability = record if record.ndim == 2 else np.stack([1 - record, record], axis=1)
    np.testing.assert_allclose(answer["probability"], probability, rtol=0, atol=1e-15)
    assert answer["prediction"].dtype == np.int64
    np.testing.assert_array_equal(answer["prediction"], probability.argmax(axis=1))


@pytest.mark.parametrize("rounds", [0, 3])
@pytest.mark.parametrize("boosting", ["gbdt", "rf"])
def test_a_booster_that_learnt_nothing_answers_its_constant(boosting: str, rounds: int, tmp_path: Path) -> None:
    target = TARGETS["binary"][:40]
    options = {"objective": "binary", "boosting": boosting, "bagging_freq": 1, "bagging_fraction": 0.5}
    fixed = {"min_data_in_leaf": 1000, "verbosity": -1}
    booster = lightgbm.Booster({**fixed, **options}, lightgbm.Dataset(LEARNT[:40], target))
    for _ in range(rounds):
        booster.update()
    wanted = booster.predict(FEATURES[:5], raw_score=True)
    assert (wanted == (wanted[0] if rounds else 0)).all()
    assert_same_bits(reloaded(booster.model_to_string(), tmp_path)(FEATURES[:5])["raw_score"], wanted)


@pytest.mark.parametrize("rows", [0, trees.ROWS, trees.ROWS + 1])
@pytest.mark.parametrize("classes", [1, 2])
def test_rows_that_fill_a_part_and_rows_that_do_not(rows: int, classes: int) -> None:
    objective = "regression" if classes == 1 else "multiclass"
    model = trees.servable(Forest((chained(3), chained(3)), classes, False, objective, 1))
    features = np.arange(rows, dtype=np.float32)[:, None] % 3
    values = np.arange(rows) % 3 * 1.0
    answer = model(features)
    assert len(answer["prediction"]) == rows
    raw = np.reshape(answer["raw_score"], (rows, classes))
    np.testing.assert_array_equal(raw, np.stack([values * (3 - classes)] * classes, axis=1))


def chained(leaves: int, feature: int = 0) -> Tree:
    """Leaf i, of value i, takes what is in (i - 1, i]."""
    nodes = range(leaves - 1)
    return Tree(
        feature=(feature,) * len(nodes),
        threshold=tuple(map(float, nodes)),
        categories=(None,) * len(nodes),
        default_left=(False,) * len(nodes),
        missing=("nan",) * len(nodes),
        left=tuple(~node for node in nodes),
        right=(*nodes[1:], ~nodes.stop),
        values=tuple(map(float, range(leaves))),
    )


@pytest.mark.parametrize(("leaves", "columns", "masks"), [(32, 128, True), (33, 1, False), (2, 129, False)])
def test_large_trees_and_many_features_take_the_walking_kernel(leaves: int, columns: int, masks: bool) -> None:
    model: Any = trees.servable(
        Forest(tuple(chained(leaves, feature) for feature in range(columns)), 1, False, "regression", 1)
    )
    assert ("masks" in model.arrays) == masks
    features = np.random.default_rng(0).integers(0, leaves, (7, columns)).astype(np.float32)
    np.testing.assert_array_equal(model(features)["raw_score"], features.sum(axis=1))


FLOATS = st.floats(width=32, allow_subnormal=False)
THRESHOLDS = st.floats(allow_nan=False, allow_subnormal=False) | st.sampled_from([1e300, 1.0000000180025095e-35])


@given(FLOATS, THRESHOLDS)
def test_a_threshold_rounded_down_splits_float32_alike(value: float, threshold: float) -> None:
    assert (np.float32(value) <= forest.rounded_down(threshold)) == (value <= threshold)


@st.composite
def stumps(draw: st.DrawFn) -> tuple[Tree, list[float]]:
    """A tree of one node, and values around what it asks for."""
    categories = draw(st.none() | st.frozensets(st.integers(0, 70) | st.integers(2**24 - 2, 2**31 - 1), min_size=1))
    threshold = draw(THRESHOLDS | st.floats(-9, 9, width=32, allow_subnormal=False))
    kind = draw(st.sampled_from(forest.MISSING))
    near = [threshold] if categories is None else [float(each) for each in categories]
    with np.errstate(over="ignore"):
        around = [np.nextafter(np.float32(x), np.float32(to)) for x in near for to in (-np.inf, x, np.inf)]
    values = [float(each) for each in around if each == 0 or abs(each) >= np.finfo(np.float32).tiny]
    left = draw(st.booleans())
    return Tree((0,), (threshold,), (categories,), (left,), (kind,), (-1,), (-2,), (1.0, 2.0)), values


def rule(tree: Tree, value: float) -> float:
    """LightGBM's Tree::NumericalDecision and CategoricalDecision, word for word."""
    if (wanted := tree.categories[0]) is not None:
        known = np.isfinite(value) and value > -1 and int(value) in wanted
        return tree.values[0 if known else 1]
    if np.isnan(value) and tree.missing[0] != "nan":
        value = 0.0
    zero = abs(value) <= np.float32(1e-35)
    if (tree.missing[0] == "zero" and zero) or (tree.missing[0] == "nan" and np.isnan(value)):
        return tree.values[0 if tree.default_left[0] else 1]
    return tree.values[0 if value <= tree.threshold[0] else 1]


@settings(max_examples=60)
@given(stumps(), st.lists(FLOATS, max_size=5), st.booleans())
def test_a_node_decides_as_lightgbm_does(stump: tuple[Tree, list[float]], more: list[float], walk: bool) -> None:
    tree, near = stump
    values = [*near, *more, *map(float, np.array(ODD + ODD_CATEGORIES, np.float32))]
    values = [value for value in values if value == 0 or not abs(value) < np.finfo(np.float32).tiny]
    grown = (tree, chained(33, 1)) if walk else (tree,)
    model = trees.servable(Forest(grown, 1, False, "regression", 1))
    features = np.array([[value, 0] for value in values], np.float32)
    np.testing.assert_array_equal(model(features)["raw_score"], [rule(tree, value) for value in values])


@pytest.mark.parametrize(
    ("options", "what"),
    [({"linear_tree": True}, "linear leaves"), ({"objective": "poisson"}, "poisson"), ({"reg_sqrt": True}, "sqrt")],
)
def test_what_cannot_be_served_alike_is_an_error(options: dict[str, Any], what: str) -> None:
    numbers = np.random.default_rng(0).random((200, 2))
    fixed = {"objective": "regression", "verbosity": -1}
    booster = lightgbm.train({**fixed, **options}, lightgbm.Dataset(numbers, numbers.sum(1), params=options), 2)
    with pytest.raises(ValueError, match=what):
        forest.parse(booster.model_to_string())
