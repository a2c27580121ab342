"""Files of vendors, one for each market, compared with the same closes in one table."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tapeline import files
from tapeline.checks.configuration import source_has_its_path
from tapeline.config.compose import plain
from tapeline.datasets import indices
from tapeline.errors import Refused
from tapeline.lookup import configure as compose
from tapeline.lookup import dataset as module_of
from tapeline.lookup import observed, source
from tapeline.tables import quality
from tapeline.tables.digests import digest_frame

DATA = Path(os.environ.get("TAPELINE_DATA") or Path(__file__).parents[4] / "shared" / "data") / "indices"
MARKETS = list(indices.CLOSES)


def ingest(*overrides: str) -> pl.DataFrame:
    dataset = compose(overrides).dataset
    with tempfile.TemporaryDirectory() as folder:
        frame, where = source(dataset).read(dataset, module_of(dataset).simulate, Path(folder))
        raw: pl.DataFrame = module_of(dataset).ingest(dataset, frame, where)
    return raw


def closes(days: int = 80) -> pl.DataFrame:
    """Random closes, with holidays."""
    random = np.random.default_rng(0)
    dates = np.datetime64("2013-12-02") + np.arange(days)
    values = {market: (9000 * np.exp(random.normal(0, 0.01, days).cumsum())).round(2) for market in MARKETS}
    frame = pl.DataFrame({"date": dates, **values})
    holiday = (pl.int_range(pl.len()) % 17) == 5
    return frame.with_columns(pl.when(~holiday).then(pl.col(market)).alias(market) for market in MARKETS[3:])


def text(rows: Sequence[Sequence[str]]) -> bytes:
    return "\n".join(",".join(f'"{value}"' for value in row) for row in rows).encode()


def wide(folder: Path, frame: pl.DataFrame) -> Path:
    path = folder / "wide.csv"
    frame.write_csv(path)
    return path


def vendor(folder: Path, frame: pl.DataFrame, market: str, date_format: str = "%Y-%m-%d", head: str = " Close") -> Path:
    """A .gz file in descending order, with commas for thousands and without the days on which the market is closed."""
    prices = frame.select("date", market).drop_nulls().sort("date", descending=True)
    rows = [["Date", "Open", head, "Volume"]]
    rows += [[day.strftime(date_format), "1", f" {close:,.2f}", "000"] for day, close in prices.rows()]
    path = folder / f"{market}.csv.gz"
    path.write_bytes(gzip.compress(text(rows)))
    return path


def test_the_vendors_nikkei_and_ftse_are_the_originals() -> None:
    """Except two revisions of the Nikkei, and differences of the FTSE below 0.051 points."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA}; set TAPELINE_DATA")
    raw = ingest(
        "dataset.source=files",
        f"dataset.path={DATA}/closing_data.csv",
        f"dataset.files.nikkei={DATA}/yahoo_nikkei.csv.gz",
        f"dataset.files.ftse={DATA}/wsj_ftse.csv.gz",
    )
    days = raw.filter(pl.col("snp").is_not_null()).with_columns(pl.col(MARKETS).fill_null(strategy="forward"))
    original = ingest("dataset.source=csv", f"dataset.path={DATA}/closing_data.csv")
    assert days["date"].equals(original["date"])
    assert len(days) == 1447
    revised = original["date"].filter(days["nikkei"] != original["nikkei"])
    assert [str(day) for day in revised] == ["2014-03-19", "2015-02-17"]
    assert (days["ftse"] - original["ftse"]).abs().to_numpy().max() < 0.051
    for market in set(MARKETS) - {"nikkei", "ftse"}:
        assert days[market].equals(original[market])


def test_eight_files_in_eight_styles_are_one_table(tmp_path: Path) -> None:
    frame = closes()
    formats = ["%Y-%m-%d", "%m/%d/%y", "%d.%m.%Y", "%d-%b-%y", "%Y%m%d", "%b %d, %Y", "%d/%m/%Y", "%Y/%m/%d"]
    paths = {m: vendor(tmp_path, frame, m, style) for m, style in zip(MARKETS, formats, strict=True)}
    overrides = [f"dataset.files.{market}={path}" for market, path in paths.items()]
    joined = ingest("dataset.source=files", *overrides)
    table = ingest("dataset.source=csv", f"dataset.path={wide(tmp_path, frame)}")
    assert joined.equals(table)
    assert digest_frame(joined) == digest_frame(table)


