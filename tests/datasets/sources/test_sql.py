"""One query for each market in SQLite and DuckDB, and that passwords are not shown."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tapeline.checks.configuration import source_has_its_path
from tapeline.cli import main as cli
from tapeline.config.compose import plain
from tapeline.datasets.indices.simulation import simulate
from tapeline.datasets.sources.sql import _message
from tapeline.errors import Refused, refuse
from tapeline.lookup import configure as compose
from tapeline.lookup import source
from tapeline.redaction import scrub
from tests.datasets.sources.test_files import DATA, MARKETS, closes, ingest

sqlalchemy = pytest.importorskip("sqlalchemy")

QUERY = "dataset.query='SELECT Date, Close FROM {ticker}'"
SECRET = "h@nter/2:?"


def sqlite(folder: Path, frame: pl.DataFrame) -> str:
    """A database of text dates, unsorted; its override."""
    path = folder / "closes.sqlite"
    with sqlite3.connect(path) as base:
        for market in MARKETS:
            rows = (
                frame.select(pl.col("date").cast(pl.String), market)
                .drop_nulls()
                .sample(fraction=1, shuffle=True, seed=1)
            )
            base.execute(f"CREATE TABLE {market} (Date TEXT, Close REAL)")
            base.executemany(f"INSERT INTO {market} VALUES (?, ?)", rows.rows())
    base.close()
    return f"dataset.url=sqlite:///{path}"


def duck(folder: Path, frame: pl.DataFrame) -> str:
    """A database of real dates, unsorted; its override."""
    pytest.importorskip("duckdb_engine")
    duckdb = pytest.importorskip("duckdb")
    path = folder / "closes.duckdb"
    with duckdb.connect(str(path)) as base:
        for market in MARKETS:
            rows = (
                frame.select(pl.col("date").cast(pl.String), market)
                .drop_nulls()
                .sample(fraction=1, shuffle=True, seed=2)
            )
            values = ", ".join(f"('{day}', {close!r})" for day, close in rows.rows())
            base.execute(f"CREATE TABLE {market} (Date DATE, Close DOUBLE)")
            base.execute(f"INSERT INTO {market} VALUES {values}")
    return f"dataset.url=duckdb:///{path}"


def run(folder: Path, *overrides: str) -> dict[str, Any]:
    """metrics.json of a short run."""
    places = [f"target.runs={folder}/runs", f"target.cache={folder}/cache", f"serving.store={folder}/store"]
    assert cli.main(["run", "publish=false", "model=flat", "model.steps=3", *overrides, *places]) == 0
    written: dict[str, Any] = json.loads((folder / "runs" / "latest" / "metrics.json").read_text())
    return written


def test_databases_give_the_metrics_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Only the source differs; and nothing that the runs print or write contains the password."""
    frame = simulate(0)
    if DATA.is_dir():
        frame = ingest("dataset.source=csv", f"dataset.path={DATA}/closing_data.csv")
    frame.write_csv(tmp_path / "closes.csv")
    expected = run(tmp_path, "dataset.source=csv", f"dataset.path={tmp_path}/closes.csv")
    monkeypatch.setenv("TAPELINE_TEST_PASSWORD", SECRET)
    create, opened = sqlalchemy.create_engine, []

    def without_password(url: Any, **keys: Any) -> Any:
        opened.append(url.password)
        return create(url._replace(password=None), **keys)

    monkeypatch.setattr(sqlalchemy, "create_engine", without_password)
    for url in (sqlite(tmp_path, frame), duck(tmp_path, frame)):
        written = run(tmp_path, "dataset.source=sql", url, QUERY, "dataset.password_env=TAPELINE_TEST_PASSWORD")
        assert written["config"]["dataset"].pop("source") == written["data"].pop("source") == "sql"
        assert written["config"]["dataset"].pop("query") == "SELECT Date, Close FROM {ticker}"
        for key in ("source", "query"):
            written["config"]["dataset"][key] = expected["config"]["dataset"][key]
        written["data"]["source"] = "csv"
        assert written == expected
    assert opened == [SECRET, SECRET]
    output = "".join(capfd.readouterr())
    output += "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert "accuracy" in output
    assert SECRET not in output


