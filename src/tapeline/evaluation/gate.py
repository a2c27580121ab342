"""The decision: a model is published only if every rule that is on is met."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tapeline.config import Gate
from tapeline.errors import refuse
from tapeline.evaluation.metrics import best, sign, value


def decide(gate: Gate, test: Mapping[str, Any], baselines: Mapping[str, Any]) -> dict[str, Any]:
    """Accepted or not, with a sentence for each rule that is on.

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
    accepted = all(met for met, _ in verdicts)
    return {"accepted": accepted, "reasons": [reason for _, reason in verdicts] or ["no rule is on"]}
