"""Bad data in a file is named in the terminal and on the page, and seen in the picture."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapeline.report import data_page
from tests.conftest import Tapeline
from tests.datasets.closes import MARKETS, Rows, frozen, hole, rows, table, times_100

DAYS = 700
DAX = 1 + MARKETS.index("dax")


def features(tapeline: Tapeline, folder: Path, body: Rows, *keys: str) -> tuple[int, str, str]:
    outputs = ["--out", "raw=raw.parquet", "--out", "profile=profile.json"]
    return tapeline(
        "step", "ingest,features", "dataset.source=csv", f"dataset.path={table(folder, body)}", *keys, *outputs
    )


def drawn(profile: dict[str, Any], market: str) -> np.ndarray[Any, Any]:
    """What the chart of prices shows of a market, NaN where a line is broken."""
    return np.array(profile["statistics"]["series"]["curve"]["values"][market], float)


def lines(out: str) -> list[str]:
    return [line.removeprefix("data quality: ") for line in out.splitlines() if line.startswith("data quality: ")]


@pytest.mark.parametrize(
    ("change", "market", "first", "words"),
    [
        (times_100, "snp", 300, ["rises to", "times its value"]),
        (frozen, "dax", 300, ["the same value 60 times in a row"]),
        (hole, "snp", 300, ["have no value on 18", "days"]),
    ],
)
def test_it_is_named_by_market_day_and_size_and_seen(
    tapeline: Tapeline, folder: Path, change: Any, market: str, first: int, words: list[str]
) -> None:
    body = rows(DAYS)
    day: date = body[first][0]
    code, out, err = features(tapeline, folder, change(body))
    assert (code, err) == (0, "")
    (line,) = (each for each in lines(out) if words[0] in each)
    assert line.startswith(market)
    assert all(word in line for word in (*words, str(day)))
    again = tapeline(
        "step", "features", "dataset.source=csv", f"dataset.path={folder}/all.csv", "--in", "raw=raw.parquet"
    )
    assert lines(again[1]) == lines(out)
    profile = json.loads((folder / "profile.json").read_text())
    assert [each["text"] for each in profile["quality"]] == lines(out)
    page = data_page(profile)
    box = page.index('id="quality"')
    assert box < page.index(line) < page.index('id="data"'), "on the first screen"
    curve = drawn(profile, market)
    if change is times_100:
        assert np.nanmax(curve) > 50 * np.nanmedian(curve)
    elif change is frozen:
        assert (curve == np.float64(f"{body[300][DAX]:.6g}")).sum() >= 30
    else:
        assert np.isnan(curve).sum() == 1


@pytest.mark.parametrize(
    ("change", "key", "says"),
    [
        (hole, "dataset.max_gap_days=20", "all.csv, snp: has no value on 18"),
        (times_100, "dataset.max_move=0.5", "all.csv, snp: rises to"),
    ],
)
def test_limits_refuse_and_leave_nothing(tapeline: Tapeline, folder: Path, change: Any, key: str, says: str) -> None:
    code, out, err = features(tapeline, folder, change(rows(DAYS)), key)
    assert code == 2
    assert says in err
    assert lines(out), "the warnings are there as well"
    assert sorted(path.name for path in folder.iterdir()) == ["all.csv"]


def test_a_run_names_it_also_when_steps_come_from_the_cache(
    tapeline: Tapeline, folder: Path, without_report: None
) -> None:
    path = table(folder, times_100(rows(DAYS)))
    line = ("explore", "dataset.source=csv", f"dataset.path={path}")
    first, second = (lines(tapeline(*line)[1]) for _ in range(2))
    assert [each for each in first if each.startswith("snp rises")]
    assert first == second
    assert len(first) == len(set(first))


def test_simulated_markets_have_no_defects(tapeline: Tapeline, folder: Path) -> None:
    code, out, _ = tapeline("step", "ingest,features", "--out", "profile=profile.json")
    assert (code, lines(out)) == (0, [])
    profile = json.loads((folder / "profile.json").read_text())
    assert "found in 8 series" in data_page(profile)
    assert 'id="quality"' not in data_page({**profile, "examined": 0}), "there is no series to examine"
