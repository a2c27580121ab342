"""Each server is killed, and started again, in the middle of a read, a publish and a sync: a result or one sentence."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest

from tapeline.datasets.sources import sql
from tapeline.errors import Refused
from tapeline.serving import saved_model
from tapeline.serving.store import location, sync, versions
from tests.conftest import Tapeline
from tests.datasets.sources.test_files import closes, ingest
from tests.datasets.sources.test_sql import QUERY
from tests.servers.conftest import PASSWORD, Postgres, Program
from tests.servers.test_bigquery import QUERY as OF_BIGQUERY
from tests.servers.test_bigquery import account, fill
from tests.servers.test_postgres import VARIABLE, filled
from tests.serving.conftest import s3
from tests.serving.publishing import fake_servable, publish
from tests.serving.test_object_storage import _no_verify, check_mirror

__all__ = ["_no_verify", "account", "filled", "s3"]

pytestmark = pytest.mark.servers


def expected(folder: Path) -> pl.DataFrame:
    closes().write_csv(folder / "closes.csv")
    return ingest("dataset.source=csv", f"dataset.path={folder}/closes.csv")


def on_call(patch: pytest.MonkeyPatch, owner: Any, name: str, number: int, do: Callable[[], None]) -> None:
    """Do something before the call with this number, counted from 1."""
    real, calls = getattr(owner, name), []

    def call(*arguments: Any, **keys: Any) -> Any:
        calls.append(name)
        if len(calls) == number:
            do()
        return real(*arguments, **keys)

    patch.setattr(owner, name, call)


def test_postgresql_is_killed_in_a_query(filled: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, PASSWORD)
    source = ["dataset.source=sql", f"dataset.url={filled.url}", QUERY, f"dataset.password_env={VARIABLE}"]
    slow = "dataset.queries.dax='SELECT Date, Close FROM dax, pg_sleep(600)'"

    def kill() -> None:
        seen = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%, pg_sleep(600)' AND state = 'active'"
        while not filled.query(seen):
            pass
        filled.program.stop()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(Refused, match=r"dax: the query failed \(") as refused:
        ingest(*source, slow)
    killer.join()
    assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(Refused, match="the database cannot be opened"):
        ingest(*source)
    filled.program.start()
    assert ingest(*source).equals(expected(tmp_path))


def test_postgresql_starts_again_between_two_queries(
    filled: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, PASSWORD)
    source = ["dataset.source=sql", f"dataset.url={filled.url}", QUERY, f"dataset.password_env={VARIABLE}"]
    with monkeypatch.context() as patch:
        on_call(patch, sql, "_result", 4, lambda: restart(filled.program))
        with pytest.raises(Refused, match="the query failed") as refused:
            ingest(*source)
    assert len(str(refused.value).splitlines()) == 1
    assert ingest(*source).equals(expected(tmp_path))


def restart(program: Program) -> None:
    program.stop()
    program.start()


def test_the_emulator_of_bigquery_starts_again_between_two_queries(
    emulator: Program, bigquery: str, account: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its tables in memory, so they are missing afterwards."""
    source = ["dataset.source=sql", fill(bigquery, account), OF_BIGQUERY]
    with monkeypatch.context() as patch:
        on_call(patch, sql, "_result", 4, lambda: restart(emulator))
        with pytest.raises(Refused, match=r"dataset\.query for nikkei: the query ") as refused:
            ingest(*source)
    assert len(str(refused.value).splitlines()) == 1
    fill(bigquery, account)
    assert ingest(*source).equals(expected(tmp_path))


@pytest.fixture
def storage(seaweedfs: Program, s3: str) -> Any:
    """The file system of the store; afterwards the server runs."""
    yield location.backend(s3).fs  # type: ignore[attr-defined]
    if seaweedfs.process is None:
        seaweedfs.start()


def is_ready(url: str) -> bool:
    """Whether objects can be written: the volumes come back after the server's first answer."""
    try:
        fsspec.filesystem("s3").pipe_file(f"{url}/ready", b"now")
    except OSError:
        return False
    return True


def started_again(seaweedfs: Program, url: str) -> None:
    restart(seaweedfs)
    while not is_ready(url):
        pass


@pytest.mark.parametrize("comes_back", [True, False])
@pytest.mark.parametrize("number", [1, 3])
def test_seaweedfs_is_killed_in_a_publish(
    seaweedfs: Program,
    storage: Any,
    s3: str,
    tmp_path: Path,
    tapeline: Tapeline,
    monkeypatch: pytest.MonkeyPatch,
    comes_back: bool,
    number: int,
) -> None:
    publish(s3, fake_servable(tmp_path, "a" * 12))
    made = fake_servable(tmp_path, "b" * 12)
    words = ["step", "publish", "serving.name=m", f"serving.store={s3}", "--in", f"servable={made}"]
    words += ["--in", f"metrics={tmp_path}/metrics.json", "--out", f"published={tmp_path}/published.json"]
    do = (lambda: started_again(seaweedfs, s3)) if comes_back else seaweedfs.stop
    with monkeypatch.context() as patch:
        on_call(patch, storage, "pipe_file", number, do)
        code, _, err = tapeline(*words)
    assert (code, len(err.splitlines())) in ((0, 0), (2, 1))
    assert comes_back or code == 2
    if not comes_back:
        started_again(seaweedfs, s3)
    live = versions.read(s3, "m").live()
    assert live is not None
    assert live.model_version == ("b" if code == 0 else "a") * 12
    assert tapeline(*words)[0] == 0
    assert sync.once(s3, tmp_path / "mirror")
    check_mirror(tmp_path / "mirror")


@pytest.mark.parametrize("comes_back", [True, False])
def test_seaweedfs_is_killed_in_a_sync(
    seaweedfs: Program,
    storage: Any,
    s3: str,
    tmp_path: Path,
    tapeline: Tapeline,
    monkeypatch: pytest.MonkeyPatch,
    comes_back: bool,
) -> None:
    publish(s3, fake_servable(tmp_path, "a" * 12))
    words = ["store", "sync", s3, str(tmp_path / "mirror")]
    assert tapeline(*words)[0] == 0
    publish(s3, fake_servable(tmp_path, "b" * 12))
    before = (tmp_path / "mirror" / "models.config").read_bytes()
    do = (lambda: started_again(seaweedfs, s3)) if comes_back else seaweedfs.stop
    with monkeypatch.context() as patch:
        on_call(patch, storage, "cat_file", 2, do)
        code, _, err = tapeline(*words)
    assert (code, len(err.splitlines())) in ((0, 0), (2, 1))
    assert ((tmp_path / "mirror" / "models.config").read_bytes() == before) == (code == 2)
    check_mirror(tmp_path / "mirror")
    if not comes_back:
        assert code == 2
        started_again(seaweedfs, s3)
    assert tapeline(*words)[0] == 0
    assert (tmp_path / "mirror" / "m" / "2" / saved_model.METADATA).is_file()
