"""The signature `bars`: the features of each row's last bar, computed from its last 4,096 minute bars.

Wilder's averages never forget quite: that of 240 bars has 1e-7 of its start left after so many, so that the features
are those of the table. Recursions become weighted sums over the bars of the last run without a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tapeline import tensorflow as tf
from tapeline.datasets.gresearch.columns import ASSET, WINDOWS
from tapeline.tables.spec import InputSpec, SignatureSpec

LENGTH = 4096
"""Bars of a row."""
LAST = LENGTH - 1
MINUTE, DAY = 60, 86_400
"""Seconds."""
PRICES = ("open", "high", "low", "close")


def bars(names: Sequence[str], assets: Sequence[int]) -> SignatureSpec:
    """`asset_id` int64 [rows]; `time` int64, seconds, and `open`, `high`, `low`, `close` float64 [rows, 4096].

    The oldest bar comes first; a minute without a bar has NaN. A row whose last bar is missing, or whose asset is none
    of the table's, gets no answer.

    Args:
        names: of the features, in the order of the model.
        assets: Asset_ID of the table's assets.
    """
    times = np.arange(LENGTH, dtype=np.int64) * MINUTE
    wave = 100 + np.sin(np.arange(LENGTH))
    inputs = (
        InputSpec("asset_id", (), "int64", int(assets[0])),
        InputSpec("time", (LENGTH,), "int64", times),
        *(InputSpec(name, (LENGTH,), "float64", wave) for name in PRICES),
    )

    def features(values: Mapping[str, Any]) -> Any:
        tensorflow = tf.load()
        found = _features(values)
        columns = [tensorflow.cast(found[name], tensorflow.float32) for name in names]
        return tensorflow.stack(columns, axis=1)

    def answered(values: Mapping[str, Any]) -> Any:
        tensorflow = tf.load()
        same = values["asset_id"][:, None] == tensorflow.constant(list(assets), tensorflow.int64)
        return tensorflow.reduce_any(same, axis=1) & _present(values)[:, LAST]

    about = {"rows": f"{LENGTH} minute bars, the oldest first, NaN where there is none", "time": "seconds since 1970"}
    return SignatureSpec("bars", inputs, features, answered, about=about)


def _present(values: Mapping[str, Any]) -> Any:
    """Where there is a bar, bool [rows, bars]: all four prices are above 0 and finite."""
    tensorflow = tf.load()
    prices = tensorflow.stack([values[name] for name in PRICES])
    return tensorflow.reduce_all(tensorflow.math.is_finite(prices) & (prices > 0), axis=0)


def _features(values: Mapping[str, Any]) -> dict[str, Any]:
    """All features of the last bar by name, [rows] each."""
    tensorflow = tf.load()
    start, inside = _run(values)
    o, high, low, close = (tensorflow.where(inside, values[name], 1.0) for name in PRICES)
    length = LENGTH - start
    last = close[:, LAST]
    before = tensorflow.concat([close[:, :1], close[:, :-1]], axis=1)
    moved = close - before
    true_range = tensorflow.maximum(high - low, tensorflow.maximum(abs(high - before), abs(low - before)))

    def known(value: Any, bars: int) -> Any:
        return tensorflow.where(length >= bars, value, np.nan)

    found = {ASSET: values["asset_id"]}
    for n in WINDOWS:
        weights = _wilder(start, n)
        rise = tensorflow.reduce_sum(weights * tensorflow.maximum(moved, 0.0), axis=1)
        fall = tensorflow.reduce_sum(weights * tensorflow.maximum(-moved, 0.0), axis=1)
        found[f"RSI_{n}"] = known(100 * rise / (rise + fall), n + 1)
        found[f"ATR_{n}"] = known(tensorflow.reduce_sum(weights * true_range, axis=1) / last, n + 1)
        found[f"DEMA_{n}"] = known(tensorflow.reduce_sum(_double(start, n) * close, axis=1) / last, n)
        found[f"sma_{n}"] = known(tensorflow.reduce_mean(close[:, -n:], axis=1) / last - 1, n)
        found[f"return_{n}"] = known(last / close[:, LAST - n] - 1, n + 1)
    first, top, bottom = o[:, LAST], high[:, LAST], low[:, LAST]
    upper, lower = tensorflow.maximum(last, first), tensorflow.minimum(last, first)
    pairs = {"HL": (top, bottom), "OC": (last, first), "upper_shadow": (top, upper), "lower_shadow": (lower, bottom)}
    found |= {name: tensorflow.math.log(more / less) for name, (more, less) in pairs.items()}
    return found | _calendar(values["time"][:, LAST])


def _run(values: Mapping[str, Any]) -> tuple[Any, Any]:
    """Position of the first bar of the last run without a gap, int64 [rows], and which bars are in it."""
    tensorflow = tf.load()
    positions = np.arange(LENGTH, dtype=np.int64)
    there = _present(values)
    steps = values["time"][:, 1:] - values["time"][:, :-1]
    apart = tensorflow.concat([tensorflow.ones_like(there[:, :1]), steps != MINUTE], axis=1)
    begins = tensorflow.where(there, tensorflow.where(apart, positions, 0), positions + 1)
    start = tensorflow.reduce_max(begins, axis=1)
    return start, positions >= start[:, None]


def _wilder(start: Any, n: int) -> Any:
    """Weights of the changes that Wilder's average of n has at the last bar: [rows, bars]; the first n count alike."""
    tensorflow = tf.load()
    positions, left = np.arange(LENGTH, dtype=np.int64), 1 - 1 / n
    later = left ** (LAST - positions) / n
    age = tensorflow.cast(tensorflow.maximum(LAST - start - n, 0), tensorflow.float64)
    seed = tensorflow.pow(tensorflow.constant(left, tensorflow.float64), age) / n
    begun = positions > start[:, None]
    return tensorflow.where(positions > start[:, None] + n, later, tensorflow.where(begun, seed[:, None], 0.0))


