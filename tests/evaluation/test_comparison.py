"""Intervals of differences, against published examples and against what is known of the data."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from tapeline import lookup
from tapeline.evaluation import comparison
from tapeline.evaluation.comparison import (
    NO_ROWS,
    PAIRED,
    TOO_FEW,
    UNPAIRED,
    answers,
    changes,
    of_baselines,
    same_rows,
    scores,
)
from tapeline.intervals import paired_shares, unpaired_shares
from tapeline.tables.predictions import Predictions
from tapeline.tasks import direction, regression, value


def both(yes: int, first: int, second: int, neither: int) -> tuple[Any, Any]:
    """Two shares of the same rows, by counts of who was right."""
    counts = (yes, first, second, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [((59, 6, 16, 80), -0.1186, -0.0046), ((1, 1, 7, 12), -0.5069, -0.0256)],
    ids=["Cavo 2012", "Bentur 2009"],
)
def test_the_paired_interval_is_that_of_the_textbook(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    """Fagerland, Lydersen and Laake, Statistical Analysis of Contingency Tables, chapter 8."""
    first, second = both(*counts)
    assert list(paired_shares(second, first)) == pytest.approx([low, high], abs=5e-5)
    assert list(paired_shares(first, second)) == pytest.approx([-high, -low], abs=5e-5)


def test_the_unpaired_interval_is_that_of_the_paper() -> None:
    """Newcombe 1998: 56 of 70 against 48 of 80."""
    assert list(unpaired_shares((48, 80), (56, 70))) == pytest.approx([0.0524, 0.3339], abs=5e-5)


def test_shares_at_their_ends_have_intervals_inside_them() -> None:
    ones, noughts = np.ones(30, bool), np.zeros(30, bool)
    for before, after in ((ones, ones), (noughts, ones), (ones, noughts)):
        low, high = paired_shares(before, after)
        assert -1 <= low <= after.mean() - before.mean() <= high <= 1


def of_days(task: str, scored: dict[str, np.ndarray], first: str = "2000-01-01", horizon: int = 0) -> comparison.Tested:
    """A run's test rows, one a day from the first."""
    rows = len(scored["target"])
    days = np.datetime64(first) + np.arange(rows)
    predictions = Predictions({"window": np.zeros(rows, np.int64), "time": days}, scored, {})
    return comparison.Tested(task, lookup.task(task).score(scored), predictions, timedelta(days=horizon))


def falls(target: np.ndarray, probability: np.ndarray, first: str = "2000-01-01") -> comparison.Tested:
    """Of a model that states these probabilities of a fall."""
    stated = np.stack([1 - probability, probability], axis=1)
    return of_days("direction", {"target": target, "prediction": stated.argmax(axis=1), "probability": stated}, first)


@pytest.fixture(scope="module")
def models() -> tuple[comparison.Tested, comparison.Tested, comparison.Tested]:
    """A model, a slightly better one on the same rows, and the better one on others."""
    random = np.random.default_rng(3)
    target = random.integers(0, 2, 300)
    worse = np.clip(0.5 + 0.2 * (target - 0.5) + random.normal(0, 0.2, 300), 0.01, 0.99)
    better = np.clip(worse + 0.05 * (target - 0.5), 0.01, 0.99)
    return falls(target, worse), falls(target, better), falls(target, better, "2003-01-01")


def test_the_same_rows_are_compared_row_by_row_and_so_more_surely(models: Any) -> None:
    worse, better, elsewhere = models
    paired = {each.metric.name: each for each in changes(worse, better)}
    unpaired = {each.metric.name: each for each in changes(worse, elsewhere)}
    assert list(paired) == [each.name for each in direction.METRICS] == list(unpaired)
    assert (paired["accuracy"].method, unpaired["accuracy"].method) == (PAIRED, UNPAIRED)
    for name, each in paired.items():
        other = unpaired[name]
        assert each.interval is not None
        assert other.interval is not None
        assert each.interval.low < each.after - each.before < each.interval.high
        assert each.interval.high - each.interval.low < (other.interval.high - other.interval.low) * 0.7, name
        assert (each.method.startswith("paired"), other.method.startswith("unpaired")) == (True, True)
    assert {each.verdict for each in paired.values()} == {"better"}
    assert unpaired["accuracy"].verdict == "may be chance"


