"""Returns of price series."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def log_returns(prices: Array) -> Array:
    """ln(p[t] / p[t-1]) along the first axis; NaN in the first row. float64, the shape of prices."""
    returns = np.full(prices.shape, np.nan)
    returns[1:] = np.log(prices[1:] / prices[:-1])
    return returns


def lagged(series: Array, lag: int) -> Array:
    """The value `lag` rows before; NaN in the first `lag` rows. float64, the shape of series."""
    shifted = np.full(series.shape, np.nan)
    shifted[lag:] = series[: len(series) - lag]
    return shifted
