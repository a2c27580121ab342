"""The decision: a model is published only if every rule that is on is met."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from tapeline.config.schema import Gate
from tapeline.errors import refuse
from tapeline.intervals import Interval
from tapeline.tasks import Metric, best, value

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Champion:
    """The version now served, and the candidate on the same rows."""

    model_version: str
    last_label: str
    """Time of the last row that trained it."""
    rows: int
    """Test rows later than that."""
    score: float
    """Its own, in the gate's metric."""
    candidate: float


@dataclass(frozen=True)
class Verdict:
    """Of one rule."""

    met: bool
    reason: str


def decide(
    gate: Gate,
    metric: Metric,
    test: Mapping[str, Any],
    baselines: Mapping[str, Any],
    lead: Callable[[str, float], Interval | None],
    challenge: Callable[[], Champion | str],
) -> dict[str, Any]:
    """Accepted or not, with a sentence for each rule that is on, and the champion where one was scored.

    Args:
        gate: the rules.
        metric: that the gate asks for.
        test: scores of the test rows.
        baselines: the same of each baseline.
        lead: the interval, at a level, of the metric's change from a baseline to the model on the same rows.
        challenge: scores the version now served, or says why there is nothing to compare with; it
            is called only if its rule is on and all others are met.

    Raises:
        Refused: the metric is not defined on these test rows.
    """
    score = value(test, metric.name)
    if score is None or not math.isfinite(score):
        raise refuse(f"gate.metric={metric.name}", "is not defined on these test rows", "choose another metric")
    verdicts: list[Verdict] = []
    if gate.threshold is not None:
        met = metric.sign * (score - gate.threshold) > 0
        better = "above" if metric.sign > 0 else "below"
        reason = f"{metric.name} {score:.6f} is {'' if met else 'not '}{better} {gate.threshold:g}"
        verdicts.append(Verdict(met, reason))
    if gate.baseline_margin is not None:
        verdicts += _over_baseline(metric, score, gate.baseline_margin, gate.confidence, baselines, lead)
    champion = None
    if gate.champion_margin is not None and all(each.met for each in verdicts):
        found = challenge()
        if isinstance(found, Champion):
            champion = asdict(found)
            verdicts.append(_against(found, metric, gate.champion_margin))
        else:
            verdicts.append(Verdict(True, f"there is no champion to compare with: {found}"))
    accepted = all(each.met for each in verdicts)
    decision = {"accepted": accepted, "reasons": [each.reason for each in verdicts] or ["no rule is on"]}
    return {**decision, "champion": champion} if champion else decision


def _over_baseline(
    metric: Metric,
    score: float,
    margin: float,
    confidence: float | None,
    baselines: Mapping[str, Any],
    lead: Callable[[str, float], Interval | None],
) -> Iterator[Verdict]:
    """Whether the score leads that of the best baseline, and whether the lead is more than chance."""
    found = best(metric, baselines)
    if found is None:
        yield Verdict(False, f"no baseline has {metric.name} on these test rows")
        return
    name, reference = found
    ahead = metric.sign * (score - reference)
    met = ahead >= margin
    yield Verdict(
        met,
        f"the lead over the best baseline, {name} ({reference:.6f}), is {ahead:.6f}, "
        f"{'at least' if met else 'below'} {margin:g}",
    )
    if confidence is None:
        return
    interval = lead(name, confidence)
    if interval is None:
        yield Verdict(False, f"the lead has no interval at confidence {confidence:g}: there are too few test rows")
        return
    low, high = sorted((metric.sign * interval.low, metric.sign * interval.high))
    met = low > margin
    yield Verdict(
        met,
        f"the interval of the lead at confidence {confidence:g} is {low:.6f} to {high:.6f} ({interval.method}); "
        f"its lower end is {'' if met else 'not '}above {margin:g}",
    )


def _against(champion: Champion, metric: Metric, margin: float) -> Verdict:
    lead = metric.sign * (champion.candidate - champion.score)
    met = lead >= margin
    return Verdict(
        met,
        f"on {champion.rows} test rows after {champion.last_label}, {metric.name} is {champion.candidate:.6f}, and "
        f"{champion.score:.6f} for the served version {champion.model_version}; the lead is {lead:.6f}, "
        f"{'at least' if met else 'below'} {margin:g}",
    )


def later(time: Array, label: str, horizon: timedelta) -> Array:
    """The rows whose labels come after a label, without those that it reaches into: bool [rows].

    Args:
        time: of each row.
        label: time of the row that has the label.
        horizon: how far behind its time a label reaches.
    """
    reach = np.timedelta64(round(horizon.total_seconds()), "s")
    return np.asarray(time > np.datetime64(label) + reach)
