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
from tapeline.serving import saved_model
from tapeline.serving.store import location, log, operations, state, sync, versions
from tapeline.serving.store.backend import Conflict
from tapeline.serving.store.object_storage import ObjectStorageBackend
from tests.conftest import ROOT, Tapeline
from tests.serving.publishing import fake_servable, publish, serving


@pytest.fixture(autouse=True)
def _no_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake servables do not load."""
    monkeypatch.setattr(saved_model, "verify", lambda folder: None)


@pytest.fixture(params=["s3", pytest.param("gs", marks=pytest.mark.long), "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store in each object storage."""
    return f"memory://{tmp_path}" if request.param == "memory" else str(request.getfixturevalue(request.param))


def object_storage(url: str) -> ObjectStorageBackend:
    backend = location.backend(url)
    assert isinstance(backend, ObjectStorageBackend)
    return backend


def servables(folder: Path, *letters: str) -> list[Path]:
    return [fake_servable(folder, letter * 12) for letter in letters]


def run_in_threads(*functions: Callable[[], object]) -> None:
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def count_changes(url: str, name: str) -> int:
    """The number of changes in the log; each must name the version before it."""
    history = list(reversed(list(versions.read(url, name).history())))
    assert [each["before"] for each in history] == [None, *(each["number"] for each in history[:-1])]
    return len(history)


def test_put_is_conditional_on_the_etag(url: str) -> None:
    backend = location.backend(url)
    first = backend.put("x", b"one", "")
    with pytest.raises(Conflict, match="other processes keep changing this object"):
        backend.put("x", b"two", "")
    second = backend.put("x", b"three", first)
    with pytest.raises(Conflict):
        backend.put("x", b"four", first)
    with pytest.raises(Conflict):
        backend.put("y", b"four", second)
    assert backend.read("x") == (b"three", second)
    with pytest.raises(FileNotFoundError):
        backend.read("y")


def test_a_put_that_is_sent_again_returns_the_same_etag(url: str) -> None:
    backend = object_storage(url)
    etag = backend.put("x", b"one", "")
    assert backend.put("x", b"one", "") == etag


def test_append_keeps_the_lines_of_concurrent_writers(url: str) -> None:
    backend = location.backend(url)
    run_in_threads(*(lambda line=line: backend.append("log", line) for line in (b"a", b"b", b"c", b"c", b"d")))
    assert sorted(backend.read("log")[0].split()) == [b"a", b"b", b"c", b"d"]


def test_concurrent_publishers_get_different_numbers_and_keep_each_others_changes(url: str, tmp_path: Path) -> None:
    models = servables(tmp_path, *"abcd")
    jobs = [(each, name) for each in models for name in ("m", "n")]
    run_in_threads(*(lambda job=job: publish(url, *job) for job in jobs))
    for name in ("m", "n"):
        known = versions.read(url, name).versions()
        assert [each.number for each in known] == [1, 2, 3, 4]
        assert sorted(each.model_version for each in known) == [each.name for each in models]
        assert count_changes(url, name) == 4
        assert versions.read(url, name).live() is not None


def start_publisher(url: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.serving.publishing", url, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.long
def test_concurrent_processes_get_different_numbers(s3: str) -> None:
    running = [start_publisher(s3, "mn"[each % 2], *(f"{each}{letter}" * 6 for letter in "ab")) for each in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    for name in ("m", "n"):
        assert [each.number for each in versions.read(s3, name).versions()] == [1, 2, 3, 4]
        assert count_changes(s3, name) == 4


@pytest.mark.long
def test_a_killed_publisher_leaves_no_incomplete_version(s3: str, tmp_path: Path) -> None:
    backend, moments = location.backend(s3), random.Random(7)
    for attempt in range(5):
        process = start_publisher(s3, "m", *(f"{attempt}{letter}" * 6 for letter in "abcdefghijklmnop"))
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.0, 0.6))
        process.kill()
        process.wait()
        for number in backend.versions("m"):
            backend.download("m", number, tmp_path / f"{attempt}" / f"{number}")
        if state.load(backend).etag:
            sync.once(s3, tmp_path / "mirror")
        check_mirror(tmp_path / "mirror")
    last = publish(s3, servables(tmp_path, "z")[0])
    assert versions.read(s3, "m").live() == last
    assert next(versions.read(s3, "m").history())["number"] == last.number
    count_changes(s3, "m")


def check_mirror(mirror: Path) -> None:
    """All versions in the mirror are complete, and it has those that its models.config names."""
    for folder in mirror.glob("m/[0-9]*"):
        version = json.loads((folder / saved_model.METADATA).read_text())["model_version"]
        assert (folder / "saved_model.pb").read_bytes() == version.encode() * (len(version) and 100_000)
        assert (folder / "variables" / "variables.index").is_file()
        assert (folder / versions.METRICS).is_file()
    for entry, number in state.load(location.backend(mirror)).pins.items():
        assert (mirror / entry.removesuffix("-canary") / str(number)).is_dir()


