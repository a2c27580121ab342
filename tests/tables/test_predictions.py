"""predictions.parquet: what is written is read back, with the types and in the order that it had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeline.tables import predictions as forecasts
from tapeline.tables.predictions import Predictions
from tapeline.tables.spec import Array
from tests.tables.tables import assert_equal

DRAW = np.random.default_rng(0)
ROWS = 12
TIME = np.datetime64("2020-01-01T00:00", "us") + np.repeat(np.arange(ROWS // 2), 2) * np.timedelta64(60, "s")


def direction() -> Predictions:
    """Several windows of two assets, with days as times."""
    down = DRAW.random(ROWS)
    rows = {
        "window": np.repeat([0, 1], ROWS // 2),
        "time": TIME.astype("datetime64[D]"),
        "partition": np.array(["ADA", "BTC"] * (ROWS // 2), dtype=object),
    }
    outputs = {"prediction": (down > 0.5).astype(np.int64), "probability": np.stack([1 - down, down], axis=1)}
    return Predictions(rows, {"target": DRAW.integers(0, 2, ROWS), **outputs}, {"majority": np.zeros(ROWS, np.int64)})


def regression() -> Predictions:
    """One output of one window, with minutes as times, missing labels, weights, context, and names with numbers."""
    target = DRAW.normal(size=ROWS)
    target[::3] = np.nan
    return Predictions(
        {"window": np.zeros(ROWS, np.int64), "time": TIME},
        {
            "target": target,
            "weight": DRAW.random(ROWS),
            "last_close": DRAW.random(ROWS),
            "volume": 2**53 + np.arange(ROWS),
            "bid.1": DRAW.random(ROWS),
            "prediction": DRAW.normal(size=(ROWS, 1)),
        },
        {"train mean": np.full((ROWS, 1), 0.1), "move of lag.1": np.zeros((ROWS, 1))},
    )


def keypoints() -> Predictions:
    """More than ten outputs, so that their order is not that of text; rows without time, in groups."""
    return Predictions(
        {
            "window": np.zeros(ROWS, np.int64),
            "row": np.arange(ROWS) * 7,
            "group": np.array([f"p{each // 3}" for each in range(ROWS)], dtype=object),
        },
        {"target": DRAW.normal(size=(ROWS, 30)), "prediction": DRAW.normal(size=(ROWS, 30)).astype(np.float32)},
        {"train mean": DRAW.normal(size=(ROWS, 30))},
    )


KINDS = {"direction": direction(), "regression": regression(), "keypoints": keypoints()}


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest) -> Predictions:
    return KINDS[request.param]


def parts(predictions: Predictions) -> list[dict[str, Array]]:
    return [dict(each) for each in (predictions.rows, predictions.scored, predictions.baselines)]


def assert_same(left: Predictions, right: Predictions) -> None:
    for one, other in zip(parts(left), parts(right), strict=True):
        assert list(one) == list(other)
        for name, values in one.items():
            assert_equal(values, other[name])


def read_back(predictions: Predictions, folder: Path) -> Predictions:
    forecasts.write(folder / "predictions.parquet", predictions)
    return forecasts.read(folder / "predictions.parquet")


def test_every_column_comes_back_as_it_was_and_in_its_order(made: Predictions, tmp_path: Path) -> None:
    assert_same(read_back(made, tmp_path), made)


@settings(max_examples=40)
@given(rows=st.integers(0, 5), outputs=st.integers(1, 12), data=st.data())
def test_any_numbers_come_back(
    rows: int, outputs: int, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    numbers = st.floats(width=64)
    values = data.draw(st.lists(numbers, min_size=rows * outputs, max_size=rows * outputs))
    target = np.array(values, dtype=np.float64).reshape(rows, outputs)
    times = np.datetime64("2020-01-01") + np.arange(rows)
    record = Predictions({"window": np.zeros(rows, np.int64), "time": times}, {"target": target}, {})
    assert_same(read_back(record, tmp_path_factory.mktemp("numbers")), record)


def test_the_same_predictions_give_the_same_bytes_and_others_do_not(made: Predictions, tmp_path: Path) -> None:
    changed = {**made.scored, "prediction": made.scored["prediction"] + 1}
    paths = [tmp_path / name for name in ("once.parquet", "again.parquet", "changed.parquet")]
    for path, each in zip(paths, (made, read_back(made, tmp_path), replace(made, scored=changed)), strict=True):
        forecasts.write(path, each)
    once, again, other = (path.read_bytes() for path in paths)
    assert once == again != other


def test_others_can_read_it_as_a_plain_table(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    forecasts.write(path, KINDS["direction"])
    frame = pl.read_parquet(path)
    outputs = ["prediction", "probability.0", "probability.1"]
    assert frame.columns == ["window", "time", "partition", "target", *outputs, "baseline:majority"]
    assert frame["time"].dtype == pl.Date
    assert frame["partition"].to_list() == ["ADA", "BTC"] * (ROWS // 2)


def test_some_rows_are_taken_by_number_or_by_flag(made: Predictions) -> None:
    chosen = np.array([5, 0])
    some = made.take(chosen)
    assert len(some) == 2
    for one, other in zip(parts(some), parts(made), strict=True):
        for name, values in one.items():
            assert_equal(values, other[name][chosen])
    flags = made.rows["window"] == 0
    assert_same(made.take(flags), made.take(np.flatnonzero(flags)))


def test_the_axis_is_the_time_or_the_row_number_and_its_labels_are_text() -> None:
    assert KINDS["regression"].labels[:3] == ["2020-01-01T00:00:00", "2020-01-01T00:00:00", "2020-01-01T00:01:00"]
    assert KINDS["direction"].labels[0] == "2020-01-01"
    assert KINDS["keypoints"].labels[:3] == ["0", "7", "14"]


@pytest.mark.parametrize("content", [b"", b"PAR1", b'{"no": "parquet"}', b"PAR1" + bytes(range(256)) + b"PAR1"])
def test_a_broken_file_is_a_value_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"predictions\.parquet"):
        forecasts.read(path)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_a_value_error(made: Predictions, share: float, tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    forecasts.write(path, made)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"predictions\.parquet"):
        forecasts.read(path)


def test_a_parquet_file_of_something_else_is_a_value_error(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    pl.DataFrame({"date": ["2020-01-01"], "close": [1.0]}).write_parquet(path)
    with pytest.raises(ValueError, match=r"predictions\.parquet"):
        forecasts.read(path)
    with pytest.raises(FileNotFoundError):
        forecasts.read(tmp_path / "none.parquet")


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    forecasts.write(path, KINDS["direction"])
    before = path.read_bytes()
    ragged = {**KINDS["direction"].scored, "prediction": np.zeros(ROWS - 1)}
    with pytest.raises(pl.exceptions.PolarsError):
        forecasts.write(path, replace(KINDS["direction"], scored=ragged))
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (before, [path])
