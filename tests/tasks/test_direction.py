from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeline import tasks
from tapeline.tasks import direction, metric


def outputs(down: list[float]) -> dict[str, np.ndarray]:
    probability = np.stack([1 - np.array(down), np.array(down)], axis=1)
    return {"prediction": probability.argmax(1), "probability": probability}


def test_positive_is_down_as_the_original_counts() -> None:
    """The published confusion of Flat gives the published precision, recall, F1 and accuracy."""
    target = np.array([1] * 32 + [0] * 3 + [1] * 112 + [0] * 141)
    predicted = np.array([1] * 35 + [0] * 253)
    scores = direction.score({"target": target, "prediction": predicted})
    assert scores["confusion"] == {"tp": 32, "fp": 3, "fn": 112, "tn": 141}
    assert round(scores["accuracy"], 6) == 0.600694
    assert {name: round(value, 6) for name, value in scores["down"].items()} == {
        "precision": 0.914286, "recall": 0.222222, "f1": 0.357542,
    }  # fmt: skip
    assert scores["up"]["precision"] == pytest.approx(141 / 253)
    assert scores["up"]["recall"] == pytest.approx(141 / 144)


def test_log_loss_and_auc() -> None:
    target = np.array([1, 0, 1, 0])
    scores = direction.score({"target": target, **outputs([0.9, 0.4, 0.3, 0.2])})
    assert scores["log_loss"] == pytest.approx(-np.mean(np.log([0.9, 0.6, 0.3, 0.8])))
    assert scores["auc"] == pytest.approx(3 / 4)


def test_auc_of_one_class_is_none() -> None:
    assert direction.score({"target": np.zeros(3, int), **outputs([0.1, 0.2, 0.3])})["auc"] is None


def test_scores_of_nothing_predicted_are_zero() -> None:
    scores = direction.score({"target": np.zeros(3, int), "prediction": np.zeros(3, int)})
    assert scores["down"] == {"precision": 0, "recall": 0, "f1": 0}


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1))
def test_classes_are_each_others_mirror(pairs: list[tuple[int, int]]) -> None:
    target, predicted = np.array(pairs).T
    one = direction.score({"target": target, "prediction": predicted})
    other = direction.score({"target": 1 - target, "prediction": 1 - predicted})
    assert one["up"] == other["down"]
    assert one["accuracy"] == other["accuracy"]
    assert 0 <= one["accuracy"] <= 1


def test_the_majority_is_of_the_training_rows() -> None:
    assert direction.baselines(np.array([1, 1, 0]), None, 2)["majority"].tolist() == [1, 1]
    assert direction.baselines(np.array([1, 0]), None, 2)["majority"].tolist() == [0, 0]


def test_values_by_dotted_name_and_the_best() -> None:
    scores = {"a": {"accuracy": 0.5, "down": {"f1": 0.1}}, "b": {"accuracy": 0.7, "down": {"f1": 0.0}}, "c": {}}
    assert tasks.value(scores["a"], "down.f1") == 0.1
    assert tasks.value(scores["c"], "down.f1") is None
    assert tasks.best(metric(direction, "accuracy"), scores) == ("b", 0.7)
    assert tasks.best(metric(direction, "down.f1"), scores) == ("a", 0.1)
    assert tasks.best(metric(direction, "auc"), scores) is None
    losses = {"a": {"log_loss": 1.0}, "b": {"log_loss": 0.5}}
    assert tasks.best(metric(direction, "log_loss"), losses) == ("b", 0.5)


def test_the_sums_are_those_of_the_accuracy() -> None:
    predictions = {"target": np.array([1, 0, 1]), "prediction": np.array([1, 1, 1])}
    found = direction.sums("accuracy", predictions)
    assert found is not None
    assert direction.from_sums("accuracy", found.sum(axis=0)) == direction.score(predictions)["accuracy"]
    assert direction.sums("auc", predictions) is None


def test_groups_have_scores_of_their_own() -> None:
    predictions = {"target": np.array([1, 0, 1]), "prediction": np.array([1, 1, 1])}
    found = direction.score(predictions, groups=np.array(["a", "a", "b"]))["by"]
    assert {name: each["accuracy"] for name, each in found.items()} == {"a": 0.5, "b": 1.0}


@pytest.mark.parametrize(
    ("name", "can", "cannot"), [("accuracy", (0, 0.7), (1, -0.1, 70)), ("log_loss", (0.1, 9), (0,))]
)
def test_a_threshold_can_be_met_and_failed(name: str, can: tuple[float, ...], cannot: tuple[float, ...]) -> None:
    found = metric(direction, name)
    assert all(map(found.allows, can))
    assert not any(map(found.allows, cannot))
