"""Killed runs leave nothing half-written, and runs side by side do not disturb each other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tapeline import files
from tapeline.pipeline import cache
from tapeline.pipeline import run_locally as local
from tapeline.pipeline.graph import STEPS, Step
from tests.conftest import Tapeline, steps
from tests.pipeline.test_run_locally import GRAPH, SMALL

pytestmark = pytest.mark.long


def whole(folder: Path) -> None:
    """Everything under a final name is complete."""
    for entry in folder.glob(".tapeline/cache/*/[0-9a-f]*"):
        step = next(each for each in STEPS if each.name == entry.parent.name)
        assert cache.digests_of(step, entry) == files.read_json(entry / "entry.json")["digests"]
    for version in folder.glob("store/*/[0-9]*"):
        assert (version / "assets.extra" / "tf_serving_warmup_requests").is_file()
    for run in folder.glob("runs/*/run.json"):
        files.read_json(run)


@pytest.fixture
def moments(tapeline: Tapeline, folder: Path) -> dict[str, list[Path]]:
    """By step, copies of the folder as it was before each rename of a run: what a kill there would leave."""
    found: dict[str, list[Path]] = {step.name: [] for step in GRAPH}
    current, take = [GRAPH[0].name], local.take

    def taken(step: Step, *rest: Any, **keys: Any) -> None:
        current[0] = step.name
        take(step, *rest, **keys)

    def watched(rename: Callable[..., None]) -> Callable[..., None]:
        def run(source: Any, target: Any, **keys: Any) -> None:
            copies = found[current[0]]
            copies.append(folder.parent / f"{folder.name}-killed" / f"{current[0]}-{len(copies)}")
            shutil.copytree(folder, copies[-1], symlinks=True)
            rename(source, target, **keys)

        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "take", taken)
        for name in ("rename", "replace"):
            patch.setattr(os, name, watched(getattr(os, name)))
        assert tapeline("run", *SMALL)[0] == 0
    return found


def test_a_kill_at_any_step_leaves_nothing_half_written_and_the_next_run_completes(
    tapeline: Tapeline, folder: Path, moments: dict[str, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = (folder / "runs" / "latest" / "metrics.json").read_bytes()
    assert all(moments.values())
    for step, copies in moments.items():
        for copy in copies:
            whole(copy)
        monkeypatch.chdir(copies[-1])
        assert tapeline("run", *SMALL)[0] == 0, step
        assert (copies[-1] / "runs" / "latest" / "metrics.json").read_bytes() == expected, step
        assert [path.name for path in (copies[-1] / "store" / "indices-simulated").glob("[0-9]*")] == ["1"], step
        whole(copies[-1])


def test_the_next_run_goes_on_behind_a_killed_one(tapeline: Tapeline, folder: Path) -> None:
    script = (
        "import os, signal; from tapeline.cli.main import main; from tapeline.steps import export\n"
        "export.run = lambda *given, **paths: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"main(['run', *{SMALL}])"
    )
    killed = subprocess.run([sys.executable, "-c", script], cwd=folder, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert "stopped" in tapeline("runs")[1]
    assert tapeline("run", *SMALL)[0] == 0
    assert [name for name, how in steps(folder).items() if how == "cached"] == ["ingest", "features", "train"]
    whole(folder)


def test_two_runs_at_once_share_a_cache(folder: Path) -> None:
    command = [sys.executable, "-m", "tapeline", "run", *SMALL]
    both = [subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    outputs = [each.communicate() for each in both]
    assert [each.returncode for each in both] == [0, 0], outputs
    shown = {path.read_bytes() for path in folder.glob("runs/2*/metrics.json")}
    assert len(shown) == 1
    assert len(list(folder.glob("runs/2*"))) == 2
    whole(folder)
