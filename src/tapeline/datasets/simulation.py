"""Simulated daily closes of eight world indices: the real table's schema, statistics and gaps, none of its rows.

Log returns are a vector autoregression with shocks that are skewed, fat-tailed and clustered in time:

    r[t] = drift + after_snp * r_snp[t-1] + after_ftse * r_ftse[t-1] + sd * v[t] * (sqrt(w[t]) * L g[t] - skew * w[t])

g[t] is standard normal, L L' the residual correlation, w[t] an inverse gamma draw of mean one a day that all markets
share (a Student t shock, whose turbulent days fall), v[t] their slow lognormal volatility.
"""

from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Market(NamedTuple):
    """Statistics of one column: the published table's, by least squares on yesterday's S&P and FTSE returns."""

    close: float  # mean, points
    drift: tuple[float, float]  # mean log return by phase, 1e-4 a day
    sd: float  # residual log return, 1e-4
    after_snp: float  # response to yesterday's S&P return
    after_ftse: float  # response to yesterday's FTSE return
    closed: int  # S&P days without a close
    holidays: str  # month-day; a weekend's moves to Monday


MARKETS: Final = {
    "snp": Market(
        1549.733275, (4.63, -0.24), 100.4, -0.095, 0.075, 0, "01-01 01-17 02-17 04-05 05-28 07-04 09-04 11-24 12-25"
    ),
    "nyse": Market(8920.468489, (3.25, -3.05), 105.1, -0.089, 0.077, 0, ""),
    "djia": Market(14017.464990, (3.86, -0.63), 92.6, -0.087, 0.069, 0, ""),
    "nikkei": Market(
        12529.915089,
        (2.86, 5.49),
        119.7,
        0.580,
        0.115,
        69,
        "01-01 01-02 01-03 01-10 02-11 03-20 04-29 05-03 05-04 05-05 07-18 09-19 09-23 10-10 11-03 11-23 12-23 12-31",
    ),
    "hangseng": Market(
        22245.750485,
        (0.86, -5.81),
        104.5,
        0.496,
        0.060,
        42,
        "01-01 02-03 02-04 04-05 04-06 05-01 05-25 07-01 09-15 10-01 12-25 12-26",
    ),
    "ftse": Market(6100.506356, (1.63, -3.06), 96.9, 0.329, -0.203, 7, "01-01 04-05 05-03 12-25 12-26"),
    "dax": Market(7965.888030, (3.78, 1.22), 128.4, 0.331, -0.181, 13, "01-01 04-05 05-01 12-24 12-25 12-26 12-31"),
    "aord": Market(4913.770143, (0.87, -2.00), 77.1, 0.406, 0.114, 30, "01-01 01-26 04-05 04-25 06-10 12-25 12-26"),
}
# Correlations of the residuals by row: nyse; djia; nikkei; hangseng; ftse; dax; aord.
RESIDUAL: Final = (
    (0.981,),
    (0.977, 0.959),
    (0.196, 0.213, 0.190),
    (0.254, 0.295, 0.246, 0.347),
    (0.698, 0.728, 0.708, 0.228, 0.388),
    (0.683, 0.704, 0.695, 0.192, 0.347, 0.846),
    (0.294, 0.321, 0.275, 0.380, 0.506, 0.361, 0.283),
)
BREAK = 0.8  # share of the days after which the second phase begins
COUPLE = (1.0, 0.8)  # US correlation with the rest by phase
SKEW = (0.25, 0.0)  # up shares .559, then .500
TAIL = 8.0  # degrees of freedom of a day's shock
CLUSTER = 0.4  # sd of log volatility
MEMORY = 0.98  # its autocorrelation from one day to the next
SALT = 0
FIRST, LAST, SP_DAYS = "2010-01-04", "2015-10-01", 1447


def simulate(seed: int) -> pl.DataFrame:
    """Daily closes in index points, null where a market was closed; the same seed gives the same table."""
    rng = np.random.default_rng([SALT, seed])
    days = np.arange(np.datetime64(FIRST), np.datetime64(LAST) + 1)
    days = days[np.is_busday(days)]
    traded = trading(days, rng)
    level = np.exp(np.cumsum(returns(len(days), rng), axis=0))
    closes = np.round(level / level[traded[:, 0]].mean(0) * [m.close for m in MARKETS.values()], 2)
    snp = np.rint(closes[traded[:, 0], 0] * 100)
    while (same := np.flatnonzero(np.diff(snp) == 0)).size:
        snp[same + 1] += 1  # no unchanged day in the S&P: one cent
    closes[traded[:, 0], 0] = snp / 100
    closes[~traded] = np.nan
    some = traded.any(axis=1)
    return pl.DataFrame({"date": days[some], **dict(zip(MARKETS, closes[some].T, strict=True))}).fill_nan(None)


def returns(n: int, rng: np.random.Generator) -> Floats:
    """Log returns, n weekdays by market."""
    normal, chi = rng.standard_normal((n, len(MARKETS))), rng.chisquare(TAIL, (n, 1))
    weight = (TAIL - 2) / chi
    mood = rng.standard_normal(n) * CLUSTER
    for t in range(1, n):
        mood[t] = MEMORY * mood[t - 1] + (1 - MEMORY**2) ** 0.5 * mood[t]
    v = np.exp(mood - mood.mean())[:, None]
    v /= np.sqrt((v**2).mean())
    _, drift, sd, after_snp, after_ftse, _, _ = (np.array(c) for c in zip(*MARKETS.values(), strict=True))
    r = np.zeros((n, len(MARKETS)))
    phases = (slice(int(BREAK * n)), slice(int(BREAK * n), n))
    for p, rows in enumerate(phases):
        shock = np.einsum("tk,jk->tj", normal[rows], np.linalg.cholesky(correlation(COUPLE[p])))
        r[rows] = sd * 1e-4 * v[rows] * (np.sqrt(weight[rows]) * shock - SKEW[p] * weight[rows])
    r[0] = 0
    for t in range(1, n):
        r[t] += after_snp * r[t - 1, 0] + after_ftse * r[t - 1, 5]
    for p, rows in enumerate(phases):
        r[rows] += drift[:, p] * 1e-4 - r[rows].mean(0)
    return r


def correlation(couple: float) -> Floats:
    """RESIDUAL as a full matrix, that of the US markets with the rest times couple."""
    full = np.eye(len(MARKETS))
    for k, row in enumerate(RESIDUAL, start=1):
        full[k, :k] = full[:k, k] = row
    full[:3, 3:] *= couple
    full[3:, :3] *= couple
    return full


def trading(days: NDArray[np.datetime64], rng: np.random.Generator) -> Flags:
    """Which market has a close on which weekday: exact counts of closures, holidays first, then any day."""
    years = np.unique(days.astype("datetime64[Y]")).astype(str)
    traded = np.ones((len(days), len(MARKETS)), dtype=bool)
    for k, m in enumerate(MARKETS.values()):
        holiday = np.isin(
            days, np.busday_offset([f"{y}-{h}" for y in years for h in m.holidays.split()], 0, roll="forward")
        )
        score = rng.random(len(days)) + ~holiday
        score[[0, -1]] = 3
        us = traded[:, 0].copy()
        traded[:, k] = ~holiday | us
        if k == 0:
            traded[np.argsort(score)[: len(days) - SP_DAYS], 0] = False
        elif k < 3:
            traded[:, k] = traded[:, 0]
        else:
            among = np.flatnonzero(us)
            traded[among[np.argsort(score[among])[: m.closed]], k] = False
    return traded
