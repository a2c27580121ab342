"""Run tests in forks of a process that has made the slow imports: python forking.py, and a line of JSON for each run.

It imports neither tapeline nor tests, so that each fork reads them as they are at that moment. A request has `tests`,
`seconds` that each may take and, to learn which lines each test runs, `trace`: files of the code. The answer has the
exit code (of pytest, or 1: a test took too long) and, for a trace, `lines`, the tests by file and line, and `took`, the
seconds of each test.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

SLOW = (
    *("numpy", "polars", "scipy.stats", "tensorflow", "hypothesis", "hypothesis.extra.numpy", "pydantic", "omegaconf"),
    *("hydra", "fsspec", "s3fs", "moto.server", "lightgbm", "aiohttp.web", "grpc", "werkzeug.serving"),
    *("tensorflow_serving.apis.prediction_service_pb2_grpc", "tensorflow_serving.apis.model_service_pb2_grpc"),
)


class Limit:
    """A plugin of pytest: a test that takes too long ends the process."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Around one test, with its fixtures."""
        faulthandler.dump_traceback_later(self._seconds, exit=True)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()


class Trace:
    """A plugin of pytest: which lines of some files each test runs, and how long it takes."""

    def __init__(self, files: list[str]) -> None:
        self._files = set(files)
        self._test = ""
        self.lines: dict[str, dict[int, set[str]]] = {each: {} for each in files}
        self.took: dict[str, float] = {}

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Python's trace function for calls: lines are followed in these files only."""
        del event, argument
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        del argument
        if event == "line":
            self.lines[frame.f_code.co_filename].setdefault(frame.f_lineno, set()).add(self._test)
        return self._line

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Generator[None, object, object]:
        """Follow one test, with its fixtures."""
        self._test, begun = item.nodeid, time.monotonic()
        sys.settrace(self)
        threading.settrace(self)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            self.took[item.nodeid] = time.monotonic() - begun


def run(tests: list[str], seconds: float, trace: list[str], folder: Path) -> dict[str, Any]:
    """Run tests in a fork, in the current folder."""
    child = os.fork()
    if not child:
        os._exit(_tests(tests, seconds, trace, folder))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what its tests started
    traced = folder / "trace.json"
    return {"code": status, **(json.loads(traced.read_text()) if trace and traced.is_file() else {})}


def _tests(tests: list[str], seconds: float, trace: list[str], folder: Path) -> int:
    """In the fork: run the tests and return the exit code."""
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    root = Path.cwd()
    sys.path[:0] = [str(root), str(root / "src")]
    os.environ["PYTHONPATH"] = str(root / "src")
    found = Trace(trace)
    plugins = [Limit(seconds), *([found] if trace else [])]
    code = pytest.main(["-x", "-q", "-n0", "-p", "no:cacheprovider", *tests], plugins=plugins)
    lines = {file: {line: sorted(names) for line, names in each.items()} for file, each in found.lines.items()}
    (folder / "trace.json").write_text(json.dumps({"lines": lines, "took": found.took}))
    return int(code)


def main() -> None:
    """Answer the requests of standard input."""
    sys.path.remove(str(Path(__file__).parent))
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in SLOW:
        with suppress(ImportError):
            importlib.import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            print(json.dumps(run(**json.loads(line), folder=Path(folder))), flush=True)


if __name__ == "__main__":
    main()
