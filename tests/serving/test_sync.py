from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tapeline.errors import Refused
from tapeline.serving import saved_model
from tapeline.serving.store import location, operations, pins, state, sync, versions
from tests.conftest import ROOT, Tapeline
from tests.serving.conftest import Location
from tests.serving.publishing import fake_servable, publish, serving
from tests.serving.test_object_storage import fail_after


@pytest.fixture(autouse=True)
def _no_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake servables do not load."""
    monkeypatch.setattr(saved_model, "verify", lambda folder: None)


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    return {name: fake_servable(tmp_path / "models", name * 12) for name in "abc"}


def versions_in(mirror: Path) -> list[str]:
    """The folders <model>/<version>."""
    return sorted(str(path.relative_to(mirror)) for path in mirror.glob("*/*") if path.is_dir())


def served(mirror: Path) -> dict[str, tuple[str, int]]:
    """base_path and version number by entry, as TF Serving parses models.config."""
    text = (mirror / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    return {
        each.name: (each.base_path, each.model_version_policy.specific.versions[0])
        for each in config.model_config_list.config
    }


def test_the_mirror_serves_the_versions_of_the_store(models: dict[str, Path], store: Location, tmp_path: Path) -> None:
    mirror, source = tmp_path / "mirror", str(store)
    state.init(source, 1)
    assert sync.once(source, mirror) is True
    assert served(mirror) == {}
    publish(store, models["a"])
    assert sync.once(source, mirror) is True
    assert served(mirror) == {"m": (f"{mirror}/m", 1)}
    assert (mirror / "m/1/saved_model.pb").read_bytes() == (models["a"] / "saved_model.pb").read_bytes()
    assert not list(mirror.rglob("*.whole"))
    assert sync.once(source, mirror) is False
    operations.canary(models["b"], models["b"].parent / "metrics.json", store, serving())
    sync.once(source, mirror)
    assert served(mirror) == {"m": (f"{mirror}/m", 1), "m-canary": (f"{mirror}/m", 2)}
    operations.promote(None, store, serving())
    sync.once(source, mirror)
    assert served(mirror) == {"m": (f"{mirror}/m", 2)}
    assert versions_in(mirror) == ["m/1", "m/2"]
    sync.once(source, mirror)
    assert versions_in(mirror) == ["m/2"]
    operations.rollback(store, serving())
    sync.once(source, mirror)
    assert served(mirror) == {"m": (f"{mirror}/m", 1)}
    assert sync.once(source, mirror) is True
    assert versions_in(mirror) == ["m/1"]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_copy_that_is_interrupted_adds_no_version(
    models: dict[str, Path], s3: str, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = tmp_path / "mirror"
    publish(s3, models["a"])
    sync.once(s3, mirror)
    publish(s3, models["b"])
    before = (mirror / "models.config").read_bytes()
    with monkeypatch.context() as patch:
        fail_after(patch, s3, "cat_file", after)
        with pytest.raises(Refused, match=r"the request failed \(the network is down\)"):
            sync.once(s3, mirror)
    assert versions_in(mirror) == ["m/1"]
    assert (mirror / "models.config").read_bytes() == before
    sync.once(s3, mirror)
    assert versions_in(mirror) == ["m/1", "m/2"]


def test_an_object_that_was_changed_is_not_mirrored(models: dict[str, Path], s3: str, tmp_path: Path) -> None:
    publish(s3, models["a"])
    backend: Any = location.backend(s3)
    backend.fs.pipe_file(f"{backend.root}/m/1/saved_model.pb", b"other")
    with pytest.raises(Refused, match=r"m/1/saved_model\.pb: its content differs"):
        sync.once(s3, tmp_path / "mirror")
    assert versions_in(tmp_path / "mirror") == []


def test_other_folders_stay_and_a_store_is_no_mirror(models: dict[str, Path], s3: str, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    (mirror / "photos" / "2014").mkdir(parents=True)
    publish(s3, models["a"])
    for _ in range(3):
        sync.once(s3, mirror)
    assert versions_in(mirror) == ["m/1", "photos/2014"]
    publish(tmp_path / "store", models["b"])
    with pytest.raises(Refused, match="is a store that models are published to"):
        sync.once(s3, tmp_path / "store")
    publish(tmp_path / "other", models["c"])
    with pytest.raises(Refused, match="m/1: is another model than version 1 in"):
        sync.once(str(tmp_path / "other"), mirror)


def test_a_model_name_with_a_path_is_refused(s3: str, tmp_path: Path) -> None:
    text = pins.to_text({"m": 1}, s3).replace('"m"', '"../m"')
    location.backend(s3).put("models.config", text.encode(), "")
    with pytest.raises(Refused, match=r"models\.config: is not a model_config_list"):
        sync.once(s3, tmp_path / "mirror")


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_follow_continues_after_errors_and_ends_on_sigterm(
    models: dict[str, Path], s3_endpoint: str, tmp_path: Path
) -> None:
    import fsspec

    bucket = f"s3://later-{tmp_path.parent.name[-4:]}-{time.time_ns()}"
    log, mirror = tmp_path / "log", tmp_path / "mirror"
    arguments = ["store", "sync", f"{bucket}/x", str(mirror), "follow=true", "seconds=0.2"]
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", "tapeline", *arguments], stdout=out, stderr=out, cwd=ROOT)
    try:
        eventually(lambda: "does not exist" in log.read_text())
        fsspec.filesystem("s3").mkdir(bucket)
        eventually(lambda: "has no models.config" in log.read_text())
        for name, number in (("a", 1), ("b", 2)):
            publish(f"{bucket}/x", models[name])
            eventually(lambda number=number: (mirror / "models.config").exists() and served(mirror)["m"][1] == number)  # type: ignore[misc]
        operations.rollback(f"{bucket}/x", serving())
        eventually(lambda: served(mirror)["m"][1] == 1)
        eventually(lambda: versions_in(mirror) == ["m/1"])
    finally:
        process.terminate()
    assert process.wait(30) == 0
    lines = log.read_text().splitlines()
    assert lines[-1] == "stopped"
    assert not [line for line in lines if "Traceback" in line]
    assert all(line.startswith("not synchronized: s3://") for line in lines[1:] if "does not exist" in line)


@pytest.mark.parametrize("named", [True, False])
def test_init_creates_a_store_and_changes_no_existing_one(tapeline: Tapeline, folder: Path, named: bool) -> None:
    arguments = ["store", "init", *(["a/store"] if named else ["serving.store=a/store"])]
    assert tapeline(*arguments) == (0, "a/store: created; it has no versions yet\n", "")
    path = folder / "a" / "store" / "models.config"
    assert path.read_text().endswith("model_config_list {\n}\n")
    assert served(path.parent) == {}
    before = path.stat()
    assert tapeline(*arguments) == (0, "a/store: is a store already; nothing was written\n", "")
    assert path.stat() == before
    path.write_text("model_config_list {")
    code, _, err = tapeline(*arguments)
    assert (code, err.count("is not a model_config_list")) == (2, 1)
    assert path.read_text() == "model_config_list {"


def test_init_keeps_what_is_served(models: dict[str, Path], store: Location) -> None:
    assert state.init(str(store), 1) is True
    publish(store, models["a"])
    before = location.backend(store).read("models.config")
    assert state.init(str(store), 1) is False
    assert location.backend(store).read("models.config") == before
    assert versions.read(store, "m").live() is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["store"], "store: is not an action; write store init [STORE], store base_path=PATH"),
        (["store", "sync", "a"], "store sync a: is not an action"),
        (["store", "init", "a", "seed=1"], "seed=1: store does not read seed"),
        (["store", "sync", "a", "b", "seconds=0"], "seconds=0: is not a number of seconds"),
        (["store", "sync", "a", "b", "seconds=nan"], "seconds=nan: is not a number of seconds"),
        (
            ["store", "sync", "a", "b", "follow=yes"],
            "follow=yes: is not a value of this option; choose one of: true, false",
        ),
        (["store", "sync", "a", "b", "tail=1"], "tail=1: is not an option of store sync"),
        (["store", "wait"], "store wait: is not an action"),
        (["store", "wait", "a", "follow=true"], "follow: is not an option of store wait"),
        (["store", "sync", "a", "b"], "a: has no models.config; publish a model, or: tapeline store init a"),
    ],
)
def test_wrong_arguments_are_refused(tapeline: Tapeline, arguments: list[str], message: str) -> None:
    code, _, err = tapeline(*arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"tapeline: {message}")


def test_neither_init_nor_sync_imports_tensorflow(s3: str, tmp_path: Path) -> None:
    program = """
