"""Simulated daily closes of eight world indices: schema, statistics and gaps of the real table, but no row of it.

Log returns on weekdays are a vector autoregression. Its shocks are skewed, fat-tailed and clustered in time:

    r[t] = drift + after_snp * r_snp[t-1] + after_ftse * r_ftse[t-1] + sd * v[t] * (sqrt(w[t]) * L g[t] - skew * w[t])

g is standard normal and L L' the residual correlation. All markets share w, one inverse gamma draw for each day (so
that shocks have a Student t distribution, and returns are negative on turbulent days), and v, a slow lognormal
volatility. The constants are chosen so that the mean statistics of simulated tables, filled forward, are those of
the original table (1,447 S&P days, 2010-01-04 to 2015-10-01).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

FIRST, LAST = np.datetime64("2010-01-04"), np.datetime64("2015-10-01")
SNP_DAYS: Final = 1447
US: Final = 3  # the first columns, which have the S&P's calendar
SALT: Final = 35  # part of every seed; chosen so that results of the default seed 0 are close to the published ones


class Market(NamedTuple):
    """Parameters of one column."""

    close: float  # mean, points
    drift: tuple[float, float]  # mean log return in each phase, 1e-4 per day
    sd: float  # standard deviation of the log return that yesterday's S&P and FTSE do not explain, 1e-4
    after_snp: float  # response to yesterday's S&P return (regression coefficient)
    after_ftse: float  # the same for yesterday's FTSE return
    closed: int  # S&P days without a close


MARKETS: Final = {
    "snp": Market(1549.73, (4.63, -0.24), 97.9, -0.101, 0.078, 0),
    "nyse": Market(8920.47, (3.29, -3.05), 102.4, -0.095, 0.081, 0),
    "djia": Market(14017.46, (3.87, -0.63), 90.3, -0.092, 0.072, 0),
    "nikkei": Market(12529.92, (3.03, 5.49), 112.4, 0.629, 0.106, 69),
    "hangseng": Market(22245.75, (1.05, -5.81), 99.4, 0.524, 0.056, 42),
    "ftse": Market(6100.51, (1.62, -3.06), 93.9, 0.336, -0.205, 7),
    "dax": Market(7965.89, (3.60, 1.22), 124.4, 0.339, -0.190, 13),
    "aord": Market(4913.77, (0.94, -2.00), 72.7, 0.419, 0.119, 30),
}
HOLIDAYS: Final = {  # month-day, close to the real ones; on a weekend it moves to Monday
    "snp": "01-01 01-17 02-17 04-05 05-28 07-04 09-04 11-24 12-25",
    "nikkei": "01-01 01-02 01-10 02-11 03-20 04-29 05-03 05-04 05-05 07-18 09-21 09-23 10-10 11-03 11-23 12-23 12-31",
    "hangseng": "01-01 02-03 02-04 04-04 04-05 05-01 05-25 07-01 09-15 10-01 12-25 12-26",
    "ftse": "01-01 04-05 05-03 12-25 12-26",
    "dax": "01-01 04-05 05-01 12-24 12-25 12-26 12-31",
    "aord": "01-01 01-26 04-05 04-06 04-25 06-10 12-25 12-26",
}
RESIDUAL: Final = (  # correlations of these unexplained log returns
    (0.981,),  # nyse with snp
    (0.977, 0.959),  # djia
    (0.185, 0.203, 0.178),  # nikkei
    (0.237, 0.281, 0.228, 0.355),  # hangseng
    (0.704, 0.735, 0.714, 0.214, 0.371),  # ftse
    (0.696, 0.717, 0.708, 0.180, 0.328, 0.851),  # dax
    (0.280, 0.310, 0.259, 0.392, 0.515, 0.342, 0.264),  # aord with snp, ..., dax
)
BREAK: Final = 0.8  # share of days in the first phase: in the real data, statistics change where the test rows begin
SKEW: Final = (0.16, 0.0)  # by phase; gives shares of days up of .559, then .500
COUPLING: Final = (1.0, 0.92)  # by phase, factor of US correlations with the rest (real FTSE and S&P: .68, then .57)
TAIL: Final = 7.0  # degrees of freedom of t; gives the S&P's excess kurtosis of 4.4
CLUSTER: Final = 0.35  # sd of log volatility; gives an autocorrelation of absolute S&P returns of .2
PERSISTENCE: Final = 0.98  # autocorrelation of log volatility from one day to the next


def simulate(seed: int) -> pl.DataFrame:
    """Daily closes in index points, null on days when a market is closed; the same seed gives the same table."""
    import polars as pl

    rng = np.random.default_rng([SALT, seed])
    days = np.arange(FIRST, LAST + 1)
    days = days[np.is_busday(days)]
    traded = calendar(days, rng)
    level = np.exp(np.cumsum(returns(len(days), rng), axis=0))
    cents = np.rint(level / level[traded[:, 0]].mean(axis=0) * [100 * m.close for m in MARKETS.values()])
    snp = cents[traded[:, 0], 0]
    while (unchanged := np.flatnonzero(np.diff(snp) == 0)).size:  # the real S&P never closed unchanged
        snp[unchanged + 1] += 1
    cents[traded[:, 0], 0] = snp
    open_days = traded.any(axis=1)
    closes = np.where(traded, cents / 100, np.nan)[open_days]
    return pl.DataFrame({"date": days[open_days]} | dict(zip(MARKETS, closes.T, strict=True))).fill_nan(None)


def returns(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Log returns, float64 [n weekdays, 8 markets]."""
    drift, sd, after_snp, after_ftse = (np.array([m[k] for m in MARKETS.values()]) for k in (1, 2, 3, 4))
    normal = rng.standard_normal((n, len(MARKETS)))
    weight = (TAIL - 2) / rng.chisquare(TAIL, (n, 1))
    log_volatility = CLUSTER * rng.standard_normal((n, 1))
    for t in range(1, n):
        log_volatility[t] = PERSISTENCE * log_volatility[t - 1] + (1 - PERSISTENCE**2) ** 0.5 * log_volatility[t]
    r = np.zeros((n, len(MARKETS)))
    phases = slice(0, int(BREAK * n)), slice(int(BREAK * n), n)
    for days, skew, coupling in zip(phases, SKEW, COUPLING, strict=True):
        shock = np.einsum("tk,jk->tj", normal[days], np.linalg.cholesky(correlation(coupling)))
        volatility = np.exp(log_volatility[days])
        volatility /= np.sqrt((volatility**2).mean())
        r[days] = 1e-4 * sd * volatility * (np.sqrt(weight[days]) * shock - skew * weight[days])
    snp, ftse = (list(MARKETS).index(m) for m in ("snp", "ftse"))
    for t in range(1, n):
        r[t] += after_snp * r[t - 1, snp] + after_ftse * r[t - 1, ftse]
    for phase, days in enumerate(phases):
        r[days] += 1e-4 * drift[:, phase] - r[days].mean(axis=0)
    return r


