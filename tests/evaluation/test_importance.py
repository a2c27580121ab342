from __future__ import annotations

import numpy as np
import pytest

from tapeline.evaluation.importance import Answers, Part, importance
from tapeline.tasks import direction, metric

DRAW = np.random.default_rng(0)
FEATURES = DRAW.normal(size=(300, 3)).astype(np.float32)
TARGET = (FEATURES[:, 1] > 0).astype(np.int64)


def follows(column: int) -> Answers:
    """A model that looks at one column."""

    def predict(features: np.ndarray) -> dict[str, np.ndarray]:
        down = 1 / (1 + np.exp(-4.0 * features[:, column]))
        return {"prediction": (down > 0.5).astype(np.int64), "probability": np.stack([1 - down, down], axis=1)}

    return predict


def part(column: int, features: np.ndarray, target: np.ndarray) -> Part:
    return Part(follows(column), features, {"target": target})


def test_only_what_the_model_looks_at_is_missed() -> None:
    before = FEATURES.copy()
    record = importance(direction, metric(direction, "accuracy"), "abc", [part(1, FEATURES, TARGET)])
    assert record is not None
    assert {name: each["loss"] for name, each in record["columns"].items() if name != "b"} == {"a": 0, "c": 0}
    assert record["columns"]["b"]["loss"] == pytest.approx(0.5, abs=0.06)
    assert 0 < record["columns"]["b"]["sd"] < 0.06
    assert (record["metric"], record["rows"], record["repeats"]) == ("accuracy", 300, 5)
    assert (before == FEATURES).all()
    assert record == importance(direction, metric(direction, "accuracy"), "abc", [part(1, FEATURES, TARGET)]), (
        "the same each time"
    )


def test_a_loss_is_above_zero_where_less_is_better() -> None:
    record = importance(direction, metric(direction, "log_loss"), "abc", [part(1, FEATURES, TARGET)])
    assert record is not None
    assert record["columns"]["b"]["loss"] > 0.5


def test_each_window_is_asked_for_its_own_rows() -> None:
    parts = [
        part(1, FEATURES[:200], TARGET[:200]),
        part(0, FEATURES[200:], (FEATURES[200:, 0] > 0).astype(int)),
    ]
    record = importance(direction, metric(direction, "accuracy"), "abc", parts)
    assert record is not None
    assert record["columns"]["b"]["loss"] == pytest.approx(0.5 * 2 / 3, abs=0.06)
    assert record["columns"]["a"]["loss"] == pytest.approx(0.5 / 3, abs=0.06)


def test_long_tables_are_thinned_and_wide_ones_left_out() -> None:
    record = importance(
        direction, metric(direction, "accuracy"), "abc", [part(1, np.tile(FEATURES, (9, 1)), np.tile(TARGET, 9))]
    )
    assert record is not None
    assert record["rows"] == 500
    assert importance(direction, metric(direction, "accuracy"), ["x"] * 101, [part(1, FEATURES, TARGET)]) is None