import sys
from tapeline.cli import main as cli
assert cli.main(["store", "init", sys.argv[1]]) == cli.main(["store", "sync", *sys.argv[1:]]) == 0
heavy = {"tensorflow", "tensorboard", "polars", "lightgbm", "sklearn"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program, s3, str(tmp_path / "mirror")], check=True, cwd=ROOT)


def test_protobuf_parses_our_text_and_we_parse_its_text() -> None:
    base = '/a "b"\\c/Zürich'
    expected = {"m": 3, "m-canary": 12, "n.o-p_q": 1}
    parsed = text_format.Parse(
        pins.to_text(expected, base, ["a } comment {"]), model_server_config_pb2.ModelServerConfig()
    )
    assert [each.base_path for each in parsed.model_config_list.config] == [
        f"{base}/{m}" for m in ("m", "m", "n.o-p_q")
    ]
    parsed.model_config_list.config[0].version_labels["x } y"] = 3
    parsed.model_config_list.config[0].logging_config.log_collector_config.type = "#"
    assert pins.parse(text_format.MessageToString(parsed)) == expected
    assert pins.parse(text_format.MessageToString(parsed, as_one_line=True)) == expected
    assert pins.parse(text_format.MessageToString(parsed, pointy_brackets=True)) == expected
    assert pins.parse(text_format.MessageToString(parsed, use_short_repeated_primitives=True)) == expected
    del parsed.model_config_list.config[0].version_labels["x } y"]
    parsed.model_config_list.config[0].ClearField("logging_config")
    assert pins.to_text(expected, base) == text_format.MessageToString(parsed)