def test_names_of_a_file_override_those_of_the_dataset(tmp_path: Path) -> None:
    frame = closes()
    names = {"date": "day", "snp": "S&P 500"}
    base = wide(tmp_path, frame.rename(names))
    path = vendor(tmp_path, frame, "dax", "%d/%m/%y", "Last")
    own = f"{{path: {path}, date_column: Date, close_column: last, date_format: '%d/%m/%y'}}"
    joined = ingest(
        *("dataset.source=files", f"dataset.path={base}", "dataset.date_column=day"),
        *("dataset.columns.snp='S&P 500'", f"dataset.files.dax={own}"),
    )
    assert joined.equals(ingest("dataset.source=csv", f"dataset.path={wide(tmp_path, frame)}"))


def test_parquet_is_recognised_by_its_name(tmp_path: Path) -> None:
    frame = closes()
    frame.select("date", pl.col("ftse").alias("Close")).write_parquet(tmp_path / "ftse.parquet")
    table = f"dataset.path={wide(tmp_path, frame)}"
    joined = ingest("dataset.source=files", table, f"dataset.files.ftse={tmp_path}/ftse.parquet")
    assert joined.equals(ingest("dataset.source=csv", table))


def test_days_of_one_file_alone_join_as_days_without_the_others(tmp_path: Path) -> None:
    frame = closes(120)
    path = wide(tmp_path, frame.filter(pl.col("date").dt.weekday() < 6))
    joined = ingest(
        "dataset.source=files", f"dataset.path={path}", f"dataset.files.dax={vendor(tmp_path, frame, 'dax')}"
    )
    weekend = joined.filter(pl.col("date").dt.weekday() >= 6)
    assert len(weekend) > 10
    assert weekend["snp"].null_count() == len(weekend)
    assert weekend["dax"].null_count() < len(weekend)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([["2014-01-02", "1"], ["2014-01-03", "x"]], "nikkei.csv, column Close, row 2: 'x' is not a price"),
        ([["2014-01-02", "0"]], "nikkei.csv, column Close, row 1: '0' is not a price above zero"),
        ([["2014-01-03", "1"], ["2014-01-02", "1"], ["2014-01-03", "2"]], "2014-01-03 is in rows 1 and 3"),
        ([["soon", "1"]], "nikkei.csv, column Date, row 1: 'soon' is not a date"),
        ([["01/02/14", "1"], ["02/03/14", "1"]], "the dates can be read as"),
    ],
)
def test_a_bad_value_is_named_by_file_column_and_row(tmp_path: Path, rows: list[list[str]], says: str) -> None:
    (tmp_path / "nikkei.csv").write_bytes(text([["Date", "Close"], *rows]))
    base = wide(tmp_path, closes())
    with pytest.raises(Refused, match=says) as refused:
        ingest("dataset.source=files", f"dataset.path={base}", f"dataset.files.nikkei={tmp_path}/nikkei.csv")
    assert "nikkei.csv" in refused.value.findings[0].where


