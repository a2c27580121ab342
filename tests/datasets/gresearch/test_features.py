"""Features against the published formulas, over gaps, without a look ahead, and served."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from tapeline import tensorflow as tf
from tapeline.datasets import gresearch
from tapeline.datasets.gresearch import columns, serving
from tapeline.features import indicators
from tapeline.features.calendar import calendar
from tests.datasets.gresearch import recipe
from tests.datasets.gresearch.conftest import arrays, section

Array = np.ndarray[Any, Any]
WINDOWED = [name for name in columns.NAMES if name.rpartition("_")[2].isdigit()]


def bars(count: int, seed: int = 0, gap: int | None = None) -> dict[str, Array]:
    """A random walk of minute bars, with an hour missing before the bar `gap`."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 1e-3, count)))
    first = np.r_[close[0], close[:-1]]
    wide = np.abs(random.normal(0, 1e-3, (2, count)))
    seconds = 1_600_000_020 + 60 * np.arange(count)
    if gap:
        seconds[gap:] += 3600
    high, low = np.maximum(first, close) * (1 + wide[0]), np.minimum(first, close) * (1 - wide[1])
    return {"seconds": seconds, "open": first, "high": high, "low": low, "close": close}


def assert_equal_to_the_recipe(each: dict[str, Array]) -> None:
    found, wanted = columns.features(each, original=True), recipe.features(each)
    assert list(found) == list(columns.NAMES)
    for name, values in found.items():
        np.testing.assert_allclose(values[240:], wanted[name][240:], rtol=1e-9, atol=1e-11, err_msg=name)


def test_original_features_are_the_published_ones_on_real_bars(binance: dict[str, pl.DataFrame]) -> None:
    for name in ("01", "10"):
        if name in binance:
            assert_equal_to_the_recipe(arrays(binance[name]))


def test_original_features_are_the_published_ones() -> None:
    assert_equal_to_the_recipe(bars(1500, gap=700))


def test_no_window_over_a_gap_has_a_value() -> None:
    each = bars(1500, gap=700)
    found = columns.features(each)
    for name in WINDOWED:
        first = int(name.rpartition("_")[2]) - (name.startswith(("DEMA", "sma")))
        missing = np.isnan(found[name])
        assert missing[:first].all(), name
        assert missing[700 : 700 + first].all(), name
        assert not missing[first:700].any(), name
        assert not missing[700 + first :].any(), name


def test_no_window_over_the_real_gap_has_a_value(binance: dict[str, pl.DataFrame]) -> None:
    found = False
    for part in binance.values():
        each = arrays(part)
        starts = indicators.runs(each["seconds"])
        values = columns.features(each)
        for first in starts[1:-1]:
            found = True
            assert np.isnan(values["RSI_30"][first : first + 30]).all()
            assert np.isnan(values["DEMA_240"][first : first + 239]).all()
    assert found


def test_behind_a_gap_features_are_those_of_the_bars_behind_it_alone() -> None:
    each = bars(1500, gap=700)
    behind = {name: values[700:] for name, values in each.items()}
    whole, alone = columns.features(each), columns.features(behind)
    for name in columns.NAMES:
        np.testing.assert_array_equal(whole[name][700:], alone[name])


@pytest.mark.parametrize("original", [False, True])
def test_a_later_bar_moves_no_feature(original: bool) -> None:
    each = bars(900)
    changed = {name: values.copy() for name, values in each.items()}
    for name in ("open", "high", "low", "close"):
        changed[name][600:] *= 1.5
    before, after = (columns.features(one, original=original) for one in (each, changed))
    for name in columns.NAMES:
        np.testing.assert_array_equal(before[name][:600], after[name][:600])
    np.testing.assert_array_equal(columns.last_return(each)[:600], columns.last_return(changed)[:600])


def test_prices_in_another_unit_give_the_same_features() -> None:
    each = bars(600)
    cents = {name: values if name == "seconds" else 100 * values for name, values in each.items()}
    for name, values in columns.features(each).items():
        np.testing.assert_allclose(columns.features(cents)[name], values, rtol=1e-7, atol=1e-10)


