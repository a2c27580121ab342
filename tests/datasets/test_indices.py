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
from tapeline.tables import splits, windows
from tapeline.tables.digests import digest_frame
from tapeline.tables.spec import Array, Manifest
from tapeline.tables.table import open_table
from tapeline.tables.writing import write

MARKETS = list(indices.CLOSES)
LATEST = (1, 1, 1, 0, 0, 1, 1, 0)
"""Lag of each market's latest known return for a decision in the morning of New York."""
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


def tabled(section: indices.Section, raw: pl.DataFrame) -> tuple[Manifest, pl.DataFrame]:
    """The header of the table and its one part."""
    header, parts = indices.table(section, raw)
    ((name, frame),) = parts
    assert name == "all"
    assert isinstance(frame, pl.DataFrame)
    return header, frame


def features(section: indices.Section, raw: pl.DataFrame) -> Array:
    header, frame = tabled(section, raw)
    return frame.select(header.names("feature")).to_numpy()


@pytest.fixture(scope="module")
def text() -> pl.DataFrame:
    """Simulated closes as text, as in a CSV file."""
    return simulate(0).head(200).with_columns(pl.all().cast(pl.String))


def test_the_original_table(closing_data: Path, tmp_path: Path) -> None:
    csv = section(source="csv", path=closing_data)
    read, where = source(csv).read(csv, indices.simulate, tmp_path)
    header, frame = tabled(csv, indices.ingest(csv, read, where))
    names, time = header.names("feature"), frame["time"].to_numpy()
    assert (len(frame), len(names)) == (1440, 24)
    assert names[:4] == ("snp_log_return_1", "snp_log_return_2", "snp_log_return_3", "nyse_log_return_1")
    assert names[9:12] == ("nikkei_log_return_0", "nikkei_log_return_1", "nikkei_log_return_2")
    (window,) = splits.periods(compose([]).split, time, indices.SPEC.horizon)
    train, test = (window.rows(time, side) for side in ("train", "test"))
    assert (train, windows.count(test)) == (slice(0, 1152), 288)
    assert str(time[0]) == "2010-01-13"
    assert str(time[test][0]) == "2014-08-12"
    assert np.bincount(frame["target"].to_numpy()[test]).tolist() == [144, 144]
    first = frame.select(names).to_numpy()[test][0]
    np.testing.assert_allclose(first, [float(each) for each in VECTOR.split()], rtol=0, atol=5.1e-9)
    assert frame["target"].to_numpy()[test][0] == 1


def test_a_decision_before_europe_closes_leaves_22_columns() -> None:
    raw = ingest(simulate(0))
    header, _ = tabled(section(as_of="09:00 America/New_York"), raw)
    assert len(header.names("feature")) == 22
    assert set(header.extra["late"]) == {"ftse_log_return_0", "dax_log_return_0"}
    assert len(tabled(section(), raw)[0].names("feature")) == 24


def test_a_decision_before_asia_closes_leaves_no_column_of_the_day() -> None:
    names = tabled(section(as_of="00:30 Europe/London"), ingest(simulate(0)))[0].names("feature")
    assert not [name for name in names if name.endswith("_0")]
    assert "snp_log_return_1" in names


RAW = ingest(simulate(0)).filter(pl.col("snp").is_not_null()).head(80)


@settings(max_examples=40)
@given(row=st.integers(8, 79), market=st.sampled_from(MARKETS), factor=st.floats(0.5, 2), data=st.data())
def test_no_feature_moves_when_the_future_does(row: int, market: str, factor: float, data: st.DataObject) -> None:
    """The future of row t: each later day, and on day t the markets that close after the decision."""
    late_today = {"snp", "nyse", "djia"}
    as_of = data.draw(st.sampled_from(["17:00 Europe/London", "09:00 America/New_York"]))
    if as_of.startswith("09"):
        late_today |= {"ftse", "dax"}
    first = row if market in late_today else row + 1
    changed = data.draw(st.integers(first, 80))
    early = section(as_of=as_of)
    days = pl.int_range(len(RAW))
    moved = RAW.with_columns(pl.when(days == changed).then(pl.col(market) * factor).otherwise(pl.col(market)))
    before, after = (features(early, frame) for frame in (RAW, moved))
    at = row - indices.FIRST_ROW
    np.testing.assert_array_equal(before[: at + 1], after[: at + 1])


def test_closes_join_on_the_calendar_of_the_snp_and_fill_forward() -> None:
    raw = ingest(simulate(0)).head(80)
    gone = raw.with_row_index().with_columns(
        pl.when(pl.col("index") == 20).then(None).otherwise(pl.col("snp")).alias("snp")
    )
    assert raw["snp"][20] is not None
    assert raw["date"][20] not in tabled(section(), gone.drop("index"))[1]["time"].to_list()
    missing = raw.with_row_index().with_columns(
        pl.when(pl.col("index") == 20).then(None).otherwise(pl.col("dax")).alias("dax")
    )
    row = tabled(section(), missing.drop("index"))[1].filter(pl.col("time") == raw["date"][20])
    assert row["dax_log_return_0"].to_list() == [0]


def test_leading_days_without_every_market_are_left_out() -> None:
    raw = ingest(simulate(0)).head(120).with_row_index()
    late = raw.with_columns(pl.when(pl.col("index") < 9).then(None).otherwise(pl.col("aord")).alias("aord"))
    assert np.isfinite(features(section(), late.drop("index"))).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.drop("dax"), "has no column dax or dax_close"),
        (lambda f: f.drop("date"), "has no column date or time"),
        (lambda f: f.with_columns(dax=pl.lit("")), "column dax: every value is missing"),
        (lambda f: f.head(30), "days of snp, too few; use 60"),
        (lambda f: pl.concat([f, f[[50]]]), "is in rows 51 and 201"),
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


def test_the_digest_is_of_values_not_of_their_form(tmp_path: Path) -> None:
    raw, other = ingest(simulate(0)), ingest(simulate(1))
    text = ingest(simulate(0).with_columns(pl.all().cast(pl.String)))
    assert digest_frame(raw) == digest_frame(text) != digest_frame(other)
    digests = [
        write(tmp_path / str(number), *indices.table(section(), each)).digest
        for number, each in enumerate((raw, text, other))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_baselines_are_the_latest_known_sign_of_each_market(tmp_path: Path) -> None:
    path = tmp_path / "table"
    write(path, *indices.table(section(as_of="09:00 America/New_York"), ingest(simulate(0))))
    names = open_table(path).manifest.names("feature")
    (batch,) = open_table(path).batches(("feature",))
    signs = indices.baselines(batch, names)
    assert list(signs) == [f"sign of {market}_log_return_{lag}" for market, lag in zip(MARKETS, LATEST, strict=True)]
    for name, prediction in signs.items():
        column = batch["feature"][:, names.index(name.removeprefix("sign of "))]
        assert prediction.tolist() == [int(each < 0) for each in column]
