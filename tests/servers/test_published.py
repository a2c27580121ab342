"""The original table of the S&P system in databases: dataset.source=sql gives the published figures of snp_deep."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.conftest import Tapeline, metrics
from tests.servers.conftest import PASSWORD, Postgres
from tests.servers.test_bigquery import account, client

__all__ = ["account"]

pytestmark = pytest.mark.servers

VARIABLE = "TAPELINE_TEST_PASSWORD"
QUERY = "dataset.query='SELECT Date, {ticker}_close AS Close FROM original.closing_data'"
ROWS = 500
"""Of one statement."""


@pytest.fixture(scope="module")
def statements(closing_data: Path) -> list[str]:
    """SQL that makes the table and fills it; `FLOAT` stands for the type of a double."""
    frame = pl.read_csv(closing_data, schema_overrides={"Date": pl.String})
    names = frame.columns
    made = [f"CREATE TABLE original.closing_data (Date DATE, {', '.join(f'{name} FLOAT' for name in names[1:])})"]
    rows = [
        f"(DATE '{date}', {', '.join('NULL' if each is None else repr(each) for each in closes)})"
        for date, *closes in frame.rows()
    ]
    parts = [rows[first : first + ROWS] for first in range(0, len(rows), ROWS)]
    return made + [f"INSERT INTO original.closing_data ({', '.join(names)}) VALUES {', '.join(part)}" for part in parts]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both databases have the same rows, so the model is trained once."""
    return tmp_path_factory.mktemp("cache")


def published(tapeline: Tapeline, folder: Path, cache: Path, *overrides: str) -> dict[str, Any]:
    """metrics.json of snp_deep on a database, with its published figures."""
    code, _, err = tapeline("run", "experiment=snp_deep", "dataset.source=sql", f"target.cache={cache}", *overrides)
    assert (code, err) == (0, "")
    record: dict[str, Any] = metrics(folder)
    assert record["data"]["source"] == "sql"
    assert record["data"]["rows"] == {"train": 1152, "validation": 0, "test": 288}
    assert round(record["test"]["overall"]["accuracy"], 6) in (0.722222, 0.725694)
    assert (record["test"]["overall"]["confusion"]["tp"], record["test"]["overall"]["confusion"]["fn"]) == (90, 54)
    assert record["gate"]["accepted"] is True
    return record


def test_postgresql(
    postgres: Postgres,
    statements: list[str],
    cache: Path,
    tapeline: Tapeline,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, PASSWORD)
    postgres.execute("CREATE SCHEMA original")
    for each in statements:
        postgres.execute(each.replace(" FLOAT", " DOUBLE PRECISION"))
    published(tapeline, folder, cache, f"dataset.url={postgres.url}", f"dataset.password_env={VARIABLE}", QUERY)


def test_bigquery(
    bigquery: str, account: Path, statements: list[str], cache: Path, tapeline: Tapeline, folder: Path
) -> None:
    assert bigquery == os.environ["BIGQUERY_EMULATOR_HOST"]
    driver = client(bigquery, account)
    driver.create_dataset("original", exists_ok=True)
    for each in statements:
        driver.query_and_wait(each.replace(" FLOAT", " FLOAT64"))
    url = f"dataset.url='bigquery://prices/original?credentials_path={account}'"
    published(tapeline, folder, cache, url, QUERY)
