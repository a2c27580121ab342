from __future__ import annotations

import errno
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeline import files
from tapeline.errors import Refused


def test_an_atomic_write_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def fail() -> None:
        with files.atomic_path(tmp_path / "a") as path:
            path.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_atomically(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with files.atomic_path(tmp_path / "folder") as path:
            path.mkdir()
            (path / content).touch()
            assert not (tmp_path / "folder" / content).exists()
    assert [each.name for each in (tmp_path / "folder").iterdir()] == ["new"]


def test_scratch_removes_folders_of_killed_processes_and_keeps_those_in_use(tmp_path: Path) -> None:
    long_ago = time.time() - 3600
    (tmp_path / ".x.dead.partial").mkdir()
    os.utime(tmp_path / ".x.dead.partial", (long_ago, long_ago))
    (tmp_path / ".x.new.partial").mkdir()
    with files.scratch(tmp_path, "x") as used:
        os.utime(used, (long_ago, long_ago))
        with files.scratch(tmp_path, "x"):
            assert used.is_dir()
    assert [each.name for each in tmp_path.iterdir()] == [".x.new.partial"]


def test_copy_folder_raises_the_error_of_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "inner").mkdir(parents=True)
    (tmp_path / "a" / "inner" / "file").write_text("content")
    files.copy_folder(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b" / "inner" / "file").read_text() == "content"

    def full(*paths: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(paths[1]))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        files.copy_folder(tmp_path / "a", tmp_path / "c")
    assert raised.value.errno == errno.ENOSPC


def test_a_held_lock_is_refused_and_free_afterwards(tmp_path: Path) -> None:
    with files.locked(tmp_path / "lock", seconds=0, what="it"):
        other = files.locked(tmp_path / "lock", seconds=0, what="it")
        with pytest.raises(Refused, match="another process has held the lock of it for 0"):
            other.__enter__()
    with files.locked(tmp_path / "lock", seconds=0, what="it"):
        pass


def test_the_digest_of_a_folder_depends_on_names_and_contents(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "file").write_text("same")
    assert files.digest_path(tmp_path / "a") == files.digest_path(tmp_path / "b")
    (tmp_path / "b" / "inner" / "file").rename(tmp_path / "b" / "inner" / "other")
    assert files.digest_path(tmp_path / "a") != files.digest_path(tmp_path / "b")


@given(st.lists(st.binary(max_size=3), max_size=4), st.lists(st.binary(max_size=3), max_size=4))
def test_the_digest_separates_its_values(one: list[bytes], other: list[bytes]) -> None:
    assert (files.digest(*one) == files.digest(*other)) == (one == other)


def test_json_round_trip_and_refusal_of_nan(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"x": [1, "ü"]})
    assert json.loads((tmp_path / "a.json").read_text()) == files.read_json(tmp_path / "a.json") == {"x": [1, "ü"]}
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()
