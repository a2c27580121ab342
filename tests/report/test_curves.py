from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeline.report import curves
from tapeline.tasks import direction, regression

DRAW = np.random.default_rng(0)


def answers(rows: int = 200) -> curves.Answers:
    target, down = DRAW.integers(0, 2, rows).astype(float), DRAW.random(rows)
    return curves.Answers(direction, days(rows), target, (down > 0.5).astype(float), down, np.zeros(rows))


def numbers(rows: int = 200, outputs: int = 2) -> curves.Answers:
    target = DRAW.normal(size=(rows, outputs))
    target[::5, 0] = np.nan
    zeros = np.zeros((rows, outputs))
    return curves.Answers(regression, days(rows), target, DRAW.normal(size=(rows, outputs)), None, zeros)


def days(rows: int) -> np.ndarray:
    return np.datetime64("2020-01-01") + np.arange(rows)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4)), min_size=2, max_size=40))
def test_the_area_below_the_curve_is_the_metrics_auc(pairs: list[tuple[int, int]]) -> None:
    target, down = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs]) / 4
    if 0 < target.sum() < len(target):
        false, true = curves.roc(target, down)
        probability = np.stack([1 - down, down], axis=1)
        auc = direction.score({"target": target, "prediction": target, "probability": probability})["auc"]
        assert np.trapezoid(true, false) == pytest.approx(auc)
        assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)


def test_calibration_shares_rows_out_by_probability() -> None:
    target, down = np.array([0, 0, 1, 1] * 10), np.repeat(np.arange(10) / 10, 4)
    bins = curves.calibration(target[DRAW.permutation(40)], down)
    assert [each[0] for each in bins] == [4] * 10
    assert [each[1] for each in bins] == pytest.approx(np.arange(10) / 10)
    assert all(low <= share <= high for _, _, share, low, high in bins)


def test_a_moving_score_is_the_score_of_its_rows() -> None:
    record = answers()
    found = curves.moving(record)
    assert found is not None
    width, time, model, reference = found
    assert (width, len(time)) == (60, 141)
    for at in (0, 70, 140):
        rows = slice(at, at + 60)
        assert time[at] == record.time[at + 59]
        assert model[at] == pytest.approx(np.mean(record.prediction[rows] == record.target[rows]))
        assert reference[at] == pytest.approx(np.mean(record.target[rows] == 0))


def test_a_moving_error_leaves_missing_labels_out() -> None:
    record = numbers()
    found = curves.moving(record)
    assert found is not None
    squares = (record.prediction[-60:] - record.target[-60:]) ** 2
    assert found[2][-1] == pytest.approx(np.sqrt(np.nanmean(squares)))
    assert len(curves.errors(record)) == np.isfinite(record.target).sum() == 360
    assert all(map(np.isfinite, curves.pairs(record)[0]))


def test_few_rows_have_no_moving_score() -> None:
    assert curves.moving(answers(rows=59)) is None
    assert curves.moving(answers(rows=60)) is not None
