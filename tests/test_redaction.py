"""Secrets: found in no message, log, file or YAML, wherever they were planted."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest

from tapeline import redaction
from tapeline.cli import main as cli
from tapeline.console import logged
from tapeline.errors import Refused, refuse
from tapeline.lookup import configure
from tapeline.redaction import holds_secret, scrub
from tests.conftest import ROOT, Tapeline
from tests.datasets.closes import table

SECRET = "h0nter2xQ9"
TEXTS = {
    "password of a URL": f"postgresql://me:{SECRET}@db/prices",
    "user of a URL": f"https://{SECRET}@host/closes.csv",
    "user and password of storage": f"s3://{SECRET}:{SECRET}@bucket/closes.csv",
    "signature": f"https://host/closes.csv?sv=2024&sig={SECRET}",
    "signature of S3": f"https://bucket/closes.csv?X-Amz-Signature={SECRET}&X-Amz-Date=2024",
    "key of an API": f"https://host/closes?api_key={SECRET}",
    "any parameter": f"https://host/closes?key={SECRET}",
    "fragment": f"https://host/closes.csv#access_token={SECRET}",
    "option of a driver": f"duckdb:///md:prices?motherduck_token={SECRET}",
    "connection string in a URL": f"mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3D{SECRET}",
    "connection string": f"Driver=x;Server=db;UID=me;PWD={SECRET}",
    "private key in JSON": f'{{"private_key": "{SECRET}"}}',
    "private key": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
    "account key": f"DefaultEndpointsProtocol=https;AccountKey={SECRET};",
    "header": f"Authorization: Bearer {SECRET}",
    "header of a key": f"{{'X-API-Key': '{SECRET}'}}",
    "query of DuckDB": f"SET s3_secret_access_key='{SECRET}'",
}
"""Places of a secret in a text."""
PLAIN = (
    "postgresql://me@db:5432/prices?sslmode=require&connect_timeout=5",
    "mssql+pyodbc://me@db/prices?driver=ODBC+Driver+18",
    "https://host:443/closes.csv?format=csv",
    "s3://bucket/a@b:c",
    "sqlite:////a/b.db",
    "bigquery://prices/closes?credentials_path=/run/secrets/account.json&location=EU",
    "dataset.password_env=PGPASSWORD: the environment has no such variable; set it",
    "target.store_secret=object-store",
    "https://host/closes.csv?sig=${oc.env:SIG}",
    "split.train=0.8; set split.train=0.9",
    "SELECT Date, Close FROM prices WHERE token = 'BTC'",
)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", {})


@pytest.mark.parametrize("place", TEXTS)
def test_a_secret_is_hidden_in_messages_and_logs(place: str, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = TEXTS[place]
    assert holds_secret(text)
    assert SECRET not in str(refuse(text, text, text))
    with logged(tmp_path / "log.txt"):
        logging.getLogger("tapeline.x").info("read %s", text)
    assert SECRET not in capfd.readouterr().out + (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_known_to_be_none_stays(text: str) -> None:
    assert scrub(text) == text


ONE_LINE = [place for place, text in TEXTS.items() if "\n" not in text and "'" not in text]


@pytest.mark.parametrize("place", ONE_LINE)
def test_a_secret_in_the_configuration_is_refused(place: str) -> None:
    with pytest.raises(Refused, match=r"dataset\.path: holds a password, key or token, or may") as refused:
        configure(["dataset.source=csv", f"dataset.path='{TEXTS[place]}'"])
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("command", ["run", "sweep", "explore", "config", "build", "predict", "versions"])
def test_no_command_shows_or_writes_it(command: str, tapeline: Tapeline, folder: Path) -> None:
    target = ["target=argo"] if command == "build" else []
    for key in ("dataset.path", "serving.store", "dataset.urll"):
        code, out, err = tapeline(command, *target, f"{key}='{TEXTS['signature']}'")
        assert code == 2
        assert SECRET not in out + err
    for path in folder.rglob("*"):
        assert SECRET not in path.name
        assert not path.is_file() or SECRET not in path.read_text(errors="replace")


def run_line(folder: Path, *overrides: str) -> list[str]:
    places = [f"target.runs={folder}/runs", f"target.cache={folder}/cache", f"serving.store={folder}/store"]
    return ["run", "publish=false", "model=flat", "model.steps=2", "model.report_every=1", *overrides, *places]


def test_a_secret_of_the_environment_is_used_and_stands_nowhere(
    tapeline: Tapeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of the path, the key of a server and a part of a query come from the environment."""
    import fsspec

    url = f"memory://{SECRET}/closes.csv"
    with fsspec.open(url, "wb") as remote:
        remote.write(table(folder).read_bytes())
    (folder / "all.csv").unlink()
    monkeypatch.setenv("CLOSES_URL", url)
    monkeypatch.setenv("PART", SECRET)
    code, out, err = tapeline(*run_line(folder, "dataset.source=csv", "dataset.path=${oc.env:CLOSES_URL}"))
    assert (code, err) == (0, "")
    said = out
    for wrong in (
        ["dataset.path=memory://${oc.env:PART}/absent.csv"],
        ["dataset.path=memory://${oc.env:PART}/closes.csv", "dataset.date_column=${oc.env:PART}"],
        ["dataset.path=memory://x/${oc.env:PART}.csv?sig=${oc.env:PART}"],
    ):
        code, out, err = tapeline(*run_line(folder, "dataset.source=csv", *wrong))
        assert code == 2
        assert "${oc.env:PART}" in err
        said += out + err
    assert tapeline("build", "target=argo", "dataset.source=csv", "dataset.path=${oc.env:CLOSES_URL}")[0] in (0, 2)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.name == "run.json" for path in files)
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in said


