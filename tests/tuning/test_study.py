"""Proposals, records and the pruner: what they depend on, and what they do not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeline.config.search import Tune
from tapeline.errors import Refused
from tapeline.lookup import configure
from tapeline.tasks import Metric
from tapeline.tuning import space, study
from tapeline.tuning.study import Proposal, Pruning, Study, Trial

SPACE = "tune.space={model.learning_rate:{low:1e-3,high:1e-1,log:true},model.num_leaves:{low:2,high:31}}"
GRID = (
    "tune.space={model.learning_rate:{low:1e-3,high:1e-1,log:true,points:3},model.num_leaves:[4,8],"
    "model.min_data_in_leaf:{low:5,high:7}}"
)
HIGHER = Metric("score", "from 0 to 1", 0, 1, "higher", "wilson")
LOWER = replace(HIGHER, better="lower")


def searched(*overrides: str, metric: Metric = HIGHER) -> Study:
    config = configure(["model=lightgbm", "tune=optuna", "tune.startup=3", *overrides])
    assert config.tune is not None
    return Study(config.tune, config.model, metric)


def finished(of: Study, proposals: Sequence[Proposal], scores: Sequence[float]) -> list[Trial]:
    return [
        Trial(each, of.params(each), "complete", score, 20, ((10, score / 2), (20, score)))
        for each, score in zip(proposals, scores, strict=True)
    ]


def run(of: Study, batches: int, batch: int) -> list[Trial]:
    """A study whose score is a function of the learning rate."""
    done: list[Trial] = []
    for first in range(0, batches * batch, batch):
        asked = study.propose(of, done, (), first, batch)
        done += finished(of, asked, [1 - abs(of.params(each)["model.learning_rate"] - 0.02) for each in asked])
    return done


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_proposals_follow_from_seed_and_finished_trials(sampler: str) -> None:
    of = searched(SPACE, f"tune.sampler={sampler}")
    first, second = run(of, 4, 3), run(of, 4, 3)
    assert [each.record() for each in first] == [each.record() for each in second]
    other = searched(SPACE, f"tune.sampler={sampler}", "tune.seed=1")
    assert [each.params for each in run(other, 1, 3)] != [each.params for each in first[:3]]
    assert len({json.dumps(each.params) for each in first}) == 12


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes"])
def test_the_first_proposals_of_a_batch_do_not_depend_on_its_length(sampler: str) -> None:
    of = searched(SPACE, f"tune.sampler={sampler}")
    done = run(of, 2, 4)
    assert study.propose(of, done, (), 8, 4)[:2] == study.propose(of, done, (), 8, 2)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes"])
def test_results_change_later_proposals(sampler: str) -> None:
    of = searched(SPACE, f"tune.sampler={sampler}")
    asked = study.propose(of, (), (), 0, 8)
    low = finished(of, asked, [number / 10 for number in range(8)])
    high = finished(of, asked, [1 - number / 10 for number in range(8)])
    later = [study.propose(of, done, (), 8, 1)[0].drawn for done in (low, high)]
    assert (later[0] == later[1]) == (sampler == "cmaes"), "CMA-ES learns by generations"


def test_a_grid_tries_each_point_once() -> None:
    of = searched(GRID, "tune.sampler=grid", "tune.trials=18")
    tried = [tuple(each.params.values()) for each in run(of, 6, 3)]
    rates = sorted({each[0] for each in tried})
    assert len(set(tried)) == 18
    assert rates == pytest.approx([1e-3, 1e-2, 1e-1])
    assert {each[1] for each in tried} == {4, 8}
    assert {each[2] for each in tried} == {5, 6, 7}


def test_a_reverse_log_range_is_dense_at_its_high_end() -> None:
    kept = "tune.space={model.feature_fraction:{low:0.01,high:1.0,log:reverse}}"
    of = searched(kept, "tune.sampler=random")
    values = [of.params(each)["model.feature_fraction"] for each in study.propose(of, (), (), 0, 200)]
    assert all(0.01 <= each <= 1.0 for each in values)
    assert sum(each > 0.91 for each in values) == pytest.approx(100, abs=30), "half of the logarithm of 0.01 to 1"


def test_choices_may_be_lists_and_null() -> None:
    choices = "tune.space={model.early_stopping_rounds:[null,5],model.boosting:[gbdt,rf]}"
    of = searched(choices, "tune.sampler=random")
    found = [of.params(each) for each in study.propose(of, (), (), 0, 30)]
    assert {each["model.early_stopping_rounds"] for each in found} == {None, 5}
    assert {each["model.boosting"] for each in found} == {"gbdt", "rf"}


def test_the_best_is_the_first_of_equals_in_the_direction_of_the_metric() -> None:
    of = searched(SPACE)
    done = finished(of, study.propose(of, (), (), 0, 4), [0.5, 0.7, 0.7, 0.2])
    done.append(replace(done[0], proposal=Proposal(4, done[0].proposal.drawn), state="pruned", value=None))
    assert [best.number for each in (of, replace(of, metric=LOWER)) if (best := each.best(done))] == [1, 3]
    assert of.best(done[4:]) is None


@given(st.lists(st.tuples(st.integers(1, 10**6), st.floats(-1e9, 1e9)), max_size=5), st.one_of(st.none(), st.text()))
@settings(max_examples=50)
def test_a_record_is_read_as_it_was_written(trace: list[tuple[int, float]], problem: str | None) -> None:
    proposal = Proposal(3, {"model.num_leaves": 5}, {"completed_rung_0": 0.1})
    trial = Trial(proposal, {"model.num_leaves": 5}, "failed", None, None, tuple(trace), problem)
    assert study.read(json.loads(json.dumps(trial.record()))) == trial


@pytest.mark.parametrize(("metric", "stops"), [(HIGHER, [False, True]), (LOWER, [True, False])])
def test_the_median_of_finished_trials_at_the_same_step_decides(metric: Metric, stops: list[bool]) -> None:
    of = searched(SPACE, metric=metric)
    asked = study.propose(of, (), (), 0, 6)
    done = finished(of, asked[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
    pruning = Pruning(of, done, (), asked[5])
    assert [pruning.stops(10, 0.31), pruning.stops(20, 0.4)] == stops


def test_too_few_finished_trials_prune_none() -> None:
    of = searched(SPACE)
    asked = study.propose(of, (), (), 0, 3)
    assert not Pruning(of, finished(of, asked[:2], [0.9, 1.0]), (), asked[2]).stops(20, 0.0)


def test_hyperband_keeps_its_rungs_with_a_trial() -> None:
    of = searched(SPACE, "tune.pruner=hyperband", "model.steps=90", "model.report_every=10")
    done: list[Trial] = []
    states: list[Any] = []
    for number in range(12):
        (asked,) = study.propose(of, done, (), number, 1)
        pruning = Pruning(of, done, (), asked)
        stopped = any(pruning.stops(step, 1 / (number + 1)) for step in range(10, 100, 10))
        states.append("pruned" if stopped else "complete")
        own = replace(asked, attributes=pruning.attributes())
        done.append(Trial(own, of.params(asked), states[-1], None if stopped else 1 / (number + 1), 90, ()))
    assert {"pruned", "complete"} == set(states)
    assert any(key.startswith("completed_rung") for each in done for key in each.proposal.attributes)


def test_the_key_that_decides_has_the_largest_importance() -> None:
    of = searched(SPACE)
    shares = study.importances(of, run(of, 5, 4))
    assert next(iter(shares)) == "model.learning_rate"
    assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
    assert study.importances(of, run(of, 1, 1)) == {}


@pytest.mark.parametrize(("key", "whole"), [("num_leaves", True), ("learning_rate", False), ("lambda_l2", False),
                                            ("early_stopping_rounds", True)])  # fmt: skip
def test_the_schema_says_which_keys_are_whole_numbers(key: str, whole: bool) -> None:
    assert space.whole_numbers(f"model.{key}", configure(["model=lightgbm"]).model) == whole


def test_a_range_of_a_whole_number_gives_whole_numbers_and_others_do_not() -> None:
    of = searched("tune.space={model.num_leaves:{low:2,high:31},model.lambda_l2:{low:0,high:10}}")
    (params,) = [of.params(each) for each in study.propose(of, (), (), 0, 1)]
    assert isinstance(params["model.num_leaves"], int)
    assert isinstance(params["model.lambda_l2"], float)


def test_null_space_and_metric_are_those_of_family_and_task() -> None:
    tune = configure(["model=flat", "tune=optuna"]).tune
    assert isinstance(tune, Tune)
    assert tune.metric == "accuracy"
    assert set(tune.space) == {"model.learning_rate", "model.initial_sd"}
    with pytest.raises(Refused, match=r"tune\.trials: is not read"):
        configure(["tune.trials=3"])
    assert configure(["tune=none"]).tune is None
