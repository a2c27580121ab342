"""Reading candles: every layout gives the same values, and what is wrong is refused by column and row."""

from __future__ import annotations

import errno
import gzip
import logging
import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tapeline.cli import main as cli
from tapeline.datasets import bitcoin
from tapeline.datasets.bitcoin.simulation import simulate
from tapeline.datasets.sources import archives
from tapeline.errors import Refused
from tapeline.lookup import configure, source

DAY = pl.col("date").str.to_date("%d/%m/%Y")
PLAIN = (
    simulate(0)
    .filter(DAY.is_between(pl.date(2013, 4, 28), pl.date(2013, 8, 31)))
    .with_columns(pl.all().cast(pl.String))
)
"""Bitcoin and litecoin, as the text of a CSV file: 252 rows."""
DAYS = 126
Change = Callable[[pl.DataFrame], pl.DataFrame]


@cache
def section(*overrides: str) -> bitcoin.Section:
    found = configure(["dataset=bitcoin", *overrides]).dataset
    assert isinstance(found, bitcoin.Section)
    return found


def ingest(frame: pl.DataFrame, *overrides: str) -> pl.DataFrame:
    return bitcoin.ingest(section(*overrides), frame.lazy(), "candles.csv")


def of_source(folder: Path, *overrides: str) -> pl.DataFrame:
    record = section(*overrides)
    frame, where = source(record).read(record, bitcoin.simulate, folder)
    return bitcoin.ingest(record, frame, where)


@pytest.fixture(scope="module")
def expected() -> pl.DataFrame:
    return ingest(PLAIN)


def written(form: str) -> Change:
    return lambda frame: frame.with_columns(date=DAY.dt.strftime(form))


def single(unit: str) -> Change:
    """An exchange's candles of one market: epochs, other names, no column that names a coin."""
    return lambda frame: frame.filter(pl.col("slug") == "bitcoin").select(
        pl.lit("BTC/USD").alias("Market"),
        DAY.dt.epoch(unit).cast(pl.String).alias("unix"),  # type: ignore[arg-type]
        *(pl.col(name).alias(name.capitalize()) for name in ("open", "high", "low", "close")),
        pl.col("volume").alias("Volume USD"),
    )


def kaggle(frame: pl.DataFrame) -> pl.DataFrame:
    names = {"name": "Name", "symbol": "Symbol", "date": "Date", "high": "High", "low": "Low", "open": "Open"}
    names |= {"close": "Close", "volume": "Volume", "market": "Marketcap"}
    dated = frame.with_columns(date=DAY.dt.strftime("%Y-%m-%d 23:59:59")).rename(names)
    return dated.with_row_index("SNo", 1).select("SNo", *names.values())


OWN = "dataset.columns={date: unix, volume: Volume USD}"


@pytest.mark.parametrize(
    ("change", "overrides"),
    [
        (lambda frame: frame, ["dataset.coin=BTC"]),
        (lambda frame: frame.sample(fraction=1, shuffle=True, seed=1), ["dataset.coin=' Bitcoin '"]),
        (written("%Y-%m-%d"), []),
        (written("%-m/%-d/%y 0:00"), []),
        (written("%b %d, %Y"), []),
        (kaggle, []),
        (lambda frame: kaggle(frame).with_columns(pl.col("Date").str.to_datetime()), ["dataset.coin=btc"]),
        (single("s"), [OWN]),
        (single("ms"), [OWN]),
        (single("ms"), ["dataset.columns={date: unix, volume: Volume USD, coin: Market}", "dataset.coin=btc/usd"]),
        (lambda frame: frame.with_columns(pl.col("open", "close").cast(pl.Float64), date=DAY), []),
    ],
    ids=["symbol", "shuffled", "iso", "month first", "words", "end of day", "times", *["exchange"] * 3, "typed"],
)
def test_layouts_give_the_same_candles(expected: pl.DataFrame, change: Change, overrides: list[str]) -> None:
    assert ingest(change(PLAIN), *overrides).equals(expected)
    assert len(expected) == DAYS
    assert expected["volume"].null_count() == DAYS


