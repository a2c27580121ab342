"""Stores that are damaged, half-written or on a disk that fails: every command still works."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tapeline import objects
from tapeline.errors import Refused
from tapeline.serving import saved_model
from tapeline.serving.store import location, log, operations, state, sync, versions
from tapeline.serving.store.folder import FolderBackend
from tests.faults import injection, stores
from tests.faults.injection import publish, serving

Damage = Callable[[Any], None]


@pytest.fixture(autouse=True)
def _no_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake servables do not load."""
    monkeypatch.setattr(saved_model, "verify", lambda folder: None)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return injection.servables(tmp_path / "models")


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, models: Path, tmp_path: Path) -> Path | str:
    """A store in which a, b and c were published."""
    made = tmp_path / "store" if request.param == "folder" else f"memory://{tmp_path}/store"
    for letter in "abc":
        publish(models / letter, made)
    return made


def remove(store: Path | str, path: str) -> None:
    backend: Any = location.backend(store)
    if isinstance(store, Path):
        shutil.rmtree(store / path) if (store / path).is_dir() else (store / path).unlink()
    else:
        for each in (path, f"{path}.whole", f"{path}.claim"):
            if backend.fs.exists(f"{backend.root}/{each}"):
                backend.fs.rm(f"{backend.root}/{each}", recursive=True)


