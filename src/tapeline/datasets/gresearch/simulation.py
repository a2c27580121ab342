"""Simulated minute bars of the 14 assets: schema, statistics and gaps of the real data, but no row of it.

Log prices are a common random walk, scaled by each asset's beta, and an own one. Some assets have a part besides that
dies away within the hour, the others short trends, so that returns are predictable a little. Volatility is a slow
lognormal process. Bars are missing at the rates of the real file, in runs; assets begin at different times. The target
follows the competition's formula on these prices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from tapeline.datasets.gresearch.assets import COMPETITION

if TYPE_CHECKING:
    import polars as pl

Array = np.ndarray[Any, Any]

END: Final = np.datetime64("2021-09-21T00:00", "s")
"""Of the last bar, as in the real file."""
BETA_MINUTES: Final = 3750
"""Of the market over which the competition takes an asset's beta."""
AHEAD: Final = 16
"""Minutes until the target of a bar is known."""
SALT: Final = 14


class Statistics(NamedTuple):
    """Of one asset."""

    price: float
    """At the end, USD."""
    sd: float
    """Of the log return of a minute, 1e-4."""
    beta: float
    """To the market."""
    volume: float
    """Median of a minute, in units of the asset."""
    start: float
    """Share of the whole period before its first bar."""
    missing: float
    """Share of its minutes without a bar."""


ASSETS: Final = {
    0: Statistics(410.0, 13.0, 0.9, 60, 0.000, 0.007),
    1: Statistics(43000.0, 10.0, 0.8, 20, 0.000, 0.000),
    2: Statistics(540.0, 14.0, 1.1, 40, 0.000, 0.001),
    3: Statistics(2.1, 15.0, 1.1, 60_000, 0.079, 0.005),
    4: Statistics(0.21, 17.0, 0.9, 150_000, 0.344, 0.011),
    5: Statistics(4.1, 15.0, 1.1, 12_000, 0.000, 0.001),
    6: Statistics(3000.0, 12.0, 1.0, 200, 0.000, 0.000),
    7: Statistics(50.0, 16.0, 1.1, 1_000, 0.000, 0.001),
    8: Statistics(1.3, 17.0, 1.1, 9_000, 0.095, 0.100),
    9: Statistics(160.0, 14.0, 1.1, 180, 0.000, 0.000),
    10: Statistics(2400.0, 17.0, 0.9, 3, 0.095, 0.620),
    11: Statistics(235.0, 14.0, 0.9, 30, 0.000, 0.130),
    12: Statistics(0.29, 15.0, 1.0, 60_000, 0.035, 0.058),
    13: Statistics(0.096, 15.0, 1.0, 300_000, 0.027, 0.050),
}
"""Rounded statistics of the competition's train.csv."""
DENSITY: Final = float(np.mean([(1 - each.start) * (1 - each.missing) for each in ASSETS.values()]))
"""Bars for each asset and minute."""
RUN: Final = 12
"""Minutes of a gap, in the mean."""
REVERTING: Final = (0, 1, 2, 5, 6, 7, 9)
"""Assets with a part that dies away; the others have trends."""
PASSING_SHARE, PASSING = 0.98, 0.94
"""Share of the sd of an asset's own return in the part that dies away, and what is left of it a minute later."""
TREND, LASTING = 0.16, 0.97
"""Sd of an asset's own trend, in sds of its own return, and its autocorrelation from one minute to the next."""
CLUSTER, SLOWNESS = 0.2, 0.9995
"""Sd of the log volatility, and its autocorrelation from one minute to the next."""
VWAP_MISSING: Final = 9 / 24_236_806


def simulate(seed: int, rows: int) -> pl.DataFrame:
    """So many of the last minute bars before 21 September 2021, asset by asset, as train.csv has them.

    The same arguments give the same frame. It holds 80 bytes a row; while it is made, twice as much is in memory.
    """
    import polars as pl

    minutes = int(np.ceil(rows / (len(ASSETS) * DENSITY) * 1.02)) + 120
    before = BETA_MINUTES + AHEAD
    total = before + minutes + AHEAD
    random = np.random.default_rng([SALT, seed])
    traded = _traded(minutes, random)
    _keep_last(traded, rows)
    market, volatility = _market(total, random)
    prices = np.stack([_log_price(asset, market, volatility, random) for asset in ASSETS], axis=1)
    known = np.concatenate([np.ones((before, len(ASSETS)), bool), traded, np.zeros((AHEAD, len(ASSETS)), bool)])
    target = _target(prices, known)[before : before + minutes]
    prices = prices[before - 1 : before + minutes]
    seconds = END.astype(np.int64) - 60 * np.arange(minutes - 1, -1, -1)
    frames = []
    for at, (asset, each) in enumerate(ASSETS.items()):
        own = traded[:, at]
        columns = _bars(each, prices[:, at], volatility[before : before + minutes], random)
        frame = pl.DataFrame({"timestamp": seconds, **columns, "Target": target[:, at]})
        whole = frame.filter(pl.Series(own)).with_columns(pl.lit(asset, pl.Int64).alias("Asset_ID"))
        names = ("timestamp", "Asset_ID", "Count", "Open", "High", "Low", "Close", "Volume", "VWAP", "Target")
        frames.append(whole.select(names).fill_nan(None))
    return pl.concat(frames, rechunk=False)