def test_other_coins_and_known_volumes() -> None:
    frame = simulate(0)
    coins = {coin: ingest(frame, f"dataset.coin={coin}") for coin in ("bitcoin", "ethereum", "litecoin")}
    assert [str(each["date"][0]) for each in coins.values()] == ["2013-04-28", "2015-08-07", "2013-04-28"]
    assert coins["bitcoin"]["volume"].head(243).null_count() == coins["bitcoin"]["volume"].null_count() == 243


def test_the_rows_of_other_coins_tell_day_from_month(expected: pl.DataFrame) -> None:
    early = DAY.dt.day() <= 12
    frame = PLAIN.filter(early & (pl.col("slug") == "bitcoin"))
    frame = pl.concat([frame, frame.with_columns(date=DAY.dt.offset_by("1y").dt.strftime("%-d/%-m/%Y"))])
    with pytest.raises(Refused, match=r"can be read as %d/%m/%Y and as %m/%d/%Y .*dataset.date_format"):
        ingest(frame)
    record = ingest(pl.concat([frame, PLAIN.filter(pl.col("slug") == "litecoin")]))
    assert set(record["date"].head(40)) <= set(expected["date"])
    assert ingest(frame, "dataset.date_format=%d/%m/%Y").equals(record)


def changed(row: int, **values: str | None) -> Change:
    """Other values in one row, counted from 1."""
    at = pl.int_range(pl.len()) == row - 1
    return lambda frame: frame.with_columns(
        pl.when(at).then(pl.lit(value)).otherwise(pl.col(name)).alias(name) for name, value in values.items()
    )