DAMAGES: dict[str, Damage] = {
    "lost": lambda store: remove(store, "m/3"),
    "no model": lambda store: remove(store, "m/3/saved_model.pb"),
    "no metadata": lambda store: remove(store, f"m/3/{saved_model.METADATA}"),
    "metadata that is not JSON": lambda store: stores.write(store, f"m/3/{saved_model.METADATA}", b'{"na'),
    "metadata of another type": lambda store: stores.write(store, f"m/3/{saved_model.METADATA}", b"[1]"),
    "metadata without a version": lambda store: stores.write(store, f"m/3/{saved_model.METADATA}", b"{}"),
    "no UTF-8": lambda store: stores.write(store, f"m/3/{saved_model.METADATA}", b"\xff\xfe"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_live_version_is_damaged(models: Path, store: Path | str, damage: Damage) -> None:
    damage(store)
    rows = {row["number"]: row["state"] for row in operations.table(store, "m")}
    assert rows[1] == rows[2] == ""
    live = versions.read(store, "m").live()
    assert live is not None
    if live.problem:
        assert rows[3] == f"live, {live.problem}"
        assert operations.rollback(store, serving()).startswith("served now: m version 2 (bbbbbbbbbbbb)")
    assert operations.promote(1, store, serving()) == "served now: m version 1 (aaaaaaaaaaaa)"
    assert publish(models / "d", store).number == 4
    assert injection.every_command(models, store) == []


def test_publish_and_canary_go_on_where_the_live_version_is_lost(models: Path, store: Path | str) -> None:
    remove(store, "m/3")
    assert "not served: m version 3 (missing), and 1 (aaaaaaaaaaaa) as m-canary" in operations.canary(
        1, None, store, serving()
    )
    assert publish(models / "c", store).number == 4, "a number that servers may have loaded is not used again"
    assert versions.read(store, "m").canary() == versions.Version("m", 1, "a" * 12)


def test_an_old_version_or_the_canary_is_lost(models: Path, store: Path | str) -> None:
    operations.canary(models / "d", models / "metrics.json", store, serving())
    remove(store, "m/2")
    remove(store, "m/4")
    assert [(row["number"], row["state"]) for row in operations.table(store, "m")] == [
        (1, ""), (3, "live"), (4, "canary, missing"),
    ]  # fmt: skip
    with pytest.raises(Refused, match=r"m version 4 \(missing\): the canary cannot be served"):
        operations.promote(None, store, serving())
    with pytest.raises(Refused, match=r"version=2: m has no such version .*it has 1, 3"):
        operations.promote(2, store, serving())
    assert operations.rollback(store, serving()).startswith("served now: m version 1 ")
    assert operations.promote(3, store, serving()) == "served now: m version 3 (cccccccccccc)"


def test_no_version_is_left(models: Path, store: Path | str) -> None:
    for number in (1, 2, 3):
        remove(store, f"m/{number}")
    assert [row["state"] for row in operations.table(store, "m")] == ["live, missing"]
    with pytest.raises(Refused, match="no other version was live before; publish another model"):
        operations.rollback(store, serving())
    assert publish(models / "a", store).number == 4


def test_a_version_with_other_content_is_not_made_live(store: Path | str) -> None:
    stores.write(store, "m/2/saved_model.pb", b"x")
    assert operations.rollback(store, serving()).startswith("served now: m version 1 ")
    with pytest.raises(Refused, match=r"version=2: .*m/2 is damaged: saved_model\.pb"):
        operations.promote(2, store, serving())


def test_a_version_with_another_byte_is_neither_made_live_nor_mirrored(store: Path | str, tmp_path: Path) -> None:
    stores.write(store, "m/2/saved_model.pb", b"b" * 99 + b"#")
    stores.write(store, "m/3/saved_model.pb", b"c" * 99 + b"#")
    with pytest.raises(Refused, match=r"m/3"):
        sync.once(str(store), tmp_path / "mirror")
    assert not (tmp_path / "mirror" / "m" / "3").exists()
    with pytest.raises(Refused, match=r"version=2: .*m/2 is damaged: saved_model\.pb"):
        operations.promote(2, store, serving())
    assert operations.rollback(store, serving()).startswith("served now: m version 1 ")


@pytest.mark.parametrize(
    "tail", [b'{"time": "20', b"\0" * 5000, b"\xff\xfe{", b"null", b"[]\n", b'{"name": "m"}\n', b"\n"]
)
def test_a_torn_line_of_the_log_is_dropped(models: Path, tmp_path: Path, tail: bytes) -> None:
    store = tmp_path / "store"
    for letter in "ab":
        publish(models / letter, store)
    with open(store / log.LOG, "ab") as handle:
        handle.write(tail)
    assert len(list(operations.table(store, "m"))) == 2
    assert operations.rollback(store, serving()).startswith("served now: m version 1 ")
    assert injection.every_command(models, store) == []
    lines = (store / log.LOG).read_bytes().removesuffix(b"\n").split(b"\n")
    whole = [line for line in lines if line.startswith(b'{"time"')]
    assert [json.loads(line)["verb"] for line in whole[:3]] == ["publish", "publish", "rollback"]


def test_a_lost_log_leaves_promote_and_what_the_config_knows(models: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    for letter in "abc":
        publish(models / letter, store)
    (store / log.LOG).unlink()
    with pytest.raises(Refused, match="no other version was live before"):
        operations.rollback(store, serving())
    operations.promote(1, store, serving())
    assert operations.rollback(store, serving()).startswith("served now: m version 3 ")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_full_disk_behind_the_change_is_a_warning(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], code: int
) -> None:
    store = tmp_path / "store"
    publish(models / "a", store)

    def full(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert publish(models / "b", store).number == 2
    assert state.load(location.backend(store)).pins == {"m": 2}
    assert [each["number"] for each in versions.read(store, "m").history()] == [2, 1], "read from models.config"
    operations.rollback(store, serving())
    verbs = [json.loads(line)["verb"] for line in (store / log.LOG).read_text().splitlines()]
    assert verbs == ["publish", "publish", "rollback"]


@pytest.mark.parametrize("error", ["killed", "ENOSPC", "EIO", "ENOLCK"])
@pytest.mark.parametrize("name", injection.AFTER)
def test_a_fault_at_a_write_changes_all_or_nothing(models: Path, tmp_path: Path, name: str, error: str) -> None:
    store = tmp_path / "store"
    right = injection.prepare(models, store)
    number, came = 1, True
    while came:
        came, wrong = injection.attempt(models, right, store, name, number, error)
        assert wrong == [], f"at write {number}"
        number += 7


def test_the_log_is_rotated_and_commands_know_what_they_need(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "LIMIT", 8_000)
    monkeypatch.setattr(log, "RECENT", 3)
    store = tmp_path / "store"
    for letter in "abc":
        publish(models / letter, store)
    operations.rollback(store, serving(), why="a reason to remember")
    for number in (1, 2) * 20:
        operations.promote(number, store, serving())
    copies = list(store.glob("log-*.jsonl"))
    assert copies
    assert (store / log.LOG).stat().st_size < 8_000
    assert sum(len(path.read_bytes().splitlines()) for path in copies) >= 40
    with pytest.raises(versions.RolledBack):
        publish(models / "c", store)
    assert operations.rollback(store, serving()).startswith("served now: m version 1 ")


def test_a_long_log_is_read_only_as_far_as_needed(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    for letter in "ab":
        publish(models / letter, store)
    path = store / log.LOG
    path.write_bytes(b'{"name": "m", "verb": "canary", "number": 1, "before": 1}\n' * 50_000 + path.read_bytes())
    parsed = list[str]()
    real = log._record

    def recorded(line: str) -> Any:
        parsed.append(line)
        return real(line)

    monkeypatch.setattr(log, "_record", recorded)
    assert versions.read(store, "m").fates().order == [2, 1]
    assert len(parsed) <= log.RECENT


def test_the_base_path_stays_whatever_path_is_typed(models: Path, tmp_path: Path) -> None:
    store, link = tmp_path / "store", tmp_path / "link"
    publish(models / "a", store)
    link.symlink_to(store)
    publish(models / "b", link)
    assert f'base_path: "{store}/m"' in (store / "models.config").read_text()
    assert state.move(str(link), "/models", 1) == str(store)
    assert state.move(str(store), "/models", 1) is None
    publish(models / "c", store)
    text = (store / "models.config").read_text()
    assert text.count('base_path: "/models/m"') == 1
    assert str(store) not in text


def test_a_store_of_an_older_release_keeps_its_base_path(models: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    publish(models / "a", store)
    path = store / "models.config"
    lines = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith("#")]
    path.write_text("".join(lines).replace(f"{store}/m", "/srv/m"))
    publish(models / "b", store)
    assert 'base_path: "/srv/m"' in path.read_text()


@pytest.mark.parametrize("name", ["m-canary", "M-Canary", "latest", "models.config"])
def test_reserved_names_are_refused_by_the_store(models: Path, tmp_path: Path, name: str) -> None:
    section = serving().model_copy(update={"name": name})
    for call in (
        lambda: operations.publish(models / "a", models / "metrics.json", tmp_path / "s", section),
        lambda: versions.read(tmp_path / "s", name),
    ):
        with pytest.raises(Refused, match=f"serving.name={name}: is reserved"):
            call()
    assert not (tmp_path / "s" / "models.config").exists()


def test_names_that_differ_in_case_only_are_refused(models: Path, store: Path | str) -> None:
    section = serving().model_copy(update={"name": "M"})
    with pytest.raises(Refused, match=r"serving\.name=M: .* has the model m, and some file systems ignore case"):
        operations.publish(models / "d", models / "metrics.json", store, section)


def test_a_version_is_on_the_disk_before_models_config_names_it(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    publish(models / "a", store)
    order = list[str]()
    real_sync, real_put = os.fsync, FolderBackend.put

    def fsync(handle: int) -> None:
        order.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real_sync(handle)

    def put(self: Any, path: str, content: bytes, etag: str) -> str:
        order.append(f"put {path}")
        return real_put(self, path, content, etag)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(FolderBackend, "put", put)
    publish(models / "b", store)
    before = order[: order.index("put models.config")]
    synced = {Path(path).name for path in before}
    assert {"saved_model.pb", "tapeline.json", "metrics.json", "assets.extra", "m", "store"} <= synced
    assert str(store) in order[order.index("put models.config") :], "the folder, behind the rename"


def test_markers_in_object_storage_that_cannot_be_read(models: Path, tmp_path: Path) -> None:
    url = f"memory://{tmp_path}/store"
    for letter in "ab":
        publish(models / letter, url)
    for content in (b"{", b"[]", b'{"files": 3}', b'{"files": {"a": 1}}', b'{"files": {"a": ["x", 1]}}'):
        stores.write(url, "m/2.whole", content)
        with pytest.raises(Refused, match=r"version=2: .* damaged: 2\.whole"):
            operations.promote(2, url, serving())
        with pytest.raises(Refused, match="it is not complete"):
            location.backend(url).download("m", 2, tmp_path / "x")
    for name in ("m/\u00b2.whole", "m/007.claim", "m/5", "m/x.whole"):
        stores.write(url, name, b"{}")
    stores.write(url, "m/6.claim", b'{"time": 3}')
    assert publish(models / "c", url).number == 7


def test_a_put_whose_response_is_lost_counts(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"memory://{tmp_path}/store"
    publish(models / "a", url)
    backend: Any = location.backend(url)
    real = backend.driver.put

    def lossy(fs: Any, path: str, content: bytes, etag: str) -> str:
        made = real(fs, path, content, etag)
        if path.endswith(state.CONFIG):
            raise TimeoutError("no response")
        return str(made)

    monkeypatch.setitem(objects.DRIVERS, "memory", replace(backend.driver, put=lossy))
    assert publish(models / "b", url).number == 2
    assert state.load(location.backend(url)).pins == {"m": 2}
