from __future__ import annotations

import importlib
import json
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tapeline.errors import Refused
from tapeline.serving import saved_model as servable
from tapeline.serving.store import location as places
from tapeline.serving.store import operations as verbs
from tapeline.serving.store import state, sync
from tapeline.serving.store import versions as store
from tapeline.serving.store.backend import Conflict
from tapeline.serving.store.object_storage import Objects
from tests.conftest import ROOT, Tapeline
from tests.serving.publisher import publish, serving, stand_in


@pytest.fixture(autouse=True)
def _unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins do not load."""
    monkeypatch.setattr(servable, "verify", lambda folder: None)


@pytest.fixture(params=["s3", "gs", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind of object storage."""
    return f"memory://{tmp_path}" if request.param == "memory" else str(request.getfixturevalue(request.param))


def objects(url: str) -> Objects:
    place = places.at(url)
    assert isinstance(place, Objects)
    return place


def made(folder: Path, *versions: str) -> list[Path]:
    return [stand_in(folder, version * 12) for version in versions]


def together(*functions: Callable[[], object]) -> None:
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def chained(url: str, name: str) -> int:
    """How many changes the log has, each of which saw the one before."""
    history = store.read(url, name).history()
    assert [each["before"] for each in history] == [None, *(each["number"] for each in history[:-1])]
    return len(history)


def test_puts_are_conditional(url: str) -> None:
    place = places.at(url)
    first = place.replace("x", b"one", "")
    with pytest.raises(Conflict, match="others keep changing it"):
        place.replace("x", b"two", "")
    second = place.replace("x", b"three", first)
    with pytest.raises(Conflict):
        place.replace("x", b"four", first)
    with pytest.raises(Conflict):
        place.replace("y", b"four", second)
    assert place.read("x") == (b"three", second)
    with pytest.raises(FileNotFoundError):
        place.read("y")


def test_a_put_whose_answer_was_lost_is_known_again(url: str) -> None:
    place = objects(url)
    tag = place.replace("x", b"one", "")
    assert place.replace("x", b"one", "") == tag


def test_lines_of_many_are_all_in_the_log(url: str) -> None:
    place = places.at(url)
    together(*(lambda line=line: place.append("log", line) for line in (b"a", b"b", b"c", b"c", b"d")))
    assert sorted(place.read("log")[0].split()) == [b"a", b"b", b"c", b"d"]


def test_of_publishers_at_once_none_takes_anothers_number_or_undoes_its_change(url: str, tmp_path: Path) -> None:
    models = made(tmp_path, *"abcd")
    jobs = [(each, name) for each in models for name in ("m", "n")]
    together(*(lambda job=job: publish(url, *job) for job in jobs))
    for name in ("m", "n"):
        known = store.read(url, name).versions()
        assert [each.number for each in known] == [1, 2, 3, 4]
        assert sorted(each.model_version for each in known) == [each.name for each in models]
        assert chained(url, name) == 4
        assert store.read(url, name).live() is not None


def start(url: str, *rest: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.serving.publisher", url, *rest]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_of_processes_at_once_neither(s3: str) -> None:
    running = [start(s3, "mn"[each % 2], *(f"{each}{letter}" * 6 for letter in "ab")) for each in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    for name in ("m", "n"):
        assert [each.number for each in store.read(s3, name).versions()] == [1, 2, 3, 4]
        assert chained(s3, name) == 4


def test_a_killed_publisher_leaves_nothing_that_looks_whole(s3: str, tmp_path: Path) -> None:
    place, moments = places.at(s3), random.Random(7)
    for attempt in range(5):
        process = start(s3, "m", *(f"{attempt}{letter}" * 6 for letter in "abcdefghijklmnop"))
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.0, 0.6))
        process.kill()
        process.wait()
        for number in place.numbers("m"):
            place.fetch("m", number, tmp_path / f"{attempt}" / f"{number}")
        if state.load(place).tag:
            sync.once(s3, tmp_path / "mirror")
        whole(tmp_path / "mirror")
    last = publish(s3, made(tmp_path, "z")[0])
    assert store.read(s3, "m").live() == last
    told = store.read(s3, "m").history()
    assert told[-1]["number"] == last.number
    assert [each["before"] for each in told] == [None, *(each["number"] for each in told[:-1])]


def whole(mirror: Path) -> None:
    """What the mirror's models.config names is there and complete, and so is all that has a number."""
    for folder in mirror.glob("m/[0-9]*"):
        version = json.loads((folder / servable.METADATA).read_text())["model_version"]
        assert (folder / "saved_model.pb").read_bytes() == version.encode() * (len(version) and 100_000)
        assert (folder / "variables" / "variables.index").is_file()
        assert (folder / store.METRICS).is_file()
    for entry, number in state.load(places.at(mirror)).pins.items():
        assert (mirror / entry.removesuffix("-canary") / str(number)).is_dir()


