from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeline.datasets import indices
from tapeline.datasets.indices.simulation import simulate
from tapeline.errors import Refused
from tapeline.lookup import configure as compose
from tapeline.lookup import source
from tapeline.tables import splits

MARKETS = list(indices.CLOSES)
# facts of the published table: kubeflow/examples, features of 2014-08-12
VECTOR = """.00275562 .01146542 -.00557212 .00295980 .01008799 -.00655737 .00096914 .01127884 -.00457585
.00203289 .02354923 -.03025814 .00175901 .01284729 -.00230507 -.00006029 .00990901 -.00455762
-.01219404 .01884821 -.00328557 .01343382 .00364001 -.01300991"""


def section(**keys: Any) -> indices.Section:
    overrides = [f"dataset.{key}={value}" for key, value in keys.items()]
    found = compose(overrides).dataset
    assert isinstance(found, indices.Section)
    return found


def ingest(frame: pl.DataFrame, **keys: Any) -> pl.DataFrame:
    return indices.ingest(section(**keys), frame.lazy(), "closes.csv")


@pytest.fixture(scope="module")
def text() -> pl.DataFrame:
    """Simulated closes as a CSV holds them: text."""
    return simulate(0).head(200).with_columns(pl.all().cast(pl.String))


def test_the_original_table(closing_data: Path, tmp_path: Path) -> None:
    told = section(source="csv", path=closing_data)
    frame, where = source(told).read(told, indices.simulate, tmp_path)
    table = indices.table(told, indices.ingest(told, frame, where))
    assert table.features.shape == (1440, 24)
    assert table.names[:4] == ("snp_log_return_1", "snp_log_return_2", "snp_log_return_3", "nyse_log_return_1")
    assert table.names[9:12] == ("nikkei_log_return_0", "nikkei_log_return_1", "nikkei_log_return_2")
    (window,) = splits.windows(compose([]).split, table.time)
    assert (len(window.train), len(window.test)) == (1152, 288)
    assert str(table.time[0]) == "2010-01-13"
    assert str(table.time[window.test[0]]) == "2014-08-12"
    assert np.bincount(table.target[window.test]).tolist() == [144, 144]
    row = window.test[0]
    np.testing.assert_allclose(table.features[row], [float(each) for each in VECTOR.split()], rtol=0, atol=5.1e-9)
    assert table.target[row] == 1


def test_a_decision_before_europe_closes_leaves_22_columns() -> None:
    raw = ingest(simulate(0))
    table = indices.table(section(as_of="09:00 America/New_York"), raw)
    assert len(table.names) == 22
    assert set(table.about["late"]) == {"ftse_log_return_0", "dax_log_return_0"}
    assert len(indices.table(section(), raw).names) == 24


def test_a_decision_before_asia_closes_leaves_no_column_of_the_day() -> None:
    table = indices.table(section(as_of="00:30 Europe/London"), ingest(simulate(0)))
    assert not [name for name in table.names if name.endswith("_0")]
    assert "snp_log_return_1" in table.names


RAW = ingest(simulate(0)).filter(pl.col("snp").is_not_null()).head(80)


@settings(max_examples=40, deadline=None)
@given(row=st.integers(8, 79), market=st.sampled_from(MARKETS), factor=st.floats(0.5, 2), data=st.data())
def test_no_feature_moves_when_the_future_does(row: int, market: str, factor: float, data: st.DataObject) -> None:
    """What comes after the moment of decision of row t: any later day, and on day t what closes after it."""
    late_today = {"snp", "nyse", "djia"}
    as_of = data.draw(st.sampled_from(["17:00 Europe/London", "09:00 America/New_York"]))
    if as_of.startswith("09"):
        late_today |= {"ftse", "dax"}
    first = row if market in late_today else row + 1
    changed = data.draw(st.integers(first, 80))
    told = section(as_of=as_of)
    days = pl.int_range(len(RAW))
    moved = RAW.with_columns(pl.when(days == changed).then(pl.col(market) * factor).otherwise(pl.col(market)))
    before, after = (indices.table(told, frame).features for frame in (RAW, moved))
    at = row - indices.FIRST_ROW
    np.testing.assert_array_equal(before[: at + 1], after[: at + 1])