def test_less_is_better_where_it_is(models: Any) -> None:
    loss = next(each for each in changes(models[0], models[1]) if each.metric.name == "log_loss")
    assert loss.after < loss.before
    assert loss.verdict == "better"


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    """Log loss is a mean over rows, so its interval is known without a jackknife."""
    random = np.random.default_rng(0)
    target = random.integers(0, 2, 50)
    first, second = (np.clip(random.uniform(size=50), 0.05, 0.95) for _ in range(2))
    found = next(
        each for each in changes(falls(target, first), falls(target, second)) if each.metric.name == "log_loss"
    )
    losses = [-np.log(np.where(target == 1, each, 1 - each)) for each in (first, second)]
    half = 2.009575 * (losses[1] - losses[0]).std(ddof=1) / np.sqrt(50)
    moved = found.after - found.before
    assert found.interval is not None
    assert [found.interval.low, found.interval.high] == pytest.approx([moved - half, moved + half], rel=1e-5)


def test_without_answers_row_by_row_only_shares_have_an_interval(models: Any) -> None:
    bare = [replace(each, predictions=None) for each in models[:2]]
    found = {each.metric.name: each for each in changes(*bare)}
    assert found["accuracy"].method == UNPAIRED
    assert found["auc"].interval is None
    assert found["auc"].method == NO_ROWS
    assert found["auc"].verdict == ""


def test_a_model_beside_itself_is_the_same(models: Any) -> None:
    found = {each.metric.name: each for each in changes(models[0], models[0])}
    assert found["auc"].verdict == "the same"
    assert found["accuracy"].verdict == "may be chance"


def moves(noise: float, first: str = "2000-01-01", rows: int = 300) -> comparison.Tested:
    """Of a model that forecasts numbers with an error of this size, with some labels missing."""
    random = np.random.default_rng(5)
    target = random.normal(size=rows)
    prediction = (target + noise * random.normal(size=rows))[:, None]
    target[::7] = np.nan
    return of_days("regression", {"target": target, "prediction": prediction}, first, horizon=1)


def test_numbers_are_compared_row_by_row_missing_labels_and_all() -> None:
    worse, better, elsewhere = moves(1.0), moves(0.9), moves(0.9, "2003-01-01")
    paired = {each.metric.name: each for each in changes(worse, better)}
    unpaired = {each.metric.name: each for each in changes(worse, elsewhere)}
    assert list(paired) == [each.name for each in regression.METRICS] == list(unpaired)
    for name, each in paired.items():
        other = unpaired[name]
        assert each.interval is not None
        assert other.interval is not None
        assert each.interval.low < each.after - each.before < each.interval.high
        assert each.interval.high - each.interval.low < (other.interval.high - other.interval.low) * 0.7, name
        assert (each.method.startswith("paired"), other.method.startswith("unpaired")) == (True, True)
    assert {each.verdict for each in paired.values()} == {"better"}
    assert paired["rmse"].after < paired["rmse"].before


def test_few_rows_and_other_tasks_are_not_compared() -> None:
    few = changes(moves(1.0, rows=12), moves(0.9, rows=12))
    assert {each.interval for each in few} == {None}
    assert {each.method for each in few} == {TOO_FEW}
    assert changes(moves(1.0), falls(np.ones(300, np.int64), np.full(300, 0.6))) == []


def test_rows_are_the_same_only_with_the_same_times_and_truth() -> None:
    one, other = moves(1.0).predictions, moves(0.9).predictions
    assert one is not None
    assert same_rows(one, other)
    assert not same_rows(one, moves(1.0, "2003-01-01").predictions)
    assert not same_rows(one, one.take(np.arange(200)))
    assert not same_rows(one, None)
    assert not same_rows(one, replace(one, scored={**one.scored, "target": one.scored["target"] + 1}))
    assert same_rows(one, replace(one, rows={**one.rows, "window": one.rows["window"] + 1})), "however rows are split"


@pytest.mark.parametrize(
    "each", [falls(np.arange(80) % 2, np.linspace(0.1, 0.9, 80)), moves(0.5)], ids=["falls", "moves"]
)
def test_each_metric_of_a_test_has_an_interval_around_it(each: comparison.Tested) -> None:
    assert each.predictions is not None
    task = lookup.task(each.task)
    baselines = {"a rule": each.predictions.scored["prediction"] * 0}
    model = answers(task, replace(each.predictions, baselines=baselines), each.horizon)
    found = scores(model)
    assert {name: found[name] for name in each.scores} == each.scores
    assert list(found["intervals"]) == [metric.name for metric in task.METRICS]
    for metric in task.METRICS:
        interval = found["intervals"][metric.name]
        assert interval["low"] < value(found, metric.name) < interval["high"], metric.name
        assert interval["level"] == 0.95
    (rule,) = of_baselines(model).values()
    without = {metric.name for metric in task.METRICS if metric.needs_probability}
    known = [name for name in found["intervals"] if value(scores(rule), name) is not None]
    assert without.isdisjoint(known)
    assert known, "a rule has metrics that need no probability"
