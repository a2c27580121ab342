"""What the tests share: real data where it lies beside the checkout, a clean folder, and the command."""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.plugins.config_source import ConfigResult
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator
from markupsafe import Markup

from tapeline import files
from tapeline.cli import main as cli
from tapeline.commands.runs import compare_page
from tapeline.config import compose as conf
from tapeline.evaluation.metrics_file import JSON_SCHEMA
from tapeline.pipeline.graph import STEPS, artifacts
from tapeline.report import charts
from tapeline.steps import report

ROOT = Path(__file__).parents[1]
SCHEMA = Draft202012Validator(json.loads(JSON_SCHEMA.read_text()))
"""Of metrics.json."""
DATA = Path(os.environ.get("TAPELINE_DATA") or ROOT.parent / "shared" / "data")

for _name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
    os.environ.pop(_name, None)
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TAPELINE_LOCAL"] = "false"
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # the machine may be
gc.set_threshold(50_000, 20, 100)  # graphs of TensorFlow stay in memory, and each full collection walks all of them


@pytest.fixture(scope="session")
def closing_data() -> Path:
    """The original table of the S&P system."""
    path = DATA / "indices" / "closing_data.csv"
    if not path.is_file():
        pytest.skip(f"the real data is not here ({path}); set TAPELINE_DATA")
    return path


@pytest.fixture(scope="session")
def crypto_markets() -> Path:
    """Real daily candles of 44 coins, in the layout of the bitcoin system."""
    path = DATA / "crypto_daily" / "crypto-markets.csv.gz"
    if not path.is_file():
        pytest.skip(f"the real data is not here ({path}); set TAPELINE_DATA")
    return path


@contextmanager
def without_pictures() -> Iterator[None]:
    """An empty picture in the place of each chart: drawing takes longer than the rest of a small run."""
    sections = [import_module(f"tapeline.report.sections.{name}") for name in files.modules("tapeline.report.sections")]
    with pytest.MonkeyPatch.context() as patch:
        for module in (charts, compare_page, *sections):
            if hasattr(module, "picture"):
                patch.setattr(module, "picture", _empty)
        yield


def _empty(name: str, says: str, *_: object, **__: object) -> Markup:
    return Markup('<svg role="img" aria-label="{}"></svg>').format(says)


def draws(item: pytest.Item) -> bool:
    """Whether a test sees real charts: those of the report, and those with the marker `pictures`."""
    return (ROOT / "tests" / "report") in item.path.parents or item.get_closest_marker("pictures") is not None


def pytest_configure() -> None:
    """Compose equal lines once: Hydra takes a tenth of a second for each, and thousands of tests compose few lines."""
    made: dict[tuple[object, ...], conf.Composed] = {}
    compose = conf._compose

    def once(where: Path, overrides: Sequence[str], named: str) -> conf.Composed:
        seen = [(path, *_stamp(path)) for path in sorted(where.rglob("*.yaml"))]
        key = (
            *overrides,
            *seen,
            *((name, value) for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"),
        )
        if key not in made:
            found = compose(where, overrides, named)
            if found.environment or any("searchpath" in each for each in overrides):
                return found
            made[key] = found
        return deepcopy(made[key])

    conf._compose = once
    _read_files_once()


def _read_files_once() -> None:
    """Hydra reads and parses each file of a configuration for each line; a third of its time goes there."""
    read: dict[tuple[object, ...], ConfigResult] = {}
    load = FileConfigSource.load_config

    def once(source: FileConfigSource, config_path: str) -> ConfigResult:
        path = Path(source.path, source._normalize_file_name(config_path))
        key = (path, *(_stamp(path) if path.is_file() else ()))
        if key not in read:
            read[key] = load(source, config_path)
        return deepcopy(read[key])

    FileConfigSource.load_config = once


def _stamp(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_mtime_ns, about.st_size


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Around fixtures of every scope, which monkeypatch is not."""
    if draws(item):
        return (yield)
    with without_pictures():
        return (yield)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports are tested elsewhere, and drawing them takes most of a small run's time."""
    monkeypatch.setattr(report, "page", lambda *_: "<p>a report")


Tapeline = Callable[..., tuple[int, str, str]]
Ran = Callable[..., None]


@pytest.fixture
def tapeline(folder: Path, capfd: pytest.CaptureFixture[str]) -> Tapeline:
    """Run the command in this process; its exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = cli.main(arguments)
        return code, *capfd.readouterr()

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder in which a run with these overrides has finished; each is run once."""
    made: dict[tuple[str, ...], Path] = {}

    def run(*overrides: str) -> Path:
        if overrides not in made:
            made[overrides] = tmp_path_factory.mktemp("finished")
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(made[overrides])
                assert cli.main(["run", *overrides]) == 0
        return made[overrides]

    return run


@pytest.fixture
def ran(folder: Path, finished: Callable[..., Path]) -> Callable[..., None]:
    """Copy a finished run with these overrides, its cache and its store to the working folder."""

    def copy(*overrides: str) -> None:
        shutil.copytree(finished(*overrides), folder, symlinks=True, dirs_exist_ok=True)

    return copy


def subprocess_tapeline(*arguments: str, cwd: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "tapeline", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **more)


def little_room(size: int) -> dict[str, Any]:
    """Arguments of subprocess: no file of the process may have more bytes, as on a full disk."""
    # Python would leave half of a package's byte code behind
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)), "env": environment}


def metrics(folder: Path) -> dict[str, Any]:
    """metrics.json of the latest run, which fits its JSON Schema."""
    content: dict[str, Any] = json.loads((folder / "runs" / "latest" / "metrics.json").read_text())
    SCHEMA.validate(content)
    return content


def without_run(page: str) -> str:
    """A report as the step makes it: without what a run adds to its own copy."""
    return re.sub(r'(<div class="run" id="run-\w+">).*?(</div>)', r"\1\2", page)


def artifact(run: Path, name: str, cache: Path) -> Path:
    """Where an artifact of a run lies that stays in the cache, as tables do."""
    file = artifacts(STEPS)[name].file
    entries: list[str] = json.loads((run / "run.json").read_text())["entries"]
    (found,) = (cache / entry / file for entry in entries if (cache / entry / file).exists())
    return found


def steps(folder: Path) -> dict[str, str]:
    """How each step of the latest run came about: ran, cached or skipped."""
    record = json.loads((folder / "runs" / "latest" / "run.json").read_text())
    return {each["step"]: each["how"] for each in record["steps"]}
