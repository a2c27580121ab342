"""The digest: equal for equal values, another for others, whatever the types' widths and the chunks."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeline import files
from tapeline.tables import digests
from tapeline.tables.digests import digest_frame


def digest(*values: Any, dtype: Any = None) -> str:
    return digest_frame(pl.DataFrame({"x": pl.Series(values, dtype=dtype)}))


def before(frame: pl.DataFrame) -> str:
    """The recipe of numbers and days before, which metrics.json of older runs hold."""
    columns = []
    for name in frame.columns:
        values = frame[name]
        if values.dtype.is_temporal():
            values = values.cast(pl.Datetime("ns")).to_physical()
        missing = values.is_null().to_numpy()
        numbers = values.fill_null(0).cast(pl.Float64).to_numpy()
        columns.append([name, files.digest(missing.tobytes(), numbers.astype("<f8").tobytes())])
    return files.digest(columns)


@given(
    st.lists(
        st.tuples(
            st.dates(date(1800, 1, 1), date(2200, 1, 1)),
            st.none() | st.floats(width=32, allow_nan=False) | st.just(float("nan")),
            st.integers(-(2**53), 2**53),
        )
    )
)
def test_numbers_and_days_have_the_digest_of_before(rows: list[tuple[date, float | None, int]]) -> None:
    schema = {"date": pl.Date, "close": pl.Float64, "volume": pl.Int64}
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(small=pl.col("close").cast(pl.Float32))
    assert digest_frame(frame) == before(frame)


def test_columns_of_any_type_have_a_digest_that_chunks_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame(
        {
            "text": ["a", None, "", "bc"] * 5,
            "big": [2**53, 2**53 + 1, None, 2**62] * 5,
            "list": [[1, 2], [], None, [None]] * 5,
            "image": pl.Series([[[1, 2], [3, 4]]] * 20, dtype=pl.Array(pl.UInt8, (2, 2))),
            "bytes": [b"a", None, b"", b"bc"] * 5,
            "pair": [{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}, {"a": 2, "b": None}] * 5,
            "when": [datetime(2020, 1, 1, tzinfo=UTC), None] * 10,
        }
    )
    whole = digest_frame(frame)
    monkeypatch.setattr(digests, "BLOCK", 192)
    assert digest_frame(frame) == whole
    assert digest_frame(pl.concat([frame[:3], frame[3:4], frame[4:]], rechunk=False)) == whole
    assert digest_frame(frame[list(range(19, -1, -1))]) != whole


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (digest(1, 2), digest(1.0, 2.0)),
        (digest(1, 2, dtype=pl.Int8), digest(1, 2, dtype=pl.UInt64)),
        (digest(float("nan")), digest(-float("nan"))),
        (digest("a", "b"), digest("a", "b", dtype=pl.Categorical)),
        (digest(datetime(2020, 1, 1), dtype=pl.Datetime("ms")), digest(datetime(2020, 1, 1), dtype=pl.Datetime("ns"))),
        (digest([1], [2, 3]), digest([1.0], [2.0, 3.0])),
    ],
)
def test_equal_values_are_equal(left: str, right: str) -> None:
    assert left == right


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (digest(2**53), digest(2**53 + 1)),
        (digest(2**64 - 1, dtype=pl.UInt64), digest(2**64 - 2, dtype=pl.UInt64)),
        (digest(None, dtype=pl.Float64), digest(float("nan"))),
        (digest(None, dtype=pl.Float64), digest(0.0)),
        (digest("ab", "c"), digest("a", "bc")),
        (digest("1"), digest(1)),
        (digest("", dtype=pl.String), digest(None, dtype=pl.String)),
        (digest([1], [2, 3]), digest([1, 2], [3])),
        (digest([], dtype=pl.List(pl.Int64)), digest(None, dtype=pl.List(pl.Int64))),
        (digest([], [None], dtype=pl.List(pl.Int64)), digest([None], [], dtype=pl.List(pl.Int64))),
        (digest(datetime(2020, 1, 1, 0, 0, 0, 1)), digest(datetime(2020, 1, 1, 0, 0, 0, 2))),
        (digest({"a": 1}), digest({"b": 1})),
        (digest_frame(pl.DataFrame({"x": [1]})), digest_frame(pl.DataFrame({"y": [1]}))),
    ],
)
def test_other_values_are_other(left: str, right: str) -> None:
    assert left != right
