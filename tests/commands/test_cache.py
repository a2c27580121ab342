"""The cache: what is listed, what is removed, and what runs keep."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tapeline import files
from tests.conftest import Tapeline

CACHE = Path(".tapeline") / "cache"


def entry(step: str, name: str, *, hours: float, size: int) -> Path:
    """A finished step of so many bytes, last used so long ago."""
    path = CACHE / step / name
    path.mkdir(parents=True)
    (path / "entry.json").write_text("{}")
    (path / "made").write_bytes(bytes(size - 2))
    moment = time.time() - hours * 3600
    os.utime(path, (moment, moment))
    return path


@pytest.fixture
def cache(folder: Path) -> dict[str, Path]:
    """Four entries of a megabyte, a year to an hour old; a run names the oldest."""
    ages = {"old": 9000, "older": 5000, "recent": 30, "new": 1}
    made = {name: entry("train", name, hours=hours, size=1_000_000) for name, hours in ages.items()}
    run = folder / "runs" / "20260101-000000_a"
    run.mkdir(parents=True)
    (run / "config.yaml").touch()
    (run / "run.json").write_text(json.dumps({"state": "finished", "entries": ["train/old"]}))
    return made


def left(cache: dict[str, Path]) -> set[str]:
    return {name for name, path in cache.items() if path.exists()}


def test_entries_are_listed_with_size_age_and_whether_a_run_names_them(
    tapeline: Tapeline, cache: dict[str, Path]
) -> None:
    code, out, err = tapeline("cache")
    assert (code, err) == (0, "")
    head, *rows, total = [" ".join(line.split()) for line in out.splitlines()]
    assert head == "step size last used named by"
    assert rows == [
        "train 1.0 MB 1 h ago",
        "train 1.0 MB 1 d ago",
        "train 1.0 MB 208 d ago",
        "train 1.0 MB 375 d ago a run",
    ]
    assert total.startswith("4 entries, 4.0 MB; runs name 1.0 MB of it, and tapeline runs ")


def test_an_empty_cache_is_no_mistake(tapeline: Tapeline, folder: Path) -> None:
    assert tapeline("cache")[0] == tapeline("cache", "keep=1GB", "yes=true")[0] == 0
    assert list(folder.iterdir()) == []


def test_nothing_is_removed_before_yes(tapeline: Tapeline, cache: dict[str, Path], folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    code, out, _ = tapeline("cache", "keep=2.5MB")
    assert code == 0
    assert out.startswith("would go: 2 of 4 entries, 2.0 MB\n")
    assert out.splitlines()[-1] == "nothing is removed yet: add yes=true"
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("keep", "stays"),
    [
        ("1TB", {"old", "older", "recent", "new"}),
        ("4MB", {"old", "older", "recent", "new"}),
        ("3MB", {"old", "recent", "new"}),
        ("2MB", {"old", "new"}),
        ("0MB", {"old"}),
    ],
)
def test_the_oldest_go_that_no_run_names(
    tapeline: Tapeline, cache: dict[str, Path], folder: Path, keep: str, stays: set[str]
) -> None:
    code, out, err = tapeline("cache", f"keep={keep}", "yes=true")
    assert (code, err) == (0, "")
    assert left(cache) == stays
    assert f"removed: {4 - len(stays)} of 4 entries" in out
    assert "runs name 1.0 MB of it" in out
    assert not list(folder.rglob("*.partial"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["keep=20"], "keep=20: is not a size with a unit"),
        (["keep=-1GB"], "is not a size with a unit"),
        (["keep="], "is not a size with a unit"),
        (["yes=true"], "yes=true: does nothing without keep"),
        (["kep=1GB"], "did you mean keep?"),
        (["model=flat"], "cache does not read model"),
    ],
)
def test_what_cannot_be_done_is_refused(
    tapeline: Tapeline, cache: dict[str, Path], words: list[str], says: str
) -> None:
    code, _, err = tapeline("cache", *words)
    assert (code, len(err.splitlines())) == (2, 1)
    assert says in err
    assert len(left(cache)) == 4


def test_a_run_that_is_finding_entries_is_waited_for(
    tapeline: Tapeline, cache: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapeline.commands.cache.LOCK_SECONDS", 0.1)
    with files.locked(CACHE / ".lock", seconds=0, what="the cache", shared=True):
        code, _, err = tapeline("cache", "keep=0MB", "yes=true")
    assert code == 2
    assert "has held the lock of the cache" in err
    assert len(left(cache)) == 4


def test_runs_work_after_their_steps_are_removed(tapeline: Tapeline, folder: Path) -> None:
    small = ["model=flat", "model.steps=2", "model.report_every=1", "publish=false"]
    assert tapeline("run", *small)[0] == 0
    first = (folder / "runs" / "latest" / "metrics.json").read_bytes()
    assert "would go: 0 of" in tapeline("cache", "keep=0MB")[1]
    assert tapeline("runs", "remove=latest", "yes=true")[0] == 0
    assert tapeline("run", *small)[0] == 0
    assert (folder / "runs" / "latest" / "metrics.json").read_bytes() == first
    assert json.loads((folder / "runs" / "latest" / "run.json").read_text())["steps"][0]["how"] == "ran"