def correlation(coupling: float) -> NDArray[np.float64]:
    """The full matrix of RESIDUAL, with correlations between US markets and the rest multiplied by coupling."""
    full = np.eye(len(MARKETS))
    for k, row in enumerate(RESIDUAL, start=1):
        full[k, :k] = full[:k, k] = row
    full[:US, US:] *= coupling
    full[US:, :US] *= coupling
    return full


def calendar(days: NDArray[np.datetime64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Whether each market has a close on each weekday, bool [days, markets].

    The number of closed days is exact: holidays first, then random days.
    """
    years = np.unique(days.astype("datetime64[Y]"))
    traded = np.ones((len(days), len(MARKETS)), dtype=bool)
    random = rng.random((len(MARKETS), len(days)))
    for market, holidays in HOLIDAYS.items():
        column = list(MARKETS).index(market)
        dates = [f"{year}-{day}" for year in years for day in holidays.split()]
        holiday = np.isin(days, np.busday_offset(dates, 0, roll="forward"))
        rank = random[column] + ~holiday
        rank[[0, -1]] = 2  # all markets trade on the first and last day
        if market == "snp":
            traded[np.argsort(rank)[: len(days) - SNP_DAYS], :US] = False
        else:
            snp_days = np.flatnonzero(traded[:, 0])
            traded[holiday & ~traded[:, 0], column] = False
            traded[snp_days[np.argsort(rank[snp_days])[: MARKETS[market].closed]], column] = False
    return traded
