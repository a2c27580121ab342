"""Metrics of price forecasts: against their definitions, with missing labels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_absolute_percentage_error, root_mean_squared_error

from tapeline.tasks import metric, price

DRAW = np.random.default_rng(0)
LAST = np.exp(DRAW.normal(5, 1, 300))
TARGET = DRAW.normal(0, 0.05, 300)
FORECAST = TARGET + DRAW.normal(0, 0.03, 300)
ANSWERS = {"target": TARGET, "prediction": FORECAST[:, None], "last_price": LAST}


def test_errors_are_of_prices_and_of_log_returns() -> None:
    scores = price.score(ANSWERS)
    truth, forecast = LAST * np.exp(TARGET), LAST * np.exp(FORECAST)
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(truth, forecast))
    assert scores["mae"] == pytest.approx(mean_absolute_error(truth, forecast))
    assert scores["mape"] == pytest.approx(mean_absolute_percentage_error(truth, forecast))
    assert scores["rmse_log_return"] == pytest.approx(root_mean_squared_error(TARGET, FORECAST))
    assert scores["mae_log_return"] == pytest.approx(mean_absolute_error(TARGET, FORECAST))
    assert scores["direction_accuracy"] == np.mean((TARGET < 0) == (FORECAST < 0))
    assert list(scores) == ["rows", "labels", *(each.name for each in price.METRICS)]


def test_rows_without_a_label_are_left_out() -> None:
    gone = np.arange(0, 300, 7)
    target = TARGET.copy()
    target[gone] = np.nan
    scores = price.score({**ANSWERS, "target": target})
    expected = price.score({name: np.delete(each, gone, axis=0) for name, each in ANSWERS.items()})
    assert (scores.pop("rows"), expected.pop("rows")) == (300, 300 - len(gone))
    assert scores == pytest.approx(expected)
    assert price.score({**ANSWERS, "target": np.full(300, np.nan)})["rmse"] is None


def test_a_forecast_that_is_missing_or_infinite_has_no_score() -> None:
    for wrong in (np.nan, 1e6):
        forecast = FORECAST.copy()
        forecast[3] = wrong
        assert price.score({**ANSWERS, "prediction": forecast[:, None]})["rmse"] is None


def test_no_change_counts_as_no_fall() -> None:
    record = {"target": np.array([0.1, -0.1, 0.0]), "prediction": np.zeros((3, 1)), "last_price": np.ones(3)}
    assert price.score(record)["direction_accuracy"] == pytest.approx(2 / 3)


def test_drift_is_the_mean_of_the_train_rows() -> None:
    found = price.baselines(np.array([0.02, np.nan, -0.01]), None, 4)
    np.testing.assert_allclose(found["drift"], np.full((4, 1), 0.005))


def test_an_answer_is_a_price_and_its_day() -> None:
    day = np.array(["2018-03-25"], "datetime64[D]")
    record = {"prediction": np.array([[0.01]]), "last_price": np.array([8668.12]), "forecast_for": day}
    found = price.answer(record)
    assert list(found) == ["forecast_for", "last_price", "price"]
    assert found["price"][0] == pytest.approx(8668.12 * np.exp(0.01))
    assert list(price.answer({name: each for name, each in record.items() if name != "forecast_for"})) == [
        "last_price", "price",
    ]  # fmt: skip


def test_units_and_directions() -> None:
    assert metric(price, price.PRIMARY).unit == "{unit}"
    assert {each.name: each.sign for each in price.METRICS}["direction_accuracy"] == 1
    assert "{rmse:,.2f} {metric_unit}" in price.sentence("rmse")