def test_a_secret_of_the_environment_in_a_known_place_is_refused_by_build(monkeypatch: pytest.MonkeyPatch) -> None:
    from tapeline.clusters import plan

    monkeypatch.setenv("PART", SECRET)
    query = "dataset.query='SELECT * FROM {ticker} -- password=${oc.env:PART}'"
    overrides = ["dataset.source=sql", "dataset.url=postgresql://db/x", query]
    assert configure(overrides).dataset.source == "sql"
    planned = plan.plan(configure(["target=argo", *overrides]), ["target=argo", *overrides])
    assert SECRET not in str(planned.tasks)
    with pytest.raises(Refused) as refused:
        plan.plan(configure(["target=argo", "dataset.name=${oc.env:NAME,indices}"]), ["target=argo"])
    assert "${oc.env:NAME,indices}" in str(refused.value)


def test_sqlite_is_opened_for_reading_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tapeline.datasets.sources import sql
    from tapeline.datasets.sources.series import section

    path = tmp_path / "closes & 50%.db"
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE snp (Date TEXT, Close REAL)")
    base.close()
    before = path.read_bytes()
    for url in (f"sqlite:///{path}", "sqlite:///file:closes%20%26%2050%25.db"):
        monkeypatch.chdir(tmp_path)
        dataset = section(configure(["dataset.source=sql", f"dataset.url='{url}'"]).dataset)
        with sql._connected(dataset, None) as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM snp").scalar() == 0
            with pytest.raises(Exception, match="readonly"):
                connection.exec_driver_sql("INSERT INTO snp VALUES ('2012-01-02', 1)")
    assert path.read_bytes() == before


def test_short_values_of_the_environment_stay_in_other_words() -> None:
    redaction.remember("a", "${oc.env:A}")
    redaction.remember("2015", "${oc.env:YEAR}")
    assert scrub("a year of 2015") == "a year of 2015"
    redaction.remember("a b/c", "${oc.env:NAME}")
    assert scrub("x a b/c, a%20b%2Fc and a+b%2Fc") == "x ${oc.env:NAME}, ${oc.env:NAME} and ${oc.env:NAME}"


def test_the_command_line_of_no_process_holds_a_password() -> None:
    """A password comes from a variable or a file, so that it is in no list of processes."""
    assert cli.main(["config", f"dataset.password={SECRET}"]) == 2
    source = (ROOT / "src" / "tapeline" / "datasets" / "sources" / "sql.py").read_text()
    assert "subprocess" not in source
