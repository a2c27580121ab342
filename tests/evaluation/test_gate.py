from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from tapeline.config.schema import Gate
from tapeline.errors import Refused
from tapeline.evaluation.gate import Champion, decide, later
from tapeline.intervals import Interval
from tapeline.tasks import direction, metric, regression

BASELINES = {"majority": {"accuracy": 0.5}, "sign of ftse_log_return_0": {"accuracy": 0.6979}}


def gate(**keys: Any) -> Gate:
    return Gate(
        **{
            "metric": "accuracy",
            "threshold": 0.7,
            "baseline_margin": None,
            "confidence": None,
            "champion_margin": None,
            **keys,
        }
    )


def never() -> Champion:
    raise AssertionError("the champion is not to be scored")


def decided(test: dict[str, Any], challenge: Any = never, lead: Any = None, **keys: Any) -> dict[str, Any]:
    rules = gate(**keys)
    return decide(rules, metric(direction, rules.metric), test, BASELINES, lead, challenge)


def accepted(score: float, **keys: Any) -> bool:
    return bool(decided({"accuracy": score, "log_loss": score}, **keys)["accepted"])


def test_the_threshold_is_strict() -> None:
    assert not accepted(0.7)
    assert accepted(0.7 + 1e-9)


def test_a_margin_counts_from_the_best_baseline() -> None:
    assert accepted(0.75, baseline_margin=0.05)
    assert not accepted(0.74, baseline_margin=0.05)
    assert accepted(0.71, baseline_margin=None)
    assert accepted(0.6979, baseline_margin=0, threshold=None)
    assert not accepted(0.6978, baseline_margin=0, threshold=None)


def test_a_lower_metric_is_better_below() -> None:
    assert accepted(0.5, metric="log_loss", threshold=0.6)
    assert not accepted(0.6, metric="log_loss", threshold=0.6)


def test_without_a_rule_all_pass() -> None:
    assert accepted(0.1, threshold=None)


def test_reasons_name_what_was_compared() -> None:
    decision = decided({"accuracy": 0.72}, baseline_margin=0.05)
    assert decision["reasons"] == [
        "accuracy 0.720000 is above 0.7",
        "the lead over the best baseline, sign of ftse_log_return_0 (0.697900), is 0.022100, below 0.05",
    ]


@pytest.mark.parametrize("score", [None, float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(score: float | None) -> None:
    with pytest.raises(Refused, match=r"gate\.metric=accuracy: is not defined on these test rows"):
        decided({"accuracy": score})


def against(score: float, candidate: float, **keys: Any) -> dict[str, Any]:
    champion = Champion("0123456789ab", "2014-08-11", 288, score, candidate)
    return decided({"accuracy": 0.72, "log_loss": 0.5}, lambda: champion, **keys)


def test_a_margin_counts_from_the_served_version() -> None:
    assert against(0.70, 0.72, champion_margin=0.01)["accepted"]
    assert not against(0.70, 0.72, champion_margin=0.03)["accepted"]
    assert against(0.72, 0.72, champion_margin=0.0)["accepted"]
    assert against(0.72, 0.71, champion_margin=-0.02)["accepted"], "a little worse may be allowed"
    assert against(0.72, 0.60)["accepted"], "the rule is off"


def test_of_a_lower_metric_a_champion_has_less() -> None:
    keys = {"metric": "log_loss", "threshold": 0.6, "champion_margin": 0.05}
    assert against(0.6, 0.5, **keys)["accepted"]
    assert not against(0.5, 0.6, **keys)["accepted"]


def test_the_decision_names_the_champion_that_was_scored() -> None:
    decision = against(0.75, 0.7, champion_margin=0.01)
    assert decision["champion"] == {
        "model_version": "0123456789ab", "last_label": "2014-08-11", "rows": 288, "score": 0.75, "candidate": 0.7,
    }  # fmt: skip
    assert decision["reasons"] == [
        "accuracy 0.720000 is above 0.7",
        "on 288 test rows after 2014-08-11, accuracy is 0.700000, and 0.750000 for the served version 0123456789ab; "
        "the lead is -0.050000, below 0.01",
    ]
    nothing = decided({"accuracy": 0.72}, lambda: "nothing is served", champion_margin=0.01)
    assert nothing == {
        "accepted": True,
        "reasons": ["accuracy 0.720000 is above 0.7", "there is no champion to compare with: nothing is served"],
    }


def test_the_champion_is_scored_only_where_all_else_passes() -> None:
    decision = decided({"accuracy": 0.6}, champion_margin=0.0)
    assert decision == {"accepted": False, "reasons": ["accuracy 0.600000 is not above 0.7"]}


def test_rows_later_than_a_label() -> None:
    time = np.array(["2020-01-01", "2020-01-02", "2020-01-02", "2020-01-05", "2020-01-06"], "datetime64[D]")
    assert later(time, "2020-01-01", timedelta(0)).tolist() == [False, True, True, True, True]
    assert later(time, "2020-01-02", timedelta(0)).tolist() == [False, False, False, True, True]
    assert later(time, "2020-01-01", timedelta(days=1)).tolist() == [False, False, False, True, True]
    assert later(time, "2020-01-05", timedelta(days=1)).tolist() == [False] * 5
    minutes = np.array(["2020-01-01T00:16", "2020-01-01T00:17"], "datetime64[us]")
    assert later(minutes, "2020-01-01T00:00", timedelta(minutes=16)).tolist() == [False, True]


def leading(low: float, high: float) -> Any:
    def lead(baseline: str, level: float) -> Interval | None:
        assert (baseline, level) == ("sign of ftse_log_return_0", 0.95)
        return Interval(low, high, level, "a method")

    return lead


def test_confidence_asks_that_the_lead_is_more_than_chance() -> None:
    keys = {"baseline_margin": 0.0, "confidence": 0.95}
    assert decided({"accuracy": 0.72}, lead=leading(0.001, 0.05), **keys)["accepted"]
    rejected = decided({"accuracy": 0.72}, lead=leading(-0.001, 0.05), **keys)
    assert not rejected["accepted"]
    assert "sign of ftse_log_return_0" in rejected["reasons"][1]
    assert "-0.001000 to 0.050000 (a method)" in rejected["reasons"][2]
    assert not decided({"accuracy": 0.72}, lead=leading(0.0, 0.05), **keys)["accepted"], (
        "the margin itself is not above"
    )
    assert not decided({"accuracy": 0.72}, lead=lambda *_: None, **keys)["accepted"], "too few rows to tell"
    assert not decided({"accuracy": 0.69}, lead=leading(0.001, 0.05), threshold=None, **keys)["accepted"]


def test_the_lead_of_a_lower_metric_is_the_fall() -> None:
    rules = gate(metric="rmse", threshold=None, baseline_margin=0.1, confidence=0.95)
    of = metric(regression, "rmse")

    def reasons(low: float, high: float) -> dict[str, Any]:
        lead = Interval(low, high, 0.95, "a method")
        return decide(rules, of, {"rmse": 0.5}, {"zero": {"rmse": 1.0}, "worse": {"rmse": 2.0}}, lambda *_: lead, never)

    assert reasons(-0.7, -0.2)["accepted"]
    assert "best baseline, zero (1.000000), is 0.500000" in reasons(-0.7, -0.2)["reasons"][0]
    assert "0.200000 to 0.700000" in reasons(-0.7, -0.2)["reasons"][1]
    assert not reasons(-0.7, -0.1)["accepted"]