def break_off(monkeypatch: pytest.MonkeyPatch, url: str, name: str, after: int) -> None:
    """Let the driver's function fail at its next call but `after`."""
    place = objects(url)
    real, calls = getattr(place.fs, name), iter(range(1000))

    def broken(*arguments: Any, **keys: Any) -> Any:
        if next(calls) >= after:
            raise ConnectionError("the network is down")
        return real(*arguments, **keys)

    monkeypatch.setattr(place.fs, name, broken)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_version_without_its_last_file_does_not_count(
    s3: str, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = made(tmp_path, "a", "b")
    publish(s3, a)
    with monkeypatch.context() as patch:
        break_off(patch, s3, "pipe_file", after)
        with pytest.raises(Refused, match=r"cannot be used \(the network is down\)"):
            publish(s3, b)
    assert places.at(s3).numbers("m") == [1]
    with pytest.raises(Refused, match=r"m has no such version in .* \(it has 1\)"):
        verbs.promote(2, s3, serving())
    with pytest.raises(Refused, match=r"is named by models\.config and not whole"):
        places.at(s3).fetch("m", 2, tmp_path / "two")
    assert publish(s3, b).number == 3


def test_a_publisher_is_either_given_up_or_completes(s3: str, tmp_path: Path) -> None:
    place = objects(s3)
    claim = json.dumps({"time": (datetime.now(UTC) - timedelta(days=2)).isoformat(), "id": "x"}).encode()
    place.replace("m/4.claim", claim, "")
    place.fs.pipe_file(f"{place.root}/m/4/saved_model.pb", b"half")
    assert publish(s3, made(tmp_path, "a")[0]).number == 5
    assert place.numbers("m") == [5]
    assert not place.fs.exists(f"{place.root}/m/4/saved_model.pb")
    with pytest.raises(Conflict):
        place.replace("m/4.whole", b"{}", "")


def test_a_copy_that_came_out_otherwise_is_not_published(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = objects(s3)
    real = place.fs.pipe_file
    monkeypatch.setattr(place.fs, "pipe_file", lambda path, content: real(path, content[:-1]))
    with pytest.raises(Refused, match="has other content than was published"):
        publish(s3, made(tmp_path, "a")[0])
    assert place.numbers("m") == []


def test_forgetting_and_pinning_at_once_leave_no_entry_without_its_version(url: str, tmp_path: Path) -> None:
    for each in made(tmp_path, *"abc"):
        publish(url, each)
    with store.held(url, "m", 1) as forgetter:
        verbs.promote(1, url, serving())
        assert forgetter.forget(1) == []
    assert places.at(url).numbers("m") == [1, 2, 3]
    with store.held(url, "m", 1) as promoter, store.held(url, "m", 1) as forgetter:
        two = promoter.version(2)
        assert forgetter.forget(1) == [2]
        with pytest.raises(Conflict):
            promoter.pin(store.Change("promote"), live=two)
    assert places.at(url).numbers("m") == [1, 3]
    verbs.promote(3, url, serving())
    with pytest.raises(Refused, match=r"has no such version in .*it has 1, 3"):
        verbs.promote(2, url, serving())


def test_a_change_that_was_not_logged_is_logged_by_the_next(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = made(tmp_path, "a", "b")
    publish(url, a)
    publish(url, b)

    def killed(self: store.Store, line: str) -> None:
        if "rollback" in line:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "_log", killed)
        with pytest.raises(KeyboardInterrupt):
            verbs.rollback(url, serving())
    with pytest.raises(store.RolledBack, match=r"m version 2 .* was rolled back"):
        publish(url, b)
    verbs.promote(2, url, serving())
    lines = places.at(url).read(store.LOG)[0].splitlines()
    assert [json.loads(line)["verb"] for line in lines] == ["publish", "publish", "rollback", "promote"]


def test_a_model_that_was_put_in_twice_stays_out_with_its_double(url: str, tmp_path: Path) -> None:
    a, b = made(tmp_path, "a", "b")
    publish(url, a)

    def build(folder: Path) -> None:
        shutil.copytree(b, folder)

    assert [places.at(url).add("m", build) for _ in range(2)] == [2, 3]
    verbs.promote(3, url, serving())
    verbs.rollback(url, serving())
    with pytest.raises(store.RolledBack):
        publish(url, b)


def test_a_version_is_opened_as_a_folder(url: str, tmp_path: Path) -> None:
    model = made(tmp_path, "a")[0]
    version = publish(url, model)
    with store.read(url, "m").opened(version) as folder:
        assert (folder / "saved_model.pb").read_bytes() == (model / "saved_model.pb").read_bytes()
        assert servable.read_metadata(folder)["model_version"] == "a" * 12
    assert not folder.exists()


NO_NETWORK = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("place", "environment", "said"),
    [
        ("s3://no-such-bucket/x", {}, "there is no bucket no-such-bucket; make it"),
        ("s3://bucket/x", {"AWS_ACCESS_KEY_ID": ""}, "no credentials are in the environment; set AWS_ACCESS_KEY_ID"),
        ("s3://bucket/x", NO_NETWORK, "cannot be used (Could not connect to the endpoint URL"),
        ("s3://key:password@bucket/x", {}, "s3://key:***@bucket/x: holds a password"),
        ("abfs://bucket/x", {}, "is no store; write a folder, s3://bucket/prefix or gs://bucket/prefix"),
        ("s3://", {}, "is no store; write a folder"),
    ],
)
def test_what_stands_in_the_way_is_one_sentence(
    s3_address: str, tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch, place: str, environment: dict[str, str],
    said: str,
) -> None:  # fmt: skip
    import s3fs

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
        if not value:
            monkeypatch.delenv(name)
            monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
            monkeypatch.setenv("AWS_CONFIG_FILE", "none")
    s3fs.S3FileSystem.clear_instance_cache()
    code, _, err = tapeline("store", "init", place)
    s3fs.S3FileSystem.clear_instance_cache()
    assert (code, err.count("\n")) == (2, 1)
    assert said in err


def test_a_missing_driver_is_named(tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    importlib.import_module("fsspec")
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    code, _, err = tapeline("versions", "serving.store=s3://bucket/x")
    assert (code, err) == (
        2, "tapeline: s3://bucket/x: the driver of this store is not installed; pip install 'tapeline[s3]'\n"
    )  # fmt: skip
