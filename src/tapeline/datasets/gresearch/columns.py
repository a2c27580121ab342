"""The features of one asset's bars: 23 columns, all but the asset itself.

By default they have no unit (ATR and DEMA are divided by the close, ranges and shadows are ratios), windows do not
reach over gaps, and what is not known is NaN. `original` has the formulas and choices of the published notebook: ATR,
DEMA, ranges and shadows in units of the price, gaps ignored, and 0 for whatever is not a finite number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tapeline.features import indicators
from tapeline.features.calendar import calendar

Array = np.ndarray[Any, Any]

WINDOWS = (30, 120, 240)
"""Bars."""
ASSET = "Asset_ID"
NAMES = (
    *(f"{name}_{n}" for n in WINDOWS for name in ("RSI", "ATR", "DEMA", "sma", "return")),
    *("HL", "OC", "upper_shadow", "lower_shadow", "Day", "dayofyear", "weekofyear", "season"),
)
"""As in the original, which has Asset_ID beside them."""
HORIZON = 15
"""Bars of the return that the target is about."""


def features(bars: Mapping[str, Array], *, original: bool = False) -> dict[str, Array]:
    """The columns NAMES, float64 or int64 [bars] each.

    Args:
        bars: `seconds` int64 and `open`, `high`, `low`, `close` float64 [bars] of one asset, ascending.
        original: as published, see above.
    """
    names = ("open", "high", "low", "close")
    o, high, low, close = (np.ascontiguousarray(bars[name], dtype=np.float64) for name in names)
    starts = np.array([0, len(close)]) if original else indicators.runs(bars["seconds"])
    unit = 1.0 if original else close
    found: dict[str, Array] = {}
    for n in WINDOWS:
        found[f"RSI_{n}"] = _plain_rsi(close, n) if original else indicators.rsi(close, n, starts)
        found[f"ATR_{n}"] = indicators.atr(high, low, close, n, starts) / unit
        found[f"DEMA_{n}"] = indicators.doubled(close, n) if original else indicators.dema(close, n, starts) / close
        found[f"sma_{n}"] = indicators.sma(close, n, starts) / close - 1
        found[f"return_{n}"] = indicators.change(close, n, starts)
    top, bottom = np.maximum(close, o), np.minimum(close, o)
    pairs = {"HL": (high, low), "OC": (close, o), "upper_shadow": (high, top), "lower_shadow": (bottom, low)}
    with np.errstate(divide="ignore", invalid="ignore"):
        for name, (more, less) in pairs.items():
            found[name] = np.log(more - less) if original else np.log(more / less)
    days = calendar(bars["seconds"])
    found |= dict(zip(("Day", "dayofyear", "weekofyear", "season"), days.values(), strict=True))
    return {name: _zero_where_unknown(values) for name, values in found.items()} if original else found


def _plain_rsi(close: Array, n: int) -> Array:
    """TA-Lib's, with its 0 where no price has moved."""
    import talib

    return np.asarray(talib.RSI(close, n))


def _zero_where_unknown(values: Array) -> Array:
    return np.where(np.isfinite(values), values, 0) if values.dtype.kind == "f" else values


def last_return(bars: Mapping[str, Array]) -> Array:
    """The log return over the last HORIZON minutes, float64 [bars]; 0 where it is not known."""
    starts = indicators.runs(bars["seconds"])
    known = indicators.change(np.ascontiguousarray(bars["close"]), HORIZON, starts)
    return np.where(np.isfinite(known), np.log1p(np.where(np.isfinite(known), known, 0)), 0)
