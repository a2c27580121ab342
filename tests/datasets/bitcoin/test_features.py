"""Features, target and context: against a plain computation, without the future, and over gaps."""

from __future__ import annotations

import calendar
import math
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeline.datasets import bitcoin
from tapeline.datasets.bitcoin import features, simulation
from tapeline.lookup import model_name
from tapeline.tables.spec import Array, Manifest
from tests.datasets.bitcoin.test_candles import ingest, section

TARGETS = ("next_day", "same_day")


@cache
def raw() -> pl.DataFrame:
    return ingest(simulation.simulate(0)).slice(200, 120)


def rows(candles: pl.DataFrame, target: str = "next_day") -> tuple[Manifest, pl.DataFrame]:
    header, ((_, frame),) = bitcoin.table(section(f"dataset.target={target}"), candles)
    assert isinstance(frame, pl.DataFrame)
    return header, frame


def seen(candles: pl.DataFrame, target: str) -> tuple[Array, Array]:
    """Times, and the features of each row."""
    header, frame = rows(candles, target)
    return frame["time"].to_numpy(), frame.select(header.names("feature")).to_numpy()


def test_a_row_is_what_its_definition_says() -> None:
    header, frame = rows(raw())
    days = {each["date"]: each for each in raw().to_dicts()}
    order = list(days)
    for each in frame.to_dicts():
        at = order.index(each["time"])
        today, before = days[order[at]], days[order[at - 1]]
        for lag in (1, 2, 3, 5, 7):
            change = math.log(today["close"] / days[order[at - lag]]["close"])
            assert each[f"log_return_{lag}"] == pytest.approx(change, abs=1e-7)
        assert each["high_low_0"] == pytest.approx(math.log(today["high"] / today["low"]), rel=1e-6)
        assert each["high_low_1"] == pytest.approx(math.log(before["high"] / before["low"]), rel=1e-6)
        assert each[calendar.day_name[each["time"].weekday()].lower()] == 1
        assert sum(each[day] for day in features.WEEKDAYS) == 1
        if before["volume"] is None:
            assert each["volume_change"] is None
        else:
            assert each["volume_change"] == pytest.approx(math.log(today["volume"] / before["volume"]), abs=1e-6)
        tomorrow = days[order[at + 1]]
        assert each["last_price"] * math.exp(each["target"]) == pytest.approx(tomorrow["close"])
        assert each["average_close"] == pytest.approx(np.mean([days[order[at - lag]]["close"] for lag in range(7)]))
        assert each["forecast_for"] == tomorrow["date"]
    assert len(frame) == 120 - 8
    assert frame["volume_change"].null_count() == 44 - 7
    assert header.extra["note"] is None
    assert header.names("context") == ("last_price", "average_close", "forecast_for")


def test_same_day_is_labelled_a_leak() -> None:
    header, frame = rows(raw(), "same_day")
    assert len(frame) == 120
    assert header.names("feature") == ("high_open", "low_open")
    assert "Leak" in str(header.extra["note"])
    closes = frame["last_price"] * frame["target"].exp()
    np.testing.assert_allclose(closes, raw()["close"])
    assert (frame["forecast_for"] == frame["time"]).all()


@settings(max_examples=40)
@given(
    row=st.integers(8, 110),
    column=st.sampled_from(features.CANDLE),
    factor=st.floats(0.5, 2),
    target=st.sampled_from(TARGETS),
    data=st.data(),
)
def test_no_feature_moves_when_a_later_candle_does(
    row: int, column: str, factor: float, target: str, data: st.DataObject
) -> None:
    changed = data.draw(st.integers(row + 1, 119))
    moved = raw().with_columns(
        pl.when(pl.int_range(pl.len()) == changed).then(pl.col(column) * factor).otherwise(pl.col(column))
    )
    (times, before), (again, after) = seen(raw(), target), seen(moved, target)
    earlier = times <= raw()["date"].to_numpy()[row]
    np.testing.assert_array_equal(times, again)
    np.testing.assert_array_equal(before[earlier], after[earlier])