def test_a_missing_file_or_column_names_the_key(tmp_path: Path) -> None:
    base = f"dataset.path={wide(tmp_path, closes())}"
    (tmp_path / "dax.csv").write_bytes(text([["Date", "Last"], ["2014-01-02", "1"]]))
    with pytest.raises(Refused, match=r"dataset.files.dax=.*absent.csv: no such file"):
        ingest("dataset.source=files", base, f"dataset.files.dax={tmp_path}/absent.csv")
    with pytest.raises(Refused, match=r"no column dax or dax_close or close \(it has Date, Last\)") as refused:
        ingest("dataset.source=files", base, f"dataset.files.dax={tmp_path}/dax.csv")
    assert "dataset.files.dax={path: ..., close_column: " in str(refused.value)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["dataset.files.nikei=a.csv"], "did you mean nikkei?"),
        (["dataset.files.nikkei={file: a.csv}"], "dataset.files.nikkei.file: unknown key"),
        (["dataset.files.nikkei=''"], "dataset.files.nikkei.path="),
    ],
)
def test_an_unknown_key_is_refused_when_composed(overrides: list[str], says: str) -> None:
    with pytest.raises(Refused) as refused:
        compose(overrides)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["dataset.source=files"], "has no file for snp, nyse"),
        (["dataset.source=files", "dataset.files.snp=a"], "has no file for nyse"),
        (["dataset.source=csv", "dataset.path=a", "dataset.files.snp=a"], "dataset.files: is not read, since"),
        (["dataset.files.snp=a"], "set dataset.source=files too"),
        (["dataset.path=a"], "set dataset.source=csv (or files, parquet) too"),
        (["dataset.source=csv"], "dataset.source=csv needs it"),
        (["dataset.source=series"], "dataset.source=series: unknown source"),
        (["dataset.source=sqlite"], "choose one of: csv, files, kaggle, parquet, simulated, sql (did you mean sql?)"),
    ],
)
def test_a_source_without_its_keys_is_found_before_a_run(overrides: list[str], says: str) -> None:
    assert says in "\n".join(map(str, source_has_its_path(compose(overrides))))


def test_a_whole_set_of_keys_has_no_findings() -> None:
    assert not list(source_has_its_path(compose(["dataset.source=files", "dataset.path=a", "dataset.files.dax=b"])))
    every = [f"dataset.files.{market}=a" for market in MARKETS]
    assert not list(source_has_its_path(compose(["dataset.source=files", *every])))


def test_the_digest_is_of_the_content_not_of_the_path(tmp_path: Path) -> None:
    """A file that moves is the same data; a file with other content, or of another market, is not."""
    frame = closes()

    def at(name: str, market: str = "dax", changed: float = 0.0) -> tuple[str | None, Any]:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "one.csv").write_bytes(text([["Date", "Close"], ["2014-01-02", str(1 + changed)]]))
        overrides = [f"dataset.path={wide(folder, frame)}", f"dataset.files.{market}={folder}/one.csv"]
        config = compose(["dataset.source=files", *overrides])
        return source(config.dataset).seen(config.dataset), plain(config, places=False)

    first, written = at("first")
    assert first == at("second")[0]
    assert written == at("third")[1]
    assert first != at("fourth", changed=1.0)[0]
    assert first != at("fifth", market="ftse")[0]
    assert str(tmp_path) not in str(written)
    assert written["dataset"]["files"]["dax"] == {"date_column": None, "close_column": None, "date_format": None}


def test_a_url_is_read_each_time(tmp_path: Path) -> None:
    overrides = [f"dataset.path={wide(tmp_path, closes())}", "dataset.files.dax=memory://dax.csv"]
    dataset = compose(["dataset.source=files", *overrides]).dataset
    assert source(dataset).seen(dataset) is None


def test_a_series_that_ends_early_and_one_that_is_weekly_are_named(tmp_path: Path) -> None:
    frame = closes(300).filter(pl.col("date").dt.weekday() < 6)
    early = vendor(tmp_path, frame.head(100), "dax")
    weekly = vendor(tmp_path, frame.filter(pl.col("date").dt.weekday() == 2), "nikkei")
    overrides = [
        f"dataset.path={wide(tmp_path, frame)}",
        f"dataset.files.dax={early}",
        f"dataset.files.nikkei={weekly}",
    ]
    dataset = compose(["dataset.source=files", *overrides]).dataset
    found = quality.examine(observed(dataset, ingest("dataset.source=files", *overrides)))
    named = {(each.series, each.kind) for each in found}
    assert {("dax", "end"), ("nikkei", "sparse")} <= named
    assert not {("dax", "sparse"), ("nikkei", "hole")} & named


def test_a_table_for_the_rest_is_not_read_where_all_have_files(tmp_path: Path) -> None:
    frame = closes()
    overrides = [f"dataset.files.{market}={vendor(tmp_path, frame, market)}" for market in MARKETS]
    dataset = compose(["dataset.source=files", "dataset.path=/nowhere.csv", *overrides]).dataset
    expected = {f"dataset.files.{market}": files.digest_path(tmp_path / f"{market}.csv.gz") for market in MARKETS}
    assert source(dataset).seen(dataset) == files.digest(expected)