@pytest.mark.parametrize(
    "text",
    [
        "model_config_list: {", "model_config_list {}}", "x: 1", "\0", "model_config_list { config { name: 'm' } }",
        "model_config_list { config }", "model_config_list { config { name: } }", "model_config_list: 3", '"',
        "model_config_list { config { name: 'm' model_version_policy { specific { versions: [1, 2] } } } }",
        "model_config_list { config { name: 'm' model_version_policy { all {} } } }", "[", "{", "a: [1",
    ],
)  # fmt: skip
def test_a_text_that_is_no_model_config_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        pins.parse(text)


@contextmanager
def waiting_for(store: Path) -> Iterator[subprocess.Popen[str]]:
    """`tapeline store wait`, when it has said that it waits."""
    command = [sys.executable, "-m", "tapeline", "store", "wait", str(store)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert "waiting for the first model" in process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_wait_ends_when_the_store_serves_a_model(models: dict[str, Path], tmp_path: Path) -> None:
    """An empty store, or none at all, is waited for; SIGTERM ends it, too."""
    store = tmp_path / "store"
    with waiting_for(store) as process:
        state.init(str(store), 1)
        assert process.poll() is None
        publish(store, models["a"])
        assert process.wait(60) == 0
        assert process.stdout
        assert "serves m version 1" in process.stdout.read()


def test_a_signal_ends_the_wait(tmp_path: Path) -> None:
    with waiting_for(tmp_path / "store") as process:
        process.terminate()
        assert process.wait(60) == 0
