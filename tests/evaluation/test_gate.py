from __future__ import annotations

from typing import Any

import pytest

from tapeline.config import Gate
from tapeline.errors import Refused
from tapeline.evaluation.gate import decide

BASELINES = {"majority": {"accuracy": 0.5}, "sign of ftse_log_return_0": {"accuracy": 0.6979}}


def gate(**keys: Any) -> Gate:
    return Gate(**{"metric": "accuracy", "threshold": 0.7, "baseline_margin": None, **keys})


def accepted(score: float, **keys: Any) -> bool:
    decision = decide(gate(**keys), {"accuracy": score, "log_loss": score}, BASELINES)
    return bool(decision["accepted"])


def test_the_threshold_is_strict() -> None:
    assert not accepted(0.7)
    assert accepted(0.7 + 1e-9)


def test_a_margin_counts_from_the_best_baseline() -> None:
    assert accepted(0.75, baseline_margin=0.05)
    assert not accepted(0.74, baseline_margin=0.05)
    assert accepted(0.71, baseline_margin=None)


def test_a_lower_metric_is_better_below() -> None:
    assert accepted(0.5, metric="log_loss", threshold=0.6)
    assert not accepted(0.6, metric="log_loss", threshold=0.6)


def test_without_a_rule_all_pass() -> None:
    assert accepted(0.1, threshold=None)


def test_reasons_name_what_was_compared() -> None:
    decision = decide(gate(baseline_margin=0.05), {"accuracy": 0.72}, BASELINES)
    assert decision["reasons"] == [
        "accuracy 0.720000 is above 0.7",
        "it leads the best baseline, sign of ftse_log_return_0 (0.697900), by 0.022100, too little for 0.05",
    ]


@pytest.mark.parametrize("score", [None, float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(score: float | None) -> None:
    with pytest.raises(Refused, match=r"gate\.metric=accuracy: is not defined on these test rows"):
        decide(gate(), {"accuracy": score}, BASELINES)