def test_texts_numbers_and_moments_of_a_database_are_read_as_those_of_a_file(tmp_path: Path) -> None:
    """SQLite stores values of any type; the query of a market can rename columns."""
    frame = closes()
    url = sqlite(tmp_path, frame)
    with sqlite3.connect(tmp_path / "closes.sqlite") as base:
        base.execute("UPDATE snp SET Date = Date || ' 00:00:00+00:00'")
        base.execute("UPDATE dax SET Date = replace(Date, '-', '')")
        base.execute("CREATE TABLE vendor AS SELECT Date AS day, printf('%,.2f', Close) AS last FROM ftse")
    base.close()
    own = "dataset.queries.ftse='SELECT day AS Date, last AS Close FROM vendor WHERE day LIKE \"2%\"'"
    joined = ingest("dataset.source=sql", url, QUERY, own)
    frame.write_csv(tmp_path / "closes.csv")
    assert joined.equals(ingest("dataset.source=csv", f"dataset.path={tmp_path}/closes.csv"))


def test_decimals_and_zoned_moments_of_duckdb(tmp_path: Path) -> None:
    frame = closes()
    url = duck(tmp_path, frame)
    query = "dataset.query='SELECT Date::TIMESTAMP AS Date, Close::DECIMAL(12, 2) AS Close FROM {ticker}'"
    whole = "dataset.queries.snp='SELECT Date, Close FROM snp'"
    joined = ingest("dataset.source=sql", url, query, whole)
    frame.write_csv(tmp_path / "closes.csv")
    assert joined.equals(ingest("dataset.source=csv", f"dataset.path={tmp_path}/closes.csv"))


def test_a_database_is_read_each_time() -> None:
    dataset = compose(["dataset.source=sql", "dataset.url=sqlite:///closes.db"]).dataset
    assert source(dataset).seen(dataset) is None


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["dataset.url=sqlite:////nowhere/c.db"], "dataset.url=sqlite:////nowhere/c.db: no such file"),
        (["dataset.url=duckdb:////nowhere/c.db"], "no such file"),
        (["dataset.url=closes.db"], "dataset.url: is not a database URL"),
        (["dataset.url=nosuch://host/db"], "the driver of nosuch is not installed"),
        (["dataset.query='SELECT * FROM closes_{ticker}'"], "for snp: the query failed (no such table: closes_snp)"),
        (["dataset.query='SELECT * FROM {ticker} WHERE 0'"], "for snp: the query returns no rows"),
        (["dataset.query='SELECT Date, Close AS c FROM {ticker}'"], "no column snp or snp_close or close"),
        (["dataset.query='SELECT Date, Date, Close FROM {ticker}'"], "two columns have the same name"),
        (["dataset.queries.dax='SELECT Date, -Close AS Close FROM dax'"], "the query for dax, column Close, row 1"),
        (["dataset.queries.dax='SELECT Date, Close FROM dax UNION ALL SELECT Date, 1 FROM dax'"], "is in rows"),
        (["dataset.password_env=TAPELINE_NO_SUCH"], "TAPELINE_NO_SUCH: the environment has no such variable"),
        (
            ["dataset.password_file=/nowhere/password"],
            "no such file or directory; set it to a readable file",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, overrides: list[str], says: str) -> None:
    with pytest.raises(Refused) as refused:
        ingest("dataset.source=sql", sqlite(tmp_path, closes()), QUERY, *overrides)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "nowhere").exists()


