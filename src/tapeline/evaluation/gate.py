"""The decision: a model is published only if every rule that is on is met."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tapeline.config.schema import Gate
from tapeline.errors import refuse
from tapeline.evaluation.metrics import best, sign, value

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


def decide(
    gate: Gate,
    test: Mapping[str, Any],
    baselines: Mapping[str, Any],
    challenge: Callable[[], Champion | str],
) -> dict[str, Any]:
    """Accepted or not, with a sentence for each rule that is on, and the champion where one was scored.

    Args:
        challenge: scores the version now served, or says why there is nothing to compare with; it
            is called only if its rule is on and all others are met.

    Raises:
        Refused: the metric is not defined on these test rows.
    """
    score = value(test, gate.metric)
    if score is None or not math.isfinite(score):
        raise refuse(f"gate.metric={gate.metric}", "is not defined on these test rows", "choose another metric")
    way = sign(gate.metric)
    better = "above" if way > 0 else "below"
    verdicts: list[tuple[bool, str]] = []
    if gate.threshold is not None:
        met = way * (score - gate.threshold) > 0
        verdicts.append((met, f"{gate.metric} {score:.6f} is {'' if met else 'not '}{better} {gate.threshold:g}"))
    if gate.baseline_margin is not None:
        name, reference = best(gate.metric, baselines)
        lead = way * (score - reference)
        met = lead >= gate.baseline_margin
        verdicts.append(
            (met, f"it leads the best baseline, {name} ({reference:.6f}), by {lead:.6f}, "
                  f"{'enough' if met else 'too little'} for {gate.baseline_margin:g}")
        )  # fmt: skip
    champion = None
    if gate.champion_margin is not None and all(met for met, _ in verdicts):
        found = challenge()
        if isinstance(found, Champion):
            champion = asdict(found)
            verdicts.append(_against(found, gate.metric, gate.champion_margin))
        else:
            verdicts.append((True, f"there is no champion to compare with: {found}"))
    accepted = all(met for met, _ in verdicts)
    decision = {"accepted": accepted, "reasons": [reason for _, reason in verdicts] or ["no rule is on"]}
    return {**decision, "champion": champion} if champion else decision


def _against(champion: Champion, metric: str, margin: float) -> tuple[bool, str]:
    lead = sign(metric) * (champion.candidate - champion.score)
    met = lead >= margin
    return met, (
        f"on {champion.rows} test rows after {champion.last_label} its {metric} is {champion.candidate:.6f}, that of "
        f"the served {champion.model_version} {champion.score:.6f}: a lead of {lead:.6f}, "
        f"{'enough' if met else 'too little'} for {margin:g}"
    )


def later(time: Array, test: Array, label: str, horizon: int) -> Array:
    """The test rows whose labels come after a label, without those that it reaches into: bool [test rows].

    Args:
        time: of all rows of the table.
        test: rows of it.
        label: time of the row that has the label.
        horizon: how many times further on a label reaches.
    """
    after = np.unique(time[time > np.datetime64(label)])[horizon:]
    return np.isin(time[test], after)
