"""Durations, ids of partitions and the manifest."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeline.tables.spec import (
    Column,
    Manifest,
    Part,
    complete,
    format_duration,
    format_time,
    from_json,
    parse_duration,
    to_json,
    wrong_ids,
)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("16m", 960), ("1h", 3_600), ("3d", 259_200), ("40w", 24_192_000), ("0d", 0)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@given(st.integers(0, 10**8))
def test_a_duration_is_written_as_it_is_read(seconds: int) -> None:
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["16", "", "16 m", "m", "1.5h", "-1d", "3D", "1d2h", "999999999w", "٣d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a"):
        parse_duration(text)


def test_a_number_alone_is_refused_with_the_duration_to_write() -> None:
    with pytest.raises(ValueError, match=r"16d.*16h.*16m"):
        parse_duration("16")


def test_ids_are_safe_and_unique_without_regard_to_case() -> None:
    assert not list(wrong_ids(["0", "BTC_USD", "a-b", "x" * 40]))
    findings = list(wrong_ids(["BTC", "btc", "a/b", "", "x" * 41, "BTC", "a.b", "ü"]))
    assert len(findings) == 7
    assert {"'BTC'", "'btc'"} <= {finding.where.split()[-1] for finding in findings}


HEADER = Manifest(
    "regression",
    "m",
    (Column("t", "time", "datetime64[us]"), Column("a", "feature", "float32"), Column("y", "target", "float64")),
    ("y",),
)


def test_the_digest_of_a_table_depends_on_header_ids_and_values_not_on_order() -> None:
    parts = [Part(name, f"{name}.parquet", 3, None, None, digest) for name, digest in (("a", "1"), ("b", "2"))]
    digest = complete(HEADER, parts).digest
    assert complete(HEADER, parts[::-1]) == complete(HEADER, parts)
    others = [
        complete(HEADER, parts[:1]),
        complete(HEADER, [parts[0], replace(parts[1], digest="3")]),
        complete(replace(HEADER, task="direction"), parts),
        complete(replace(HEADER, columns=(*HEADER.columns, Column("w", "weight", "float64"))), parts),
    ]
    assert digest not in {each.digest for each in others}
    with pytest.raises(ValueError, match="case"):
        complete(HEADER, [parts[0], replace(parts[0], id="A")])


def test_a_manifest_is_the_same_after_json() -> None:
    shaped = Manifest("keypoints", "f", (Column("i", "feature", "uint8", (2, 3)),), (), (2, 3), {"late": {"a": 1}})
    for manifest in (complete(HEADER, [Part("a", "a.parquet", 3, "2020-01-01", None, "1")]), shaped):
        assert from_json(json.loads(json.dumps(to_json(manifest)))) == manifest
    with pytest.raises(ValueError, match="schema 2"):
        from_json({**to_json(HEADER), "schema": 2})


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": ("y", "z")},
        {"feature_shape": (96, 96)},
        {"columns": (*HEADER.columns, Column("y", "context", "float64"))},
        {"columns": (*HEADER.columns, Column("weight", "context", "float64"))},
        {"columns": (*HEADER.columns, Column("feature", "feature", "float32"))},
        {"columns": (*HEADER.columns, Column("name", "feature", "str"))},
    ],
)
def test_a_header_that_can_be_read_in_two_ways_is_our_bug(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(HEADER, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("unit", ["D", "s", "ms", "us", "ns"])
def test_a_time_is_the_same_after_text(unit: str) -> None:
    times = np.array(["2021-05-01", "2021-05-01T00:10", "2021-05-01T00:00:00.5"], dtype=f"datetime64[{unit}]")
    for time in times:
        assert np.datetime64(str(format_time(time))) == time
    assert format_time(np.int64(7)) == 7
