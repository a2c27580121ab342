"""What the tests of submit on a real Argo share."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.conftest import Image, Kubectl
from tests.cluster.objects import STORE, workplace
from tests.conftest import subprocess_tapeline

LINE = ("experiment=snp_flat", "model.steps=2000")
SMALL = ("target.requests.cpu=100m", "hw.requests.cpu=100m", "target.backoff_seconds=2", "target.store_secret=store")


def prepared(kubectl: Kubectl, namespace: str, image: Image) -> tuple[str, ...]:
    """Put what a run needs into the namespace; what is typed behind `tapeline submit`, but for experiment and store."""
    kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(workplace()))
    name = image("cpu")
    where = (f"target.namespace={namespace}", f"target.image={name}", f"hw.image={name}")
    return ("target=argo", *where, *SMALL)


def store(namespace: str, name: str) -> str:
    """The override that names a store of its own."""
    return f"serving.store={STORE}/{namespace}/{name}"


def same_here(folder: Path, submitted: tuple[str, ...], line: tuple[str, ...]) -> None:
    """Run a line here, and compare every byte of its metrics.json with that of the submitted run."""
    # the hardware profile is part of the configuration that metrics.json records
    hw = [text for text in submitted if text.startswith("hw.")]
    theirs = (folder / "runs" / "latest" / "metrics.json").read_bytes()
    assert (folder / "runs" / "latest" / "report.html").stat().st_size > 10_000
    here = folder / "here"
    here.mkdir()
    ran = subprocess_tapeline("run", *hw, *line, cwd=here)
    assert ran.returncode == 0, ran.stderr
    assert theirs == (here / "runs" / "latest" / "metrics.json").read_bytes()


@contextmanager
def at_work(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A command of tapeline at work, as `submit` or `sweep`; it is ended with the block."""
    command = [sys.executable, "-u", "-m", "tapeline", *words]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def line_with(process: subprocess.Popen[str], text: str) -> str:
    """The first line of its output with a text.

    Raises:
        AssertionError: it ends without.
    """
    assert process.stdout
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(f"{text!r} was not said: {process.stderr.read() if process.stderr else ''}")


def until(probe: Callable[[], Any], problem: str, seconds: float = 120) -> Any:
    """What the probe returns, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < deadline, problem
        time.sleep(1)
    return found