@pytest.mark.parametrize(
    ("change", "overrides", "where", "says"),
    [
        (None, ["dataset.coin=bitcoyn"], "dataset.coin=bitcoyn", "has no such coin; did you mean bitcoin?"),
        (None, ["dataset.coin=xyz"], "dataset.coin=xyz", "has no such coin; it has bitcoin, litecoin"),
        (lambda f: f.with_columns(symbol=pl.lit("BTC")), ["dataset.coin=BTC"], "dataset.coin=BTC",
         "is the symbol of bitcoin, litecoin; name the one that is meant, as in dataset.coin=bitcoin"),
        (lambda f: f.drop("volume"), [], "candles.csv", "has no column volume"),
        (lambda f: f.rename({"close": "last"}), [], "candles.csv", "as in dataset.columns.close=My_Close"),
        (None, ["dataset.columns={close: last}"], "candles.csv", "has no column last"),
        (lambda f: f.rename({"date": "day"}), [], "candles.csv", "has no column date or time"),
        (lambda f: f.head(40), [], "candles.csv", "has 40 days of bitcoin, too few; use 60 or more"),
        (lambda f: f.head(0), ["dataset.columns={coin: slug}"], "dataset.coin=bitcoin", "has no such coin"),
        (lambda f: f.head(0).drop("slug", "symbol", "name"), [], "candles.csv", "has a header and no rows"),
        (lambda f: pl.concat([f, f[[50]]]), [], "candles.csv, column date, row 51",
         "there are two rows of 2013-06-17 (2 rows; also 253); keep one row for each day"),
        (changed(7, high="1"), [], "candles.csv, column high, row 7", "the high 1.0 is below the low"),
        (changed(7, close="900"), [], "candles.csv, column close, row 7", "the close 900.0 is not between low"),
        (changed(7, open="900"), [], "candles.csv, column open, row 7", "the open 900.0 is not between low and high"),
        (changed(7, close="0"), [], "candles.csv, column close, row 7", "'0' is not a price above zero"),
        (changed(7, low="-1"), [], "candles.csv, column low, row 7", "'-1' is not a price above zero"),
        (changed(7, open="abc"), [], "candles.csv, column open, row 7", "'abc' is not a price"),
        (changed(7, high="inf"), [], "candles.csv, column high, row 7", "'inf' is not a price above zero"),
        (changed(7, open=""), [], "candles.csv, column open, row 7", "the price is missing; complete or"),
        (changed(7, volume="-3"), [], "candles.csv, column volume, row 7", "the volume -3.0 is below zero"),
        (changed(7, date=""), [], "candles.csv, column date, row 7", "the date is missing"),
        (changed(200, date="2013-05-01"), [], "candles.csv, column date, row 200", "is not a date written as"),
        (changed(7, date="5/13/2013"), [], "candles.csv, column date, row 7", "'5/13/2013' is not a day of the"),
        (lambda f: f.with_columns(date=DAY.dt.strftime("%Y-%m-%d 14:00")), [], "candles.csv, column date, row 1",
         "the time is not midnight"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_column_and_row(
    change: Change | None, overrides: list[str], where: str, says: str
) -> None:
    with pytest.raises(Refused) as refused:
        ingest(change(PLAIN) if change else PLAIN, *overrides)
    (finding,) = refused.value.findings
    assert finding.where == where
    assert says in str(finding)


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(Refused) as refused:
        ingest(changed(9, close="900")(changed(7, high="1")(pl.concat([PLAIN, PLAIN[[50]]]))))
    assert [each.where.rpartition(" ")[2] for each in refused.value.findings] == ["7", "9", "51"]
    with pytest.raises(Refused) as refused:
        ingest(changed(9, close="x")(changed(7, open="x")(PLAIN)))
    assert len(refused.value.findings) == 2


def test_rounding_is_no_mistake_and_a_zero_volume_is_unknown() -> None:
    assert len(ingest(changed(7, close=f"{float(PLAIN['high'][6]) * 1.0004:.4f}")(PLAIN))) == DAYS
    assert ingest(changed(7, volume="12")(PLAIN))["volume"].drop_nulls().to_list() == [12]


def test_gaps_are_reported_by_row_and_unknown_volumes_by_date(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        ingest(PLAIN.filter(~pl.int_range(pl.len()).is_in([20, 30, 31])))
    record = caplog.text
    assert "bitcoin has no candle on 1 day after 2013-05-17 (row 20)" in record
    assert "bitcoin has no candle on 2 days after 2013-05-27 (row 29)" in record
    assert "the volume is unknown on 123 days, from 2013-04-28 to 2013-08-31" in record


def test_files_and_databases_give_the_same_candles(tmp_path: Path, expected: pl.DataFrame) -> None:
    PLAIN.write_csv(tmp_path / "all.csv")
    PLAIN.with_columns(pl.col("open", "high", "low", "close").cast(pl.Float64)).write_parquet(tmp_path / "all.parquet")
    with sqlite3.connect(tmp_path / "prices.sqlite") as base:
        base.execute(f"CREATE TABLE crypto_markets ({', '.join(PLAIN.columns)})")
        base.executemany(f"INSERT INTO crypto_markets VALUES ({', '.join('?' * len(PLAIN.columns))})", PLAIN.rows())
    base.close()
    sources = (
        ["dataset.source=csv", f"dataset.path={tmp_path}/all.csv"],
        ["dataset.source=csv", f"dataset.path=file://{tmp_path}/all.csv"],
        ["dataset.source=parquet", f"dataset.path={tmp_path}/all.parquet"],
        ["dataset.source=sql", f"dataset.url=sqlite:///{tmp_path}/prices.sqlite"],
    )
    for overrides in sources:
        (tmp_path / "scratch").mkdir(exist_ok=True)
        assert of_source(tmp_path / "scratch", *overrides).equals(expected), overrides


def csv(content: bytes, name: str = "f.csv") -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(content)
        return ["dataset.source=csv", f"dataset.path={folder / name}"]

    return make


def parquet(change: Callable[[bytes], bytes], frame: pl.DataFrame = PLAIN) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        frame.write_parquet(folder / "f.parquet")
        (folder / "f.parquet").write_bytes(change((folder / "f.parquet").read_bytes()))
        return ["dataset.source=parquet", f"dataset.path={folder / 'f.parquet'}"]

    return make


def sql(create: str, *more: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        with sqlite3.connect(folder / "f.sqlite") as base:
            base.execute(create)
        base.close()
        return ["dataset.source=sql", f"dataset.url=sqlite:///{folder / 'f.sqlite'}", *more]

    return make


TEXT = PLAIN.write_csv().encode()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (csv(TEXT[:-30]), "row 252: has"),
        (csv(TEXT.replace(b"Bitcoin", "Bítcoin".encode("latin-1"))), "is not UTF-8 text"),
        (csv(b""), "the file is empty"),
        (csv(TEXT.replace(b"volume", b"turnover")), "has no column volume"),
        (csv(b"\x1f\x8b\x08\x00cut", "f.csv.gz"), "is not a complete gzip file"),
        (lambda folder: ["dataset.source=csv", f"dataset.path={folder}"], "is a folder"),
        (lambda folder: ["dataset.source=csv", f"dataset.path={folder}/no.csv"], "no such file"),
        (lambda folder: ["dataset.source=csv", f"dataset.path=file://{folder}/no.csv"], "cannot be read"),
        (lambda folder: ["dataset.source=csv"], "dataset.source=csv needs it"),
        (parquet(lambda content: content[:-9]), "is not a complete Parquet file"),
        (parquet(lambda content: b""), "the file is empty"),
        (parquet(bytes, PLAIN.drop("volume")), "has no column volume"),
        (parquet(bytes, PLAIN.with_columns(close=pl.lit(True))), "has the type Boolean"),
        (lambda folder: ["dataset.source=parquet", f"dataset.path={folder}/no.parquet"], "no such file"),
        (sql("CREATE TABLE crypto_markets (slug, date)"), "the query returns no rows"),
        (sql("CREATE TABLE crypto_markets AS SELECT 'bitcoin' AS slug, 1 AS date"), "has no column open"),
        (sql("CREATE TABLE other (slug)"), "the query failed"),
        (sql("CREATE TABLE other (slug)", "dataset.query=null"), "dataset.query: dataset.source=sql needs it"),
        (lambda folder: ["dataset.source=sql"], "dataset.url: dataset.source=sql needs it"),
        (lambda folder: ["dataset.source=sql", f"dataset.url=sqlite:///{folder}/no.sqlite"], "no such file"),
        (lambda folder: ["dataset.source=files"], "dataset bitcoin has no series by market"),
        (lambda folder: ["dataset.target=tomorrow"], "dataset.target='tomorrow'"),
        (lambda folder: ["dataset.coin=null"], "dataset.coin=None"),
        (lambda folder: ["dataset.columns={open: Open, price: Last}"], "price is not a column"),
        (lambda folder: ["dataset.date_format=%d", "dataset.source=csv", f"dataset.path={__file__}"], ""),
        (lambda folder: ["dataset.markets=3"], "dataset.markets: unknown key"),
        (lambda folder: ["dataset.password_env=A", "dataset.password_file=b"], "must be null if dataset.password_env"),
    ],
)  # fmt: skip
def test_a_source_is_refused_and_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], list[str]], says: str
) -> None:
    given = make(folder)
    before = {path.name for path in folder.iterdir()}
    assert cli.main(["step", "ingest", "dataset=bitcoin", *given, "--out", "raw=raw"]) == 2
    record = capsys.readouterr()
    assert says in record.err
    assert all(line.startswith("tapeline: ") for line in record.err.splitlines())
    assert {path.name for path in folder.iterdir()} - before <= {".tapeline"}


def test_no_space_for_a_downloaded_file_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "source0")

    (folder / "f.csv.gz").write_bytes(gzip.compress(TEXT))
    monkeypatch.setattr(archives, "_copy", full)
    path = f"dataset.path={folder}/f.csv.gz"
    assert cli.main(["step", "ingest", "dataset=bitcoin", "dataset.source=csv", path, "--out", "raw=raw"]) == 2
    assert "no space is left on the device" in capsys.readouterr().err
    assert not (folder / "raw").exists()
