"""Features, target and context of daily candles, as arrays. What a row's features read ends at the day of the row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapeline.features.returns import lagged

Array = np.ndarray[Any, Any]

CANDLE = ("open", "high", "low", "close", "volume")
LAGS = (1, 2, 3, 5, 7)
"""Days over which the log returns are taken."""
HISTORY = max(LAGS) + 1
"""Days of candles that the features of one row need."""
AVERAGE = 7
"""Days of the moving average, a baseline."""
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
THURSDAY = 3
"""The weekday of 1970-01-01, counted from Monday."""
BASELINES = {
    "next_day": {"persistence": "last_price", "moving average": "average_close"},
    "same_day": {"open": "last_price", "previous close": "previous_close", "(high+low)/2": "middle"},
}
"""By target: naive baselines, and the context columns that hold their prices."""


@dataclass(frozen=True)
class Made:
    """One value for each day, in every array."""

    features: dict[str, Array]
    """float32; NaN where it is missing."""
    target: Array
    """float64, the log return from the context column last_price; NaN where it is not known."""
    context: dict[str, Array]
    complete: Array
    """bool: whether the features can be computed."""


def next_day(days: Array, candles: Mapping[str, Array]) -> Made:
    """The log return of the next day; days without a candle on one of the 7 days before are not complete.

    Args:
        days: datetime64[D], ascending.
        candles: float64 by CANDLE; the volume is NaN where it is unknown.
    """
    close = candles["close"]
    span = np.log(candles["high"] / candles["low"])
    volume = np.log(candles["volume"])
    columns = {f"log_return_{lag}": np.log(close / lagged(close, lag)) for lag in LAGS}
    columns |= {"high_low_0": span, "high_low_1": lagged(span, 1), "volume_change": volume - lagged(volume, 1)}
    weekday = (days.astype("datetime64[D]").astype(np.int64) + THURSDAY) % 7
    columns |= {name: weekday == number for number, name in enumerate(WEEKDAYS)}
    tomorrow = np.r_[close[1:], np.nan]
    follows = np.r_[np.diff(days) == np.timedelta64(1, "D"), False]
    first = np.r_[days[: HISTORY - 1], days[: len(days) - HISTORY + 1]][: len(days)]
    complete = days - first == np.timedelta64(HISTORY - 1, "D")
    context = {
        "last_price": close,
        "average_close": np.stack([lagged(close, lag) for lag in range(AVERAGE)]).mean(axis=0),
        "forecast_for": (days + 1).astype("datetime64[D]"),
    }
    return Made(_float32(columns), np.where(follows, np.log(tomorrow / close), np.nan), context, complete)


def same_day(days: Array, candles: Mapping[str, Array]) -> Made:
    """The log return from the open to the close of the same day, from its high and low.

    Args:
        days: as in `next_day`.
        candles: as there.
    """
    opened, high, low, close = (candles[name] for name in ("open", "high", "low", "close"))
    columns = {"high_open": np.log(high / opened), "low_open": np.log(low / opened)}
    context = {
        "last_price": opened,
        "previous_close": lagged(close, 1),
        "middle": (high + low) / 2,
        "forecast_for": days.astype("datetime64[D]"),
    }
    return Made(_float32(columns), np.log(close / opened), context, np.ones(len(days), dtype=bool))


def _float32(columns: Mapping[str, Array]) -> dict[str, Array]:
    return {name: values.astype(np.float32) for name, values in columns.items()}
