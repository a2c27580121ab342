"""A metrics.json of schema 2 as small as one can be, for tests of what reads it."""

from __future__ import annotations

import json
from typing import Any


def sample(*, accepted: bool = True, reason: str = "accuracy 0.75 is above 0.7", **more: Any) -> dict[str, Any]:
    """The content; `more` replaces keys at the top."""
    scores = {"rows": 4, "accuracy": 0.75, "confusion": {"tp": 1, "fp": 0, "fn": 1, "tn": 2}, "auc": None}
    gate = {"metric": "accuracy", "threshold": 0.7, "baseline_margin": None, "confidence": None}
    return {
        "schema": 2,
        "ran": {"experiment": None, "dataset": "indices", "task": "direction", "model": "flat", "hw": "cpu", "seed": 0},
        "config": {"dataset": {"name": "indices"}, "gate": gate, "serving": {"name": "indices"}},
        "data": {"source": "csv", "simulated": False, "digest": "d", "as_of": None, "rows": {}, "quality": []},
        "trained": {"hw": "cpu", "device": "cpu", "threads": 1, "tensorflow": None, "model": {}, "origin": {}},
        "tune": None,
        "train": {"accuracy": 0.8, "trace": []},
        "validation": None,
        "test": {"overall": {**scores, "intervals": {}}, "by": {}},
        "baselines": {"majority": {"accuracy": 0.5, "intervals": {}}, "dax": {"accuracy": 0.6, "intervals": {}}},
        "split": {"by": "time", "windows": []},
        "gate": {"metric": "accuracy", "accepted": accepted, "reasons": [reason]},
        "champion": None,
        "model_version": "0123456789ab",
        **more,
    }


def encoded(**more: Any) -> bytes:
    """The same as bytes."""
    return json.dumps(sample(**more)).encode()