def test_closes_join_on_the_calendar_of_the_snp_and_fill_forward() -> None:
    raw = ingest(simulate(0)).head(80)
    gone = raw.with_row_index().with_columns(
        pl.when(pl.col("index") == 20).then(None).otherwise(pl.col("snp")).alias("snp")
    )
    assert raw["snp"][20] is not None
    table = indices.table(section(), gone.drop("index"))
    assert str(raw["date"][20]) not in [str(day) for day in table.time]
    missing = raw.with_row_index().with_columns(
        pl.when(pl.col("index") == 20).then(None).otherwise(pl.col("dax")).alias("dax")
    )
    table = indices.table(section(), missing.drop("index"))
    day = [str(each) for each in table.time].index(str(raw["date"][20]))
    assert table.features[day, table.names.index("dax_log_return_0")] == 0


def test_leading_days_without_every_market_are_left_out() -> None:
    raw = ingest(simulate(0)).head(120).with_row_index()
    late = raw.with_columns(pl.when(pl.col("index") < 9).then(None).otherwise(pl.col("aord")).alias("aord"))
    table = indices.table(section(), late.drop("index"))
    assert np.isfinite(table.features).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.drop("dax"), "has no column dax or dax_close"),
        (lambda f: f.drop("date"), "has no column date or time"),
        (lambda f: f.with_columns(dax=pl.lit("")), "column dax: every value is missing"),
        (lambda f: f.head(30), "days of snp, too few; give 60"),
        (lambda f: pl.concat([f, f[[50]]]), "stands in rows 51 and 201"),
        (lambda f: f.with_columns(ftse=pl.when(pl.int_range(200) == 6).then(pl.lit("-5")).otherwise("ftse")),
         "column ftse, row 7: '-5' is not a price above zero"),
        (lambda f: f.with_columns(ftse=pl.when(pl.int_range(200) == 6).then(pl.lit("0")).otherwise("ftse")),
         "column ftse, row 7: '0' is not a price above zero"),
        (lambda f: f.with_columns(ftse=pl.when(pl.int_range(200) == 6).then(pl.lit("abc")).otherwise("ftse")),
         "column ftse, row 7: 'abc' is not a price"),
        (lambda f: f.with_columns(ftse=pl.when(pl.int_range(200) == 6).then(pl.lit("inf")).otherwise("ftse")),
         "column ftse, row 7: 'inf' is not a price above zero"),
        (lambda f: f.with_columns(date=pl.when(pl.int_range(200) == 6).then(pl.lit("")).otherwise("date")),
         "column date, row 7: the date is missing"),
        (lambda f: f.with_columns(date=pl.when(pl.int_range(200) == 6).then(pl.lit("31/12/2010")).otherwise("date")),
         "column date, row 7: '31/12/2010' is not a date written as"),
    ],
)  # fmt: skip
def test_a_broken_file_is_refused_by_column_and_row(text: pl.DataFrame, change: Any, says: str) -> None:
    with pytest.raises(Refused) as refused:
        ingest(change(text))
    assert says in str(refused.value)
    assert "closes.csv" in str(refused.value)


def test_what_users_files_look_like_is_read(text: pl.DataFrame) -> None:
    expected = ingest(text)
    mixed = text.sample(fraction=1, shuffle=True, seed=3).rename({"snp": "SNP_Close", "date": "Date"})
    mixed = mixed.with_columns(volume=pl.lit("1"), nikkei=pl.col("nikkei").str.replace(r"^(\d+)(\d{3}\.)", "$1,$2"))
    assert ingest(mixed).equals(expected)
    assert ingest(text.rename({"dax": "GDAXI"}), columns="{dax: gdaxi}").equals(expected)


def test_earlier_years_are_dropped() -> None:
    assert ingest(simulate(0), cutoff_year=2014)["date"].min().year == 2014  # type: ignore[union-attr]
    with pytest.raises(Refused, match="has 0 days of snp since 2030, too few"):
        ingest(simulate(0), cutoff_year=2030)


def test_the_digest_is_of_values_not_of_their_form() -> None:
    raw = ingest(simulate(0))
    text = ingest(simulate(0).with_columns(pl.all().cast(pl.String)))
    digests = {indices.table(section(), each).about["digest"] for each in (raw, text)}
    assert len(digests) == 1
    other = ingest(simulate(1))
    assert indices.table(section(), other).about["digest"] not in digests