def test_a_database_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Error messages of drivers repeat the URL."""
    (tmp_path / "password").write_text(SECRET + "\n")

    def refusing(url: Any, **keys: Any) -> Any:
        text = f"cannot log in to {url.render_as_string(hide_password=False)} with {url.password}\nand more"
        raise sqlalchemy.exc.OperationalError(None, None, OSError(text))

    monkeypatch.setattr(sqlalchemy, "create_engine", refusing)
    with pytest.raises(Refused, match="the database cannot be opened") as refused:
        ingest(
            "dataset.source=sql", "dataset.url=postgresql://me@db/prices", f"dataset.password_file={tmp_path}/password"
        )
    said = str(refused.value)
    assert "postgresql://me:***@db/prices with ***" in said
    assert SECRET not in said
    assert "nter" not in said
    assert "and more" not in said


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(url: Any, **keys: Any) -> Any:
        raise ModuleNotFoundError("No module named 'psycopg'")

    monkeypatch.setattr(sqlalchemy, "create_engine", missing)
    with pytest.raises(Refused, match=r"the driver of postgresql is not installed; install tapeline\[postgres\]"):
        ingest("dataset.source=sql", "dataset.url=postgresql://me@db/prices")


def test_the_message_of_a_driver_is_shown_without_the_password() -> None:
    assert _message(OSError("me:h%40nter%2F2%3A%3F and h%40nter%2F2%3A%3F"), SECRET) == "me:*** and ***"
    assert _message(OSError("\n  two\n lines"), None) == "two"
    assert _message(OSError(), None) == "OSError"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@db/prices",
        "postgresql+psycopg://:hunter2@db/prices",
        "postgresql://me:hunter2/@x@db/prices",
        "postgresql://db/prices?user=me&password=hunter2",
        "duckdb:///md:prices?motherduck_token=hunter2",
    ],
)
@pytest.mark.parametrize("key", ["dataset.url", "dataset.path", "dataset.files.dax", "dataset.urll", "serving.store"])
def test_a_password_in_the_configuration_is_refused_and_not_shown(
    url: str, key: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for value in (f'"{url}"', url):
        assert cli.main(["config", "dataset.source=sql", f"{key}={value}"]) == 2
        said = capfd.readouterr().err
        assert "hunter2" not in said
    assert cli.main(["config", f'{key}="{url}"']) == 2
    assert "holds a password" in capfd.readouterr().err


def test_an_address_without_password_is_none() -> None:
    for url in ("postgresql://me@db:5432/prices", "sqlite:////a/b.db", "https://host:443/x.csv", "s3://bucket/a@b:c"):
        assert scrub(url) == url
        assert compose([f'dataset.path="{url}"']).dataset.path == url
    hidden = str(refuse("x", "y://a:secret@b", "z"))
    assert "***@b" in hidden
    assert "secret" not in hidden


def test_a_place_is_in_no_metrics() -> None:
    config = compose(["dataset.source=sql", "dataset.url=sqlite:///c.db", "dataset.password_file=/run/secrets/db"])
    assert not {"url", "password_env", "password_file"} & set(plain(config, places=False)["dataset"])
    assert {"query", "queries"} <= set(plain(config, places=False)["dataset"])


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["dataset.source=sql"], "dataset.url: dataset.source=sql needs it"),
        (["dataset.source=sql", "dataset.url=a", "dataset.query=null"], "there is no query for snp, nyse"),
        (["dataset.url=sqlite:///c.db"], "set dataset.source=sql too"),
        (["dataset.source=sql", "dataset.url=a", "dataset.path=a"], "dataset.path=a: is not read"),
    ],
)
def test_keys_of_a_query_are_found_before_a_run(overrides: list[str], says: str) -> None:
    assert says in "\n".join(map(str, source_has_its_path(compose(overrides))))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["dataset.query='SELECT Date, Close FROM snp'"], "must contain {ticker}"),
        (["dataset.queries.nikei='SELECT 1'"], "did you mean nikkei?"),
        (["dataset.password_env=A", "dataset.password_file=b"], "must be null if dataset.password_env is set"),
        (["dataset.password_env='not a name'"], "dataset.password_env"),
    ],
)
def test_a_query_that_cannot_be_is_refused_when_composed(overrides: list[str], says: str) -> None:
    with pytest.raises(Refused) as refused:
        compose(overrides)
    assert says in str(refused.value)
