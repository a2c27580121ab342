"""publish, canary, promote, rollback, versions and store as people type them."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tapeline import files
from tapeline.cli import commands
from tapeline.cli import main as cli
from tapeline.commands import check as check_command
from tapeline.serving import saved_model
from tapeline.serving.store import location, state
from tests.conftest import ROOT, Tapeline
from tests.serving.publishing import fake_servable

NAME = "20260101-120000_snp_deep"


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run whose model was accepted, with the files that commands read."""
    monkeypatch.setattr(saved_model, "verify", lambda folder: None)
    made = folder / "runs" / NAME
    made.mkdir(parents=True)
    metrics = files.read_json(ROOT / "tests" / "golden" / "schema1" / "snp_deep.json")
    metrics["config"]["serving"] = {"name": "m"}
    metrics["gate"]["accepted"] = True
    files.write_json(made / "metrics.json", metrics)
    shutil.move(fake_servable(folder / "made", "a" * 12), made / "servable")
    digests = {name: files.digest_path(made / file) for name, file in FILES.items()}
    files.write_json(made / "run.json", {"state": "finished", "digests": digests, "entries": []})
    (made / "config.yaml").write_text("{}")
    files.point(folder / "runs" / "latest", NAME)
    return made


FILES = {"metrics": "metrics.json", "servable": "servable"}


def pins(folder: Path) -> dict[str, int]:
    return dict(state.load(location.backend(folder / "store")).pins)


def test_a_run_is_published_under_its_own_name(tapeline: Tapeline, run: Path, folder: Path) -> None:
    code, out, err = tapeline("publish")
    assert (code, out, err) == (0, "served now: m version 1 (aaaaaaaaaaaa)\n", "")
    assert tapeline("publish", "serving.name=m")[0] == 0
    assert pins(folder) == {"m": 1}


@pytest.mark.parametrize("command", ["publish", "canary"])
@pytest.mark.parametrize("override", ["serving.name=other", "dataset.source=csv", "experiment=snp_deep"])
def test_another_name_than_the_runs_is_refused(
    tapeline: Tapeline, run: Path, folder: Path, command: str, override: str
) -> None:
    tapeline("publish")
    before = (folder / "store" / "models.config").read_bytes()
    code, out, err = tapeline(command, override)
    assert (code, out) == (2, "")
    assert f"{override}: means the model " in err
    assert "served as m" in err
    assert (folder / "store" / "models.config").read_bytes() == before


@pytest.mark.parametrize(
    ("command", "override", "key"),
    [
        ("publish", "model=flat", "model"),
        ("publish", "serving.grpc_port=1", "serving.grpc_port"),
        ("publish", "dataset.seed=1", "dataset.seed"),
        ("canary", "serving.keep=1", "serving.keep"),
        ("promote", "serving.keep=1", "serving.keep"),
        ("rollback", "target.runs=x", "target.runs"),
        ("versions", "serving.lock_seconds=1", "serving.lock_seconds"),
        ("serve", "serving.name=x", "serving.name"),
        ("serve", "dataset=indices", "dataset"),
        ("cache", "target.namespace=x", "target.namespace"),
        ("store", "seed=1", "seed"),
    ],
)
def test_keys_that_a_command_does_not_read_are_refused(
    tapeline: Tapeline, command: str, override: str, key: str
) -> None:
    code, out, err = tapeline(command, override)
    assert (code, out) == (2, "")
    assert f"{override}: {command} does not read {key}; remove it; it reads " in err


def test_every_key_that_a_command_says_it_reads_exists() -> None:
    from tapeline.config.compose import flat, is_group, plain
    from tapeline.lookup import configure

    keys = [*flat(plain(configure([]))), *flat(plain(configure(["target=argo"])))]
    for name in commands.names():
        for read in getattr(commands.load(name), "READS", None) or ():
            assert is_group(read) or any(f"{key}.".startswith(f"{read}.") for key in keys), f"{name} reads {read}"


@pytest.mark.parametrize("name", ["m-canary", "M-CANARY", "latest", "log.jsonl"])
def test_reserved_names_are_refused_at_composition(tapeline: Tapeline, name: str) -> None:
    code, _, err = tapeline("config", f"serving.name={name}")
    assert code == 2
    assert f"serving.name='{name}': is reserved" in err


def test_a_rejected_run_is_not_published_after_an_edit(tapeline: Tapeline, run: Path, folder: Path) -> None:
    path = run / "metrics.json"
    path.write_text(path.read_text().replace('"accepted": true', '"accepted": true '))
    code, _, err = tapeline("publish")
    assert code == 2
    assert "metrics.json: was changed after the run: run.json has another digest of it" in err
    assert not (folder / "store" / "models.config").exists()