def _double(start: Any, n: int) -> Any:
    """Weights of the bars in DEMA of span n at the last bar: [rows, bars]."""
    tensorflow = tf.load()
    alpha, positions = 2 / (n + 1), np.arange(LENGTH, dtype=np.int64)
    age = (LAST - positions).astype(np.float64)
    power = (1 - alpha) ** age
    later = 2 * alpha * power - alpha**2 * power * (age + 1)
    first = 2 * power - power * (1 + alpha * age)
    begun, begins = positions > start[:, None], positions == start[:, None]
    return tensorflow.where(begun, later, tensorflow.where(begins, first, 0.0))


def _calendar(seconds: Any) -> dict[str, Any]:
    """Weekday, day of the year, ISO week and season, int64 [rows], in integers alone."""
    days = seconds // DAY
    weekday = (days + 3) % 7
    month = _date(days)[1]
    return {
        "Day": weekday,
        "dayofyear": _of_year(days) + 1,
        "weekofyear": _of_year(days - weekday + 3) // 7 + 1,
        "season": (month % 12 + 3) // 3,
    }


def _of_year(days: Any) -> Any:
    """Days since the first of January."""
    return days - _first_of(_date(days)[0])


def _date(days: Any) -> tuple[Any, Any]:
    """Year and month of days since 1970; see H. Hinnant, chrono-compatible low-level date algorithms."""
    tensorflow = tf.load()
    shifted = days + 719_468
    era = shifted // 146_097
    of_era = shifted - era * 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted_month = (5 * of_year + 2) // 153
    month = tensorflow.where(shifted_month < 10, shifted_month + 3, shifted_month - 9)
    return year + era * 400 + tensorflow.cast(month <= 2, days.dtype), month


def _first_of(year: Any) -> Any:
    """Days from 1970 to the first of January of a year."""
    before = year - 1
    return 365 * year + before // 4 - before // 100 + before // 400 - 719_527
