"""The published notebook's formulas for one asset's bars, in Polars and TA-Lib, and the competition's own metric."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import talib

Array = np.ndarray[Any, Any]


def features(bars: dict[str, Array]) -> dict[str, Array]:
    """The original's columns from `seconds`, open, high, low, close."""
    o, high, low, close = (pl.Series(bars[name]) for name in ("open", "high", "low", "close"))
    found: dict[str, pl.Series] = {}
    for n in (30, 120, 240):
        found[f"RSI_{n}"] = pl.Series(talib.RSI(bars["close"], n))
        found[f"ATR_{n}"] = pl.Series(talib.ATR(bars["high"], bars["low"], bars["close"], n))
        average = close.ewm_mean(span=n, adjust=False)
        found[f"DEMA_{n}"] = 2 * average - average.ewm_mean(span=n, adjust=False)
        found[f"sma_{n}"] = close.rolling_mean(n) / close - 1
        found[f"return_{n}"] = close / close.shift(n) - 1
    top, bottom = (pl.Series(each(bars["close"], bars["open"])) for each in (np.maximum, np.minimum))
    pairs = {"HL": high - low, "OC": close - o, "upper_shadow": high - top, "lower_shadow": bottom - low}
    found |= {name: values.log() for name, values in pairs.items()}
    time = pl.from_epoch(pl.Series(bars["seconds"]), time_unit="s").dt
    found["Day"] = time.weekday() - 1
    found["dayofyear"] = time.ordinal_day()
    found["weekofyear"] = time.week()
    found["season"] = ((time.month() % 12) + 3) // 3
    numbers = {name: values.cast(pl.Float64).fill_null(np.nan).to_numpy() for name, values in found.items()}
    return {name: np.where(np.isfinite(values), values, 0) for name, values in numbers.items()}


def weighted_correlation(target: Array, forecast: Array, weight: Array) -> float:
    """As G-Research's evaluation page writes it."""
    total = weight.sum()
    mean_a, mean_b = (weight * target).sum() / total, (weight * forecast).sum() / total
    var_a = (weight * (target - mean_a) ** 2).sum() / total
    var_b = (weight * (forecast - mean_b) ** 2).sum() / total
    cov = (weight * target * forecast).sum() / total - mean_a * mean_b
    return float(cov / np.sqrt(var_a * var_b))