def test_another_servable_than_the_one_that_was_judged_is_refused(tapeline: Tapeline, run: Path) -> None:
    (run / "servable" / "saved_model.pb").write_bytes(b"other")
    assert "servable: was changed after the run" in tapeline("canary")[2]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_run_is_one_sentence(tapeline: Tapeline, run: Path, content: bytes) -> None:
    for name in ("metrics.json", "run.json"):
        kept = (run / name).read_bytes()
        (run / name).write_bytes(content)
        code, _, err = tapeline("publish")
        assert (code, err.count("\n")) == (2, 1)
        (run / name).write_bytes(kept)
    shutil.rmtree(run / "servable")
    assert tapeline("publish")[0] == 2


def test_runs_that_are_removed_are_called_what_they_were(tapeline: Tapeline, run: Path) -> None:
    code, out, _ = tapeline("runs", f"remove={NAME}", "yes=true")
    assert code == 0
    assert f"{NAME}  accepted" in out
    assert "removed: 1 of 1 runs" in out
    assert not run.exists()


def test_a_lost_live_version_is_listed_and_left(tapeline: Tapeline, run: Path, folder: Path) -> None:
    tapeline("publish")
    shutil.rmtree(folder / "store" / "m" / "1")
    code, out, _ = tapeline("versions", "serving.name=m")
    assert code == 0
    assert "live, missing" in out
    assert tapeline("rollback", "serving.name=m")[0] == 2
    assert tapeline("publish")[1] == "served now: m version 2 (aaaaaaaaaaaa)\n"


def test_base_path_is_changed_by_store_only(tapeline: Tapeline, run: Path, folder: Path) -> None:
    assert "has no models.config" in tapeline("store", "base_path=/models")[2]
    tapeline("publish")
    assert tapeline("store", "base_path=/models/")[1] == f"./store: base_path is /models, before {folder}/store\n"
    assert tapeline("store", "base_path=/models")[1] == "./store: base_path is /models already\n"
    assert tapeline("store", "base_path=models")[0] == 2
    assert 'base_path: "/models/m"' in (folder / "store" / "models.config").read_text()


def test_a_file_system_without_locks_is_one_sentence(
    tapeline: Tapeline, run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (folder / ".tapeline" / "cache").mkdir(parents=True)
    for line in (["publish"], ["cache", "keep=1GB", "yes=true"], ["runs", f"remove={NAME}", "yes=true"]):
        code, _, err = tapeline(*line)
        assert (code, err.count("\n")) == (2, 1), line
        assert "the file system has no file locks; choose folders on a local disk" in err


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), "memory: the memory of this machine is used up"),
        (OSError(errno.EIO, "Input/output error", "/x/y"), "/x/y: the disk reports an error"),
        (OSError(errno.EXDEV, "Invalid cross-device link", "/x/y"), "/x/y: reports an error (Invalid cross-"),
        (ModuleNotFoundError("no", name="hera.workflows"), "pip install 'tapeline[argo]'"),
        (ModuleNotFoundError("no", name="s3fs"), "pip install 'tapeline[s3]'"),
        (ModuleNotFoundError("no", name="unknown"), "pip install unknown"),
    ],
)  # fmt: skip
def test_what_the_machine_lacks_is_one_sentence(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def broken(overrides: list[str], options: dict[str, str]) -> None:
        raise error

    monkeypatch.setattr(check_command, "run", broken)
    assert cli.main(["check"]) == 2
    err = capfd.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


def test_our_own_bugs_stay_tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(overrides: list[str], options: dict[str, str]) -> None:
        raise ModuleNotFoundError("no", name="tapeline.nothing")

    monkeypatch.setattr(check_command, "run", broken)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["check"])


def test_build_without_its_emitter_names_the_extra(tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "hera"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hera", None)
    for name in [each for each in sys.modules if each.startswith("tapeline.clusters.argo")]:
        monkeypatch.delitem(sys.modules, name)
    code, _, err = tapeline("build", "target=argo", "experiment=snp_flat")
    assert code == 2
    assert "hera" in err
    assert "pip install 'tapeline[argo]'" in err


def test_published_json_in_the_store_is_the_runs(tapeline: Tapeline, run: Path, folder: Path) -> None:
    tapeline("publish", "why=first")
    (line,) = (folder / "store" / "log.jsonl").read_text().splitlines()
    assert (json.loads(line)["number"], json.loads(line)["why"]) == (1, "first")