def _traded(minutes: int, random: np.random.Generator) -> Array:
    """Whether there is a bar: bool [minutes, assets]."""
    traded = np.ones((minutes, len(ASSETS)), dtype=bool)
    for at, each in enumerate(ASSETS.values()):
        traded[: int(each.start * minutes), at] = False
        if each.missing:
            # gaps begin so often that, with their mean length, the share of minutes in them is right
            begin = random.random(minutes) < each.missing / (RUN * (1 - each.missing) + each.missing)
            length = random.geometric(1 / RUN, minutes)
            ends = np.maximum.accumulate(np.where(begin, np.arange(minutes) + length, 0))
            traded[np.arange(minutes) < ends, at] = False
    return traded


def _keep_last(traded: Array, rows: int) -> None:
    """Remove the first bars, in the order of time, until so many are left."""
    excess = int(traded.sum()) - rows
    if excess > 0:
        flat = traded.reshape(-1)
        flat[np.flatnonzero(flat)[:excess]] = False


def _market(total: int, random: np.random.Generator) -> tuple[Array, Array]:
    """The market's log return, and the volatility that all assets share, float64 [minutes] each."""
    from scipy.signal import lfilter

    noise = CLUSTER * np.sqrt(1 - SLOWNESS**2) * random.standard_normal(total)
    start = CLUSTER * random.standard_normal()
    slow, _ = lfilter([1], [1, -SLOWNESS], noise, zi=[SLOWNESS * start])
    volatility = np.exp(slow - CLUSTER**2 / 2)
    return 7e-4 * volatility * _fat(total, random), volatility


def _fat(count: int, random: np.random.Generator) -> Array:
    """Draws with Student's t distribution of 5 degrees of freedom and variance 1."""
    return np.asarray(random.standard_t(5, count) / np.sqrt(5 / 3))


def _log_price(asset: int, market: Array, volatility: Array, random: np.random.Generator) -> Array:
    """The logarithm of the close of every minute, float64 [minutes]; the last one is the price of the statistics."""
    from scipy.signal import lfilter

    total, each = len(market), ASSETS[asset]
    own = np.sqrt(max((1e-4 * each.sd) ** 2 - (each.beta * 7e-4) ** 2, (3e-4) ** 2))
    walk, other = own * volatility * _fat(total, random), own * volatility * random.standard_normal(total)
    if asset in REVERTING:
        walk = np.sqrt(1 - PASSING_SHARE**2) * walk
        passing = lfilter([1], [1, -PASSING], PASSING_SHARE * other)
        path = np.cumsum(each.beta * market + walk) + passing
    else:
        trend = lfilter([np.sqrt(1 - LASTING**2)], [1, -LASTING], TREND * other)
        path = np.cumsum(each.beta * market + walk + trend)
    return np.asarray(path - path[-1] + np.log(each.price))


def _bars(each: Statistics, path: Array, volatility: Array, random: np.random.Generator) -> dict[str, Array]:
    """Columns of the bars of every minute, from the log closes of it and of the minute before."""
    minutes = len(path) - 1
    digits = int(np.clip(5 - np.floor(np.log10(each.price)), 1, 8))
    first, last = path[:-1], path[1:]
    wide = 1e-4 * each.sd * volatility * 0.6
    top = np.maximum(first, last) + wide * np.abs(random.standard_normal(minutes)) * (random.random(minutes) > 0.05)
    bottom = np.minimum(first, last) - wide * np.abs(random.standard_normal(minutes)) * (random.random(minutes) > 0.05)
    prices = {"Open": first, "High": top, "Low": bottom, "Close": last}
    columns = {name: np.round(np.exp(values), digits) for name, values in prices.items()}
    volume = np.round(each.volume * np.exp(random.standard_normal(minutes)) * volatility, 6)
    columns["Volume"] = volume
    columns["Count"] = np.ceil(1 + 40 * volatility * np.exp(0.8 * random.standard_normal(minutes)))
    vwap = (columns["High"] + columns["Low"] + columns["Close"]) / 3
    columns["VWAP"] = np.where(random.random(minutes) < VWAP_MISSING, np.nan, np.round(vwap, digits + 2))
    return columns


def _target(path: Array, known: Array) -> Array:
    """The competition's target, float64 [minutes, assets]; NaN where a price that it needs is missing.

    R(t) = ln(P(t+16) / P(t+1)); M is the weighted mean of R over assets; beta = <M R> / <M M> over 3,750 minutes;
    the target is R - beta M.
    """
    weight = np.array([COMPETITION[asset].weight for asset in ASSETS])
    minutes = len(path)
    returns = np.full(path.shape, np.nan)
    returns[: minutes - AHEAD] = path[AHEAD:] - path[1 : minutes - AHEAD + 1]
    both = np.zeros(known.shape, dtype=bool)
    both[: minutes - AHEAD] = known[AHEAD:] & known[1 : minutes - AHEAD + 1]
    filled = np.where(both, returns, 0)
    market = (filled * weight).sum(axis=1) / np.maximum((both * weight).sum(axis=1), 1e-9)
    squares = _rolling(market**2)
    for at in range(path.shape[1]):
        own = filled[:, at]
        beta = np.divide(_rolling(market * own), squares, out=np.zeros(minutes), where=squares > 0)
        returns[:, at] = np.where(both[:, at], own - beta * market, np.nan)
    return returns


def _rolling(values: Array) -> Array:
    """The sum of the last BETA_MINUTES values; of fewer at the beginning."""
    sums = np.cumsum(values)
    sums[BETA_MINUTES:] -= sums[:-BETA_MINUTES].copy()
    return sums
