"""The simulated markets against the published statistics of the real ones (kubeflow/examples' notebook)."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tapeline.datasets.indices import CLOSES
from tapeline.datasets.indices.simulation import simulate
from tests.conftest import Tapeline

SEEDS = range(20)
PRESENT = dict(zip(CLOSES, (1447, 1447, 1447, 1378, 1405, 1440, 1434, 1417), strict=True))
SD = [0.010066, 0.010538, 0.009287, 0.013698, 0.011779, 0.010010, 0.013092, 0.009145]
WITH_SNP = {"ftse": 0.656523, "dax": 0.654757, "aord": 0.227845, "hangseng": 0.205776, "nikkei": 0.151892}


@pytest.fixture(scope="module")
def returns() -> list[np.ndarray]:
    """Log returns of each seed's filled table, [days, markets]."""
    filled = [simulate(seed).filter(pl.col("snp").is_not_null()).fill_null(strategy="forward") for seed in SEEDS]
    return [np.diff(np.log(each.select(list(CLOSES)).to_numpy()), axis=0) for each in filled]


@pytest.mark.parametrize("seed", SEEDS)
def test_schema_and_gaps(seed: int) -> None:
    frame = simulate(seed)
    days = frame.filter(pl.col("snp").is_not_null())
    assert {market: len(days) - days[market].null_count() for market in CLOSES} == PRESENT
    assert frame.columns == ["date", *CLOSES]
    assert (str(frame["date"].min()), str(frame["date"].max())) == ("2010-01-04", "2015-10-01")
    assert frame["date"].is_sorted()
    assert frame["date"].is_unique().all()
    assert len(frame) > len(days)
    assert days.head(1).null_count().sum_horizontal()[0] == 0
    assert (days["snp"].diff().drop_nulls() != 0).all()
    assert frame.select(pl.min_horizontal(pl.col(CLOSES).min()) > 0).item()


def test_a_seed_repeats_and_another_differs() -> None:
    assert simulate(3).equals(simulate(3))
    assert not simulate(3).equals(simulate(4))


def test_returns_spread_as_the_real_ones(returns: list[np.ndarray]) -> None:
    np.testing.assert_allclose(np.mean([each.std(0, ddof=1) for each in returns], axis=0), SD, rtol=0.05)


def test_markets_move_together_as_the_real_ones(returns: list[np.ndarray]) -> None:
    names = list(CLOSES)
    correlations = np.mean([np.corrcoef(each.T) for each in returns], axis=0)
    for market, real in WITH_SNP.items():
        assert correlations[0, names.index(market)] == pytest.approx(real, abs=0.03), market
    yesterday = np.mean([np.corrcoef(each[:-1, 0], each[1:, names.index("nikkei")])[0, 1] for each in returns])
    assert yesterday == pytest.approx(0.48, abs=0.03)


@pytest.mark.results
def test_by_default_flat_is_rejected_and_deep_accepted(tapeline: Tapeline) -> None:
    code, out, _ = tapeline("run", "model=flat")
    assert (code, "rejected: accuracy 0.59" in out) == (0, True)
    code, out, _ = tapeline("run")
    assert (code, "accepted: accuracy 0.7" in out) == (0, True)