def test_rows_over_a_gap_are_left_out() -> None:
    holed = raw().filter(pl.int_range(pl.len()) != 60)
    whole, left = (set(rows(each)[1]["time"]) for each in (raw(), holed))
    gone = sorted(whole - left)
    assert left < whole
    assert gone == raw()["date"].to_list()[59:68]
    joined = rows(raw())[1].join(rows(holed)[1], on="time", suffix=" again")
    assert (joined["log_return_7"] == joined["log_return_7 again"]).all()


def test_the_newest_day_can_be_asked_about() -> None:
    record = section()
    _, ((_, frame),) = bitcoin.newest(record, raw())
    assert isinstance(frame, pl.DataFrame)
    assert frame["time"][-1] == raw()["date"][-1]
    assert frame["target"].to_list()[-1] is None
    assert frame.head(-1).equals(rows(raw())[1])


def test_a_series_shows_gaps() -> None:
    series = bitcoin.series(section(), raw().filter(pl.int_range(pl.len()) != 60))
    assert len(series.time) == 120
    assert np.flatnonzero(np.isnan(series.values["bitcoin"])).tolist() == [60]
    assert series.unit == "USD"


def test_models_of_other_targets_and_coins_have_other_names() -> None:
    record = {"name": "bitcoin", "source": "csv", "coin": "bitcoin", "target": "next_day"}
    assert model_name(record) == "bitcoin"
    assert model_name({**record, "target": "same_day", "source": "simulated"}) == "bitcoin-same_day-simulated"
    assert model_name({**record, "coin": "Bitcoin Cash"}) == "bitcoin-cash"
    assert model_name({"name": "indices", "source": "simulated"}) == "indices-simulated"


def test_the_simulation_has_the_statistics_of_the_real_table() -> None:
    found = []
    for seed in range(4):
        frame = ingest(simulation.simulate(seed))
        moves = np.diff(np.log(frame["close"].to_numpy()))
        size = np.abs(moves) - np.abs(moves).mean()
        found.append([moves.mean(), moves.std(), (size[1:] * size[:-1]).sum() / (size**2).sum(),
                      np.log(frame["high"] / frame["low"]).mean()])  # fmt: skip
        assert len(frame) == 1793 - sum(simulation.GAPS)
    mean, sd, clustering, span = np.mean(found, axis=0)
    assert mean == pytest.approx(0.0023, abs=2e-4)
    assert sd == pytest.approx(0.045, abs=2e-3)
    assert 0.15 < clustering < 0.4
    assert span == pytest.approx(0.052, abs=0.012)
    assert simulation.simulate(3).equals(simulation.simulate(3))
    assert not simulation.simulate(3).equals(simulation.simulate(4))


def rmse(last: Array, truth: Array, forecast: Array) -> float:
    known = np.isfinite(forecast)
    return float(np.sqrt(np.mean((last * (np.exp(truth) - np.exp(forecast)))[known] ** 2)))


def test_the_reference_figures_of_the_real_file(crypto_markets: object) -> None:
    """Root mean squared errors in USD of what needs no training: measured on this file before."""
    record = pl.read_csv(str(crypto_markets), infer_schema=False)
    candles = bitcoin.ingest(section(), record.lazy(), "crypto-markets.csv")
    assert (len(candles), str(candles["date"][0]), str(candles["date"][-1])) == (1793, "2013-04-28", "2018-03-25")
    assert candles["volume"].null_count() == candles["volume"].head(243).null_count() == 243
    close = candles["close"].to_numpy()
    assert np.sqrt(np.mean(np.diff(close)[-358:] ** 2)) == pytest.approx(524.36, abs=0.01)
    frame = rows(candles)[1]
    last, target = frame["last_price"].to_numpy(), frame["target"].to_numpy()
    assert len(frame) == 1785
    assert rmse(last[-357:], target[-357:], 0 * target[-357:]) == pytest.approx(525.09, abs=0.01)
    same = rows(candles, "same_day")[1]
    last, target = same["last_price"].to_numpy(), same["target"].to_numpy()
    made = {name: np.log(same[name].to_numpy() / last) for name in ("last_price", "previous_close", "middle")}
    whole = [rmse(last, target, each) for each in made.values()]
    assert whole == pytest.approx([235.41, 235.40, 113.42], abs=0.01)
    ends = [rmse(last[-359:], target[-359:], each[-359:]) for each in made.values()]
    assert (ends[0], ends[2]) == pytest.approx((523.80, 252.35), abs=0.01)
