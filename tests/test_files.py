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


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with files.atomic_path(tmp_path / "a") as path:
            path.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_takes_its_name_when_whole(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with files.atomic_path(tmp_path / "folder") as path:
            path.mkdir()
            (path / content).touch()
            assert not (tmp_path / "folder" / content).exists()
    assert [each.name for each in (tmp_path / "folder").iterdir()] == ["new"]


def test_what_killed_processes_left_goes_and_what_is_in_use_stays(tmp_path: Path) -> None:
    long_ago = time.time() - 3600
    (tmp_path / ".x.dead.partial").mkdir()
    os.utime(tmp_path / ".x.dead.partial", (long_ago, long_ago))
    (tmp_path / ".x.new.partial").mkdir()
    with files.scratch(tmp_path, "x") as mine:
        os.utime(mine, (long_ago, long_ago))
        with files.scratch(tmp_path, "x"):
            assert mine.is_dir()
    assert [each.name for each in tmp_path.iterdir()] == [".x.new.partial"]


def test_a_copy_on_a_full_disk_says_that_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_lock_keeps_others_out(tmp_path: Path) -> None:
    with files.locked(tmp_path / "lock", seconds=0, what="it"):
        other = files.locked(tmp_path / "lock", seconds=0, what="it")
        with pytest.raises(Refused, match="another process has held the lock of it for 0"):
            other.__enter__()
    with files.locked(tmp_path / "lock", seconds=0, what="it"):
        pass


def test_digests_are_of_content_and_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / "file").write_text("same")
    assert files.digest_path(tmp_path / "a") == files.digest_path(tmp_path / "b")
    (tmp_path / "b" / "inner" / "file").rename(tmp_path / "b" / "inner" / "other")
    assert files.digest_path(tmp_path / "a") != files.digest_path(tmp_path / "b")


@given(st.lists(st.binary(max_size=3), max_size=4), st.lists(st.binary(max_size=3), max_size=4))
def test_parts_do_not_run_into_each_other(one: list[bytes], other: list[bytes]) -> None:
    assert (files.digest(*one) == files.digest(*other)) == (one == other)


def test_json_without_nan(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"x": [1, "ü"]})
    assert json.loads((tmp_path / "a.json").read_text()) == files.read_json(tmp_path / "a.json") == {"x": [1, "ü"]}
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "b.json", float("nan"))
    assert not (tmp_path / "b.json").exists()
