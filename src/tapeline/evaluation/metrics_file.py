"""metrics.json: a public interface, laid out once. `metrics.schema.json` beside this file says what it holds.

Files of schema 1, of older runs and versions in a store, are read as if they were of schema 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA = 2
JSON_SCHEMA = Path(__file__).with_name("metrics.schema.json")

Values = dict[str, Any]


def current(record: Mapping[str, Any]) -> Values:
    """The content of a metrics.json in the layout of schema 2; what schema 1 does not say is null or missing.

    Raises:
        ValueError: it is of a later schema.
        KeyError, TypeError: it is not a metrics.json.
    """
    schema = record.get("schema", 1)
    if schema == SCHEMA:
        return dict(record)
    if schema != 1:
        raise ValueError(f"metrics.json of schema {schema}; this version reads 1 and {SCHEMA}")
    ran, data = dict(record["ran"]), dict(record["data"])
    return {
        "schema": 1,
        "ran": {**ran, "task": "direction"},
        "config": record["config"],
        "data": {**data, "quality": []},
        "trained": None,
        "tune": None,
        "train": record["train"],
        "validation": _overall(record.get("validation")),
        "test": _overall(record["test"]),
        "baselines": {name: scores_1(scores) for name, scores in record["baselines"].items()},
        "split": None,
        "gate": {**record["gate"], "metric": record["config"]["gate"]["metric"]},
        "champion": record.get("champion"),
        "model_version": record["model_version"],
    }


def _overall(scores: Mapping[str, Any] | None) -> Values | None:
    return None if scores is None else {"overall": scores_1(scores), "by": {}}


def scores_1(scores: Mapping[str, Any]) -> Values:
    """Scores of schema 1, which had the interval of the accuracy alone, in the layout of schema 2."""
    values = {name: value for name, value in scores.items() if name != "interval"}
    return {**values, "intervals": {"accuracy": scores["interval"]} if "interval" in scores else {}}
