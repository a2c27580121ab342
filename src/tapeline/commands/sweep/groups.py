"""Jobs that differ by their seed alone: the mean and the spread of their test scores."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SEED = "seed="


@dataclass(frozen=True)
class Group:
    """Two or more jobs that are the same but for the seed of the model."""

    job: str
    """Their overrides without the seed."""
    seeds: int
    mean: float
    sd: float
    """Of the sample, with n - 1."""
    low: float
    high: float


def by_seed(rows: Sequence[Mapping[str, Any]], losses: Mapping[str, float]) -> list[Group]:
    """The groups of finished rows, the one with the least mean loss first."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        words = str(row["job"]).split()
        if row["status"] == "finished" and isinstance(row["test"], float) and any(w.startswith(SEED) for w in words):
            found.setdefault(" ".join(w for w in words if not w.startswith(SEED)) or "as configured", []).append(row)
    several = {job: each for job, each in found.items() if len(each) > 1}
    order = sorted(several, key=lambda job: statistics.fmean(losses[str(row["job"])] for row in several[job]))
    return [_group(job, [float(row["test"]) for row in several[job]]) for job in order]


def _group(job: str, scores: Sequence[float]) -> Group:
    return Group(job, len(scores), statistics.fmean(scores), statistics.stdev(scores), min(scores), max(scores))
