"""conf/local: overrides of this machine, for run, sweep and explore alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tapeline.config import local
from tests.conftest import ROOT, Tapeline

SMALL = ["model.steps=20", "model.report_every=10"]


@pytest.fixture
def machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A conf/ with a file of this machine, outside the working folder's results."""
    shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    path = folder / "conf" / "local" / "mine.yaml"
    path.parent.mkdir()
    path.write_text("model: flat\nseed: 3\ngate: {threshold: 0.1, baseline_margin: null}\nserving.name: mine\n")
    monkeypatch.setenv("TAPELINE_CONF", str(folder / "conf"))
    monkeypatch.setenv("TAPELINE_LOCAL", "true")
    return path


def test_a_run_takes_them_and_says_so(tapeline: Tapeline, machine: Path, without_report: None) -> None:
    code, out, err = tapeline("run", *SMALL, "seed=5")
    assert (code, err) == (0, "")
    assert str(machine) in out.splitlines()[0]
    latest = Path("runs/latest")
    config = yaml.safe_load((latest / "config.yaml").read_text())
    assert (config["model"]["family"], config["seed"], config["serving"]["name"]) == ("flat", 5, "mine")
    record = json.loads((latest / "run.json").read_text())
    assert record["local"] == [str(machine)]
    assert "gate.threshold=0.1" in record["overrides"]
    code, out, _ = tapeline("run", *SMALL, "model=lightgbm", "model.steps=5")
    assert code == 0
    assert "lightgbm" in out.splitlines()[0]


def test_other_commands_do_not_read_them(tapeline: Tapeline, machine: Path) -> None:
    assert yaml.safe_load(tapeline("config")[1])["model"]["family"] == "deep"
    code, out, err = tapeline("build", "target=argo", "target.folder=out")
    assert (code, err) == (0, "")
    assert "deep" in out
    assert "group=local: conf/ has no such group" in tapeline("config", "group=local")[2]


def test_the_tests_of_the_project_do_not_read_them(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local.files() == [machine]
    monkeypatch.setenv("TAPELINE_LOCAL", "false")
    assert local.overrides() == []


@pytest.mark.parametrize(("text", "says"), [("- a\n", "has no keys"), ("a: [\n", "cannot be read")])
def test_a_file_that_is_no_configuration_is_refused(tapeline: Tapeline, machine: Path, text: str, says: str) -> None:
    machine.write_text(text)
    code, _, err = tapeline("run", *SMALL)
    assert (code, len(err.splitlines())) == (2, 1)
    assert f"{machine}: {says}" in err
    assert not Path("runs").exists()


def test_a_secret_in_an_override_is_refused_and_not_written(tapeline: Tapeline, folder: Path) -> None:
    query = "dataset.query='SELECT {ticker} -- password=hunter2'"
    code, out, err = tapeline("run", "model=flat", *SMALL, query)
    assert (code, out) == (2, "")
    assert "dataset.query: " in err
    assert "hunter2" not in err
    assert not Path("runs").exists()