def fail_after(monkeypatch: pytest.MonkeyPatch, url: str, name: str, calls: int) -> None:
    """Make the driver's function `name` raise ConnectionError after so many calls."""
    backend = object_storage(url)
    real, counter = getattr(backend.fs, name), iter(range(1000))

    def failing(*arguments: Any, **keys: Any) -> Any:
        if next(counter) >= calls:
            raise ConnectionError("the network is down")
        return real(*arguments, **keys)

    monkeypatch.setattr(backend.fs, name, failing)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_version_that_is_not_complete_is_not_listed(
    s3: str, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = servables(tmp_path, "a", "b")
    publish(s3, a)
    with monkeypatch.context() as patch:
        fail_after(patch, s3, "pipe_file", after)
        with pytest.raises(Refused, match=r"the request failed \(the network is down\)"):
            publish(s3, b)
    assert location.backend(s3).versions("m") == [1]
    with pytest.raises(Refused, match=r"m has no such version in .* \(it has 1\)"):
        operations.promote(2, s3, serving())
    with pytest.raises(Refused, match=r"names this version, but it is not complete"):
        location.backend(s3).download("m", 2, tmp_path / "two")
    assert publish(s3, b).number == 3


def test_the_files_of_an_abandoned_publisher_are_deleted(s3: str, tmp_path: Path) -> None:
    backend = object_storage(s3)
    claim = json.dumps({"time": (datetime.now(UTC) - timedelta(days=2)).isoformat(), "id": "x"}).encode()
    backend.put("m/4.claim", claim, "")
    backend.fs.pipe_file(f"{backend.root}/m/4/saved_model.pb", b"half")
    assert publish(s3, servables(tmp_path, "a")[0]).number == 5
    assert backend.versions("m") == [5]
    assert not backend.fs.exists(f"{backend.root}/m/4/saved_model.pb")
    with pytest.raises(Conflict):
        backend.put("m/4.whole", b"{}", "")


def test_an_upload_with_other_content_is_not_published(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = object_storage(s3)
    real = backend.fs.pipe_file
    monkeypatch.setattr(backend.fs, "pipe_file", lambda path, content: real(path, content[:-1]))
    with pytest.raises(Refused, match="its content differs from what was published"):
        publish(s3, servables(tmp_path, "a")[0])
    assert backend.versions("m") == []


def test_removing_and_pinning_at_the_same_time_keep_the_pinned_versions(url: str, tmp_path: Path) -> None:
    for each in servables(tmp_path, *"abc"):
        publish(url, each)
    with versions.transaction(url, "m", 1) as remover:
        operations.promote(1, url, serving())
        assert remover.remove_old(1) == []
    assert location.backend(url).versions("m") == [1, 2, 3]
    with versions.transaction(url, "m", 1) as promoter, versions.transaction(url, "m", 1) as remover:
        two = promoter.version(2)
        assert remover.remove_old(1) == [2]
        with pytest.raises(Conflict):
            promoter.pin(versions.Change("promote"), live=two)
    assert location.backend(url).versions("m") == [1, 3]
    operations.promote(3, url, serving())
    with pytest.raises(Refused, match=r"has no such version in .*it has 1, 3"):
        operations.promote(2, url, serving())


def test_the_next_change_completes_the_log_of_a_killed_process(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = servables(tmp_path, "a", "b")
    publish(url, a)
    publish(url, b)

    def killed(self: versions.Store, line: str) -> None:
        if "rollback" in line:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(versions.Store, "_log", killed)
        with pytest.raises(KeyboardInterrupt):
            operations.rollback(url, serving())
    with pytest.raises(versions.RolledBack, match=r"m version 2 .* was rolled back"):
        publish(url, b)
    operations.promote(2, url, serving())
    lines = location.backend(url).read(log.LOG)[0].splitlines()
    assert [json.loads(line)["verb"] for line in lines] == ["publish", "publish", "rollback", "promote"]


def test_a_rollback_covers_both_numbers_of_a_model_that_was_added_twice(url: str, tmp_path: Path) -> None:
    a, b = servables(tmp_path, "a", "b")
    publish(url, a)

    def build(folder: Path) -> None:
        shutil.copytree(b, folder)

    assert [location.backend(url).add("m", build) for _ in range(2)] == [2, 3]
    operations.promote(3, url, serving())
    operations.rollback(url, serving())
    with pytest.raises(versions.RolledBack):
        publish(url, b)


def test_open_version_gives_a_temporary_folder(url: str, tmp_path: Path) -> None:
    model = servables(tmp_path, "a")[0]
    version = publish(url, model)
    with versions.read(url, "m").open_version(version) as folder:
        assert (folder / "saved_model.pb").read_bytes() == (model / "saved_model.pb").read_bytes()
        assert saved_model.read_metadata(folder)["model_version"] == "a" * 12
    assert not folder.exists()


NO_NETWORK = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("url", "environment", "message"),
    [
        ("s3://no-such-bucket/x", {}, "the bucket no-such-bucket does not exist; create it"),
        ("s3://bucket/x", {"AWS_ACCESS_KEY_ID": ""}, "the environment has no credentials; set AWS_ACCESS_KEY_ID"),
        ("s3://bucket/x", NO_NETWORK, "the request failed (Could not connect to the endpoint URL"),
        ("s3://key:password@bucket/x", {}, "s3://***:***@bucket/x: contains a password"),
        (
            "abfs://bucket/x",
            {},
            "is not the location of a store; write a folder, s3://bucket/prefix or gs://bucket/prefix",
        ),
        ("s3://", {}, "is not the location of a store; write a folder"),
    ],
)
def test_an_object_storage_that_cannot_be_used_is_one_sentence(
    s3_endpoint: str, tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch, url: str, environment: dict[str, str],
    message: str,
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
    code, _, err = tapeline("store", "init", url)
    s3fs.S3FileSystem.clear_instance_cache()
    assert (code, err.count("\n")) == (2, 1)
    assert message in err


def test_a_missing_driver_is_refused_with_the_extra_to_install(
    tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    importlib.import_module("fsspec")
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    code, _, err = tapeline("versions", "serving.store=s3://bucket/x")
    assert (code, err.count("\n")) == (2, 1)
    assert "is not installed; pip install 'tapeline[s3]'" in err
