"""The JSON Schema of metrics.json: conftest.metrics checks each run with it; here it refuses what is wrong."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.conftest import SCHEMA
from tests.metrics_json import sample


def valid() -> dict[str, Any]:
    content = sample(split={"windows": []})
    content["config"] |= {"model": {}, "hw": {}, "split": {}}
    content["data"] |= {"note": None, "digest": "0" * 64, "rows": {"train": 8, "validation": 0, "test": 4}}
    content["baselines"] = {name: {"rows": 4, **scores} for name, scores in content["baselines"].items()}
    return content


def test_the_schema_is_one_and_takes_new_fields() -> None:
    Draft202012Validator.check_schema(SCHEMA.schema)
    assert not list(SCHEMA.iter_errors({**valid(), "new": 1}))
    by = {"asset": {"BTC": valid()["test"]["overall"]}}
    tuned = valid() | {"tune": {"trials": 40}, "test": {**valid()["test"], "by": by}}
    assert not list(SCHEMA.iter_errors(tuned))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", 1),
        ("ran.seed", "0"),
        ("data.rows.test", -1),
        ("data.digest", "unknown"),
        ("test", None),
        ("test.overall.rows", None),
        ("test.overall.intervals", {"accuracy": {"low": 0.5}}),
        ("gate.reasons", []),
        ("gate.accepted", "true"),
        ("champion", {"score": 1}),
        ("model_version", ""),
    ],
)
def test_a_wrong_value_is_refused(path: str, value: object) -> None:
    content = copy.deepcopy(valid())
    *before, last = path.split(".")
    inner = content
    for key in before:
        inner = inner[key]
    inner[last] = value
    assert list(SCHEMA.iter_errors(content))


@pytest.mark.parametrize("key", sorted(valid()))
def test_a_field_that_is_missing_is_refused(key: str) -> None:
    assert list(SCHEMA.iter_errors({name: each for name, each in valid().items() if name != key}))
