"""Metrics of numbers: against scikit-learn, with labels missing, and with weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from tapeline.tasks import interval, metric, regression

DRAW = np.random.default_rng(0)


def numbers(rows: int = 200, outputs: int = 3) -> dict[str, np.ndarray]:
    target = DRAW.normal(size=(rows, outputs)) + 100
    return {"target": target, "prediction": target + DRAW.normal(scale=0.5, size=(rows, outputs))}


def test_the_metrics_are_scikit_learns() -> None:
    record = numbers()
    scores = regression.score(record)
    truth, guess = record["target"], record["prediction"]
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(truth.ravel(), guess.ravel()))
    assert scores["mae"] == pytest.approx(mean_absolute_error(truth, guess))
    assert scores["r2"] == pytest.approx(r2_score(truth, guess))
    each = [np.corrcoef(truth[:, at], guess[:, at])[0, 1] for at in range(3)]
    assert scores["correlation"] == pytest.approx(np.mean(each))
    assert (scores["rows"], scores["labels"]) == (200, 600)


def test_missing_labels_are_left_out() -> None:
    record = numbers(outputs=1)
    gone = np.arange(0, 200, 7)
    missing = record["target"].copy()
    missing[gone] = np.nan
    left = {name: np.delete(each, gone, axis=0) for name, each in record.items()}
    scores, expected = regression.score({**record, "target": missing}), regression.score(left)
    assert scores.pop("rows") == 200
    expected.pop("rows")
    assert scores == pytest.approx(expected)
    nothing = regression.score({**record, "target": np.full((200, 1), np.nan)})
    assert nothing == {"rows": 200, "labels": 0, "rmse": None, "mae": None, "correlation": None, "r2": None}


def test_the_correlation_is_weighted() -> None:
    record, weight = numbers(outputs=1), DRAW.integers(0, 4, 200).astype(float)
    repeated = {name: np.repeat(each, weight.astype(int), axis=0) for name, each in record.items()}
    assert regression.score(record, weight)["correlation"] == pytest.approx(regression.score(repeated)["correlation"])
    assert regression.score(record, weight)["rmse"] == regression.score(record)["rmse"]


@given(st.floats(-1e9, 1e9), st.integers(3, 40))
def test_a_constant_forecast_has_correlation_0(value: float, rows: int) -> None:
    target = np.random.default_rng(rows).normal(size=rows)
    record = {"target": target, "prediction": np.full((rows, 1), value)}
    assert regression.score(record)["correlation"] == 0
    assert regression.score({**record, "target": np.full(rows, value)})["correlation"] is None


def test_a_constant_part_of_a_forecast_has_correlation_0_in_a_resample() -> None:
    record = {"target": DRAW.normal(size=40), "prediction": np.r_[np.full(20, 1 / 3), DRAW.normal(size=20)]}
    part = regression.sums("correlation", record)[:20].sum(axis=0)
    assert regression.from_sums("correlation", part) == 0


def test_baselines_need_the_train_rows_alone() -> None:
    returns = regression.baselines(np.array([-1.0, 2.0, np.nan, 2.0]), None, 2)
    assert {name: each.tolist() for name, each in returns.items()} == {
        "train mean": [[1.0], [1.0]], "zero": [[0.0], [0.0]],
    }  # fmt: skip
    pixels = regression.baselines(np.array([[10.0, 1.0], [20.0, np.nan]]), None, 1)
    assert {name: each.tolist() for name, each in pixels.items()} == {"train mean": [[15.0, 1.0]]}


def test_each_metric_names_its_interval_and_range() -> None:
    ranges = {each.name: (each.interval, each.sign, each.allows(0), each.allows(-1)) for each in regression.METRICS}
    assert ranges == {
        "rmse": ("bootstrap", -1, False, False),
        "mae": ("bootstrap", -1, False, False),
        "correlation": ("bootstrap", 1, True, True),
        "r2": ("bootstrap", 1, True, True),
    }
    scores = {"intervals": {"rmse": {"low": 1, "high": 2}}}
    assert interval(scores, metric(regression, "rmse")) == {"low": 1, "high": 2}
    assert interval(scores, metric(regression, "mae")) is None
