"""Intervals of differences, against published examples and against what is known of the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tapeline.evaluation.comparison import NO_ROWS, PAIRED, UNPAIRED, changes
from tapeline.intervals import paired_shares, unpaired_shares
from tapeline.tasks import direction


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


def scored(target: Any, probability: Any, times: int = 0) -> dict[str, Any]:
    """What scores.json tells of a model that states these probabilities of a fall."""
    outputs = {
        "prediction": (probability > 0.5).astype(int),
        "probability": np.stack([1 - probability, probability], 1),
    }
    listed = {name: values.tolist() for name, values in outputs.items()}
    time = [str(np.datetime64("2000-01-01") + times + row) for row in range(len(target))]
    test = direction.score({"target": target, **outputs})
    return {"task": "direction", "test": test, "predictions": {"time": time, "target": target.tolist(), **listed}}


@pytest.fixture(scope="module")
def models() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A model, a slightly better one on the same rows, and the better one on others."""
    random = np.random.default_rng(3)
    target = random.integers(0, 2, 300)
    worse = np.clip(0.5 + 0.2 * (target - 0.5) + random.normal(0, 0.2, 300), 0.01, 0.99)
    better = np.clip(worse + 0.05 * (target - 0.5), 0.01, 0.99)
    return scored(target, worse), scored(target, better), scored(target, better, times=1000)


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
        each for each in changes(scored(target, first), scored(target, second)) if each.metric.name == "log_loss"
    )
    losses = [-np.log(np.where(target == 1, each, 1 - each)) for each in (first, second)]
    half = 2.009575 * (losses[1] - losses[0]).std(ddof=1) / np.sqrt(50)
    moved = found.after - found.before
    assert found.interval is not None
    assert [found.interval.low, found.interval.high] == pytest.approx([moved - half, moved + half], rel=1e-5)


def test_without_answers_row_by_row_only_shares_have_an_interval(models: Any) -> None:
    bare = [{"task": "direction", "test": each["test"]} for each in models[:2]]
    told = {each.metric.name: each for each in changes(*bare)}
    assert told["accuracy"].method == UNPAIRED
    assert told["auc"].interval is None
    assert told["auc"].method == NO_ROWS
    assert told["auc"].verdict == ""


def test_a_model_beside_itself_is_the_same(models: Any) -> None:
    told = {each.metric.name: each for each in changes(models[0], models[0])}
    assert told["auc"].verdict == "the same"
    assert told["accuracy"].verdict == "may be chance"
