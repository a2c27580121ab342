"""Simulated daily candles of three coins: schema, statistics and gaps of the real table, but no row of it.

Log returns are r[t] = drift + sd * v[t] * e[t] + jump[t]: e has a Student t distribution, v is a slow lognormal
volatility, and a jump comes on few days. The mean and the standard deviation of all days are exactly those of the
real table (1,793 days of bitcoin, 2013-04-28 to 2018-03-25). High and low lie beyond open and close by absolute normal
draws that are larger on days of high volatility.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

LAST: Final = np.datetime64("2018-03-25")
SALT: Final = 13  # part of every seed


class Coin(NamedTuple):
    """Parameters of one coin."""

    slug: str
    symbol: str
    name: str
    first: str  # first day
    price: float  # first close, USD
    mean: float  # of the daily log return
    sd: float
    decimals: int
    supply: float  # coins, millions, for the market capitalisation
    volume: tuple[float, float]  # ln(USD) on the first and the last day with a known volume
    unknown: int  # first days, whose volume is 0 in the file


COINS: Final = (
    Coin("bitcoin", "BTC", "Bitcoin", "2013-04-28", 134.21, 0.002315, 0.0450, 2, 14.5, (17.0, 22.5), 243),
    Coin("ethereum", "ETH", "Ethereum", "2015-08-07", 2.77, 0.005500, 0.0770, 2, 85.0, (13.0, 21.2), 0),
    Coin("litecoin", "LTC", "Litecoin", "2013-04-28", 4.35, 0.002000, 0.0720, 2, 45.0, (15.5, 20.0), 243),
)
GAPS: Final = (1, 1, 3)  # lengths in days
TAIL: Final = 8.0  # degrees of freedom of t; with the rest, it gives a kurtosis of about 12 (real: 10.9)
CLUSTER: Final = 0.6  # sd of log volatility; gives an autocorrelation of absolute returns of about .27 (real: .32)
PERSISTENCE: Final = 0.95  # autocorrelation of log volatility from one day to the next
JUMPS: Final = (0.004, 0.12)  # share of days, and sd of a jump
OPENING: Final = 0.003  # sd of ln(open / previous close); the mean of the absolute value is .0015
SHADOW: Final = 0.45  # sd of the way of high and low beyond open and close, in daily volatilities
VOLUME: Final = 0.30  # sd of the log volume around its trend
STIR: Final = 3.0  # response of the log volume to the absolute return


def simulate(seed: int) -> pl.DataFrame:
    """The 13 columns of the crypto-markets file, dates as D/M/YYYY; the same seed gives the same table."""
    import polars as pl

    return pl.concat([_candles(coin, np.random.default_rng([SALT, number, seed])) for number, coin in enumerate(COINS)])


def _candles(coin: Coin, rng: np.random.Generator) -> pl.DataFrame:
    import polars as pl

    days = np.arange(np.datetime64(coin.first), LAST + 1)
    returns, volatility = _returns(len(days) - 1, coin, rng)
    close = coin.price * np.exp(np.r_[0, np.cumsum(returns)])
    moved, scale = np.r_[returns[0], returns], np.r_[volatility[0], volatility]
    opened = np.r_[close[0] / np.exp(moved[0]), close[:-1]] * np.exp(_opening(len(days), rng))
    beyond = SHADOW * scale[:, None] * np.abs(rng.standard_normal((len(days), 2)))
    high = np.maximum(opened, close) * np.exp(beyond[:, 0])
    low = np.minimum(opened, close) * np.exp(-beyond[:, 1])
    volume = np.rint(np.exp(_log_volume(coin, moved, rng)))
    volume[: coin.unknown] = 0
    least = 10.0**-coin.decimals
    opened, high, low, close = (np.round(np.maximum(each, least), coin.decimals) for each in (opened, high, low, close))
    spread = np.round(high - low, coin.decimals)
    ratio = np.divide(close - low, high - low, out=np.full(len(days), 0.5), where=high > low)
    frame = pl.DataFrame(
        {
            "slug": [coin.slug] * len(days),
            "symbol": [coin.symbol] * len(days),
            "name": [coin.name] * len(days),
            "date": [f"{each.day}/{each.month}/{each.year}" for each in days.tolist()],
            "ranknow": [COINS.index(coin) + 1] * len(days),
            "open": opened,
            "high": high,
            "low": low,
            "close": close,
            "volume": volume.astype(np.int64),
            "market": np.rint(close * coin.supply * 1e6).astype(np.int64),
            "close_ratio": np.round(ratio, 4),
            "spread": spread,
        }
    )
    return frame.filter(pl.Series(_there(len(days), rng)))


def _returns(n: int, coin: Coin, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log returns of n days with the coin's mean and standard deviation, and the volatility of each day."""
    shock = rng.standard_t(TAIL, n) * np.sqrt((TAIL - 2) / TAIL)
    level = CLUSTER * rng.standard_normal(n)
    for t in range(1, n):
        level[t] = PERSISTENCE * level[t - 1] + np.sqrt(1 - PERSISTENCE**2) * level[t]
    volatility = np.exp(level)
    jumps = np.where(rng.random(n) < JUMPS[0], JUMPS[1] / coin.sd * rng.standard_normal(n), 0)
    raw = volatility * shock + jumps
    scale = coin.sd / raw.std()
    return coin.mean + (raw - raw.mean()) * scale, volatility * scale


def _opening(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """ln(open / previous close): most days open where the day before closed."""
    opening: NDArray[np.float64] = OPENING * rng.standard_t(TAIL, n) * np.sqrt((TAIL - 2) / TAIL)
    return opening


def _log_volume(coin: Coin, moved: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A trend, noise, and more on days of large returns."""
    known = len(moved) - coin.unknown
    trend = np.r_[np.zeros(coin.unknown), np.linspace(*coin.volume, known)]
    level: NDArray[np.float64] = trend + VOLUME * rng.standard_normal(len(moved)) + STIR * np.abs(moved)
    return level


def _there(n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which days have a row: all but GAPS, which lie in the middle half of the table."""
    there = np.ones(n, dtype=bool)
    starts = rng.choice(np.arange(n // 4, 3 * n // 4, 20), len(GAPS), replace=False)
    for start, length in zip(starts, GAPS, strict=True):
        there[start : start + length] = False
    return there
