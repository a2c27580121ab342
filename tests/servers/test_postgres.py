"""dataset.source=sql on a real PostgreSQL, whose password comes by reference."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tapeline.errors import Refused
from tests.datasets.sources.test_files import MARKETS, closes, ingest
from tests.datasets.sources.test_sql import QUERY, run
from tests.servers.conftest import PASSWORD, Postgres, free_ports

pytestmark = pytest.mark.servers

VARIABLE = "TAPELINE_TEST_PASSWORD"


@pytest.fixture(scope="module")
def filled(postgres: Postgres) -> Postgres:
    """The closes of each market in a table of its own: of dates and doubles, or of moments and decimals."""
    for number, market in enumerate(MARKETS):
        day, price = ("TIMESTAMPTZ", "NUMERIC(12, 2)") if number % 2 else ("DATE", "DOUBLE PRECISION")
        rows = closes().select(pl.col("date").cast(pl.String), market).drop_nulls().rows()
        values = ", ".join(f"('{date}{' 00:00+00' if number % 2 else ''}', {close!r})" for date, close in rows[::-1])
        postgres.execute(f"DROP TABLE IF EXISTS {market}; CREATE TABLE {market} (Date {day}, Close {price})")
        postgres.execute(f"INSERT INTO {market} VALUES {values}")
    return postgres


@pytest.fixture(params=["environment", "file"])
def password(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An override that says where the password is."""
    if request.param == "environment":
        monkeypatch.setenv(VARIABLE, PASSWORD)
        return f"dataset.password_env={VARIABLE}"
    (tmp_path / "password").write_text(PASSWORD + "\n")
    return f"dataset.password_file={tmp_path}/password"


def test_tables_of_all_types_are_read_as_the_file_that_they_were_made_from(
    filled: Postgres, password: str, tmp_path: Path
) -> None:
    closes().write_csv(tmp_path / "closes.csv")
    expected = ingest("dataset.source=csv", f"dataset.path={tmp_path}/closes.csv")
    url = f"dataset.url={filled.url}"
    assert ingest("dataset.source=sql", url, QUERY, password).equals(expected)


def test_a_run_leaves_no_trace_of_the_password(
    filled: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, PASSWORD)
    written = run(
        tmp_path, "dataset.source=sql", f"dataset.url={filled.url}", QUERY, f"dataset.password_env={VARIABLE}"
    )
    assert written["data"]["source"] == "sql"
    found = "".join(capfd.readouterr())
    found += "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file())
    assert PASSWORD not in found


@pytest.mark.parametrize(
    ("wrong", "says"),
    [("not it", "password authentication failed"), ("", "the environment has no such variable")],
)
def test_a_wrong_or_missing_password_is_refused_and_not_shown(
    filled: Postgres, monkeypatch: pytest.MonkeyPatch, wrong: str, says: str
) -> None:
    monkeypatch.setenv(VARIABLE, wrong)
    with pytest.raises(Refused, match=says) as refused:
        ingest("dataset.source=sql", f"dataset.url={filled.url}", QUERY, f"dataset.password_env={VARIABLE}")
    assert not wrong or wrong not in str(refused.value)


def test_a_table_that_is_missing_is_named(filled: Postgres, password: str) -> None:
    query = "dataset.query='SELECT Date, Close FROM closes_{ticker}'"
    with pytest.raises(Refused, match="closes_") as refused:
        ingest("dataset.source=sql", f"dataset.url={filled.url}", query, password)
    assert PASSWORD not in str(refused.value)


def test_a_server_that_does_not_answer_is_refused(password: str) -> None:
    url = f"dataset.url=postgresql://reader@127.0.0.1:{free_ports(1)[0]}/postgres"
    with pytest.raises(Refused, match="the database cannot be opened"):
        ingest("dataset.source=sql", url, QUERY, password)
