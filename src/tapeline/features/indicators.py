"""Technical indicators of one asset's bars, each over runs of bars without a gap.

    starts = runs(seconds)                  where each run of consecutive bars begins
    rsi(close, 30, starts)                  float64 [bars], NaN where 30 changes do not lie in the bar's run

Each gap starts the indicators again: a window that reaches over one has no value. RSI, ATR and SMA are TA-Lib's; the
exponential averages of DEMA start with the first value of a run (pandas: ewm(span=n, adjust=False)).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def runs(seconds: Array, step: int = 60) -> Array:
    """Positions where a run of bars begins, int64, and behind them the number of bars.

    Args:
        seconds: of each bar, int64, ascending.
        step: seconds from one bar to the next inside a run.
    """
    if not len(seconds):
        return np.zeros(1, np.int64)
    return np.asarray(np.concatenate([[0], np.flatnonzero(np.diff(seconds) != step) + 1, [len(seconds)]]))


def age(starts: Array) -> Array:
    """Bars before each bar in its run, int64 [bars]."""
    lengths = np.diff(starts)
    return np.asarray(np.arange(starts[-1]) - np.repeat(starts[:-1], lengths))


def rsi(close: Array, n: int, starts: Array) -> Array:
    """Wilder's relative strength index, 0 to 100, from bar n of a run; NaN too where no price of the run has moved.

    TA-Lib gives 0 there, as if every change had been a fall.
    """
    import talib

    def of_run(first: int, end: int) -> Array:
        prices = close[first:end]
        found: Array = talib.RSI(prices, n)
        if found[n] == 0:
            moved = np.flatnonzero(prices != prices[0])
            found[: moved[0] if len(moved) else None] = np.nan
        return found

    return _by_run(of_run, len(close), n, starts)


def atr(high: Array, low: Array, close: Array, n: int, starts: Array) -> Array:
    """Wilder's average true range, in the unit of the prices, from bar n of a run."""
    import talib

    def of_run(first: int, end: int) -> Array:
        found: Array = talib.ATR(high[first:end], low[first:end], close[first:end], n)
        return found

    return _by_run(of_run, len(close), n, starts)


def sma(values: Array, n: int, starts: Array) -> Array:
    """The mean of the last n values, from bar n - 1 of a run on."""
    import talib

    def of_run(first: int, end: int) -> Array:
        found: Array = talib.SMA(values[first:end], n)
        return found

    return _by_run(of_run, len(values), n - 1, starts)


def dema(values: Array, n: int, starts: Array) -> Array:
    """Twice the exponential average of span n less its own exponential average, from bar n - 1 of a run on.

    Not TA-Lib's DEMA, whose averages start with the mean of n values.
    """

    def of_run(first: int, end: int) -> Array:
        found = doubled(values[first:end], n)
        found[: n - 1] = np.nan
        return found

    return _by_run(of_run, len(values), n - 1, starts)


def doubled(values: Array, n: int) -> Array:
    """DEMA of all values as one run."""
    average = _exponential(values, n)
    return 2 * average - _exponential(average, n)


def _exponential(values: Array, n: int) -> Array:
    """The exponential average of span n that starts with the first value."""
    from scipy.signal import lfilter

    alpha = 2 / (n + 1)
    filtered, _ = lfilter([alpha], [1, alpha - 1], values, zi=[(1 - alpha) * values[0]])
    return np.asarray(filtered)


def change(values: Array, n: int, starts: Array) -> Array:
    """The relative change over n bars, from bar n of a run."""
    found = np.full(len(values), np.nan)
    found[n:] = values[n:] / values[:-n] - 1
    if len(starts) > 2:
        found[age(starts) < n] = np.nan
    return found


def _by_run(of_run: Callable[[int, int], Array], bars: int, least: int, starts: Array) -> Array:
    """Values of all runs; those of at most `least` bars have none."""
    if len(starts) == 2 and bars > least:
        return of_run(0, bars)
    found = np.full(bars, np.nan)
    long = np.flatnonzero(np.diff(starts) > least)
    for first, end in zip(starts[long].tolist(), starts[long + 1].tolist(), strict=True):
        found[first:end] = of_run(first, end)
    return found