def test_what_is_not_defined_is_missing_and_no_number() -> None:
    each = bars(300)
    flat = {name: values if name == "seconds" else np.full(300, 5.0) for name, values in each.items()}
    found = columns.features(flat)
    assert np.isnan(found["RSI_30"]).all()
    assert (found["HL"] == 0).all()
    flat["close"] = np.r_[flat["close"][:150], np.full(150, 4.0)]
    assert np.isfinite(columns.features(flat)["RSI_30"][151:]).all()
    assert (columns.features(flat, original=True)["RSI_30"][:150] == 0).all()


def test_the_calendar_is_pythons() -> None:
    from datetime import UTC, datetime

    seconds = np.arange(0, 4_000_000_000, 86_400 * 13 + 3601)
    found = calendar(seconds)
    for at, each in enumerate(seconds.tolist()):
        day = datetime.fromtimestamp(each, UTC).date()
        wanted = (day.weekday(), day.timetuple().tm_yday, day.isocalendar().week, day.month % 12 // 3 + 1)
        assert tuple(int(values[at]) for values in found.values()) == wanted


def windows(part: pl.DataFrame, rows: Array) -> dict[str, Array]:
    """The last 4,096 minutes at each of these bars, NaN where there is no bar."""
    each = arrays(part)
    position = {second: at for at, second in enumerate(each["seconds"].tolist())}
    time = each["seconds"][rows][:, None] - 60 * np.arange(serving.LENGTH - 1, -1, -1)
    at = np.array([[position.get(second, -1) for second in line] for line in time.tolist()])
    prices = {name: np.where(at >= 0, each[name][at], np.nan) for name in serving.PRICES}
    return {"time": time, **prices}


def assert_served_as_in_the_table(raw: dict[str, pl.DataFrame], rows: int) -> None:
    header, parts = gresearch.table(section(), {name: part.lazy() for name, part in raw.items()})
    names = header.names("feature")
    (spec,) = gresearch.signatures(header)
    random = np.random.default_rng(0)
    each = rows // len(raw)
    for name, table in parts:
        assert isinstance(table, pl.DataFrame)
        chosen = np.sort(random.choice(len(table), each, replace=False))
        inputs = {"asset_id": np.full(each, int(name)), **windows(raw[name], chosen)}
        found = np.concatenate([_features(spec, inputs, slice(at, at + 100)) for at in range(0, each, 100)])
        wanted = table.select(names).cast(pl.Float32).to_numpy()[chosen]
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def _features(spec: Any, inputs: dict[str, Array], rows: slice) -> Array:
    tensorflow = tf.load()
    some = {name: tensorflow.constant(values[rows]) for name, values in inputs.items()}
    assert spec.answered(some).numpy().all()
    return np.asarray(spec.features(some))


def test_served_features_are_those_of_the_table(raw: dict[str, pl.DataFrame]) -> None:
    assert_served_as_in_the_table({name: raw[name] for name in ("01", "03", "10")}, 90)


@pytest.mark.results
def test_served_features_are_those_of_the_table_on_real_bars(binance: dict[str, pl.DataFrame]) -> None:
    assert_served_as_in_the_table(binance, 1000)


def test_rows_without_a_last_bar_or_of_an_unknown_asset_get_no_answer(raw: dict[str, pl.DataFrame]) -> None:
    tensorflow = tf.load()
    header, _ = gresearch.table(section(), {"01": raw["01"].lazy()})
    (spec,) = gresearch.signatures(header)
    inputs = {"asset_id": np.array([1, 1, 2]), **windows(raw["01"], np.array([900, 901, 902]))}
    inputs["close"][1, -1] = np.nan
    assert spec.answered is not None
    found = spec.answered({name: tensorflow.constant(values) for name, values in inputs.items()})
    assert found.numpy().tolist() == [True, False, False]
