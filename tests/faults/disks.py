"""Runs on a disk that fills at a random moment: a file system of random size, or else a limit for files."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.conftest import little_room
from tests.pipeline.test_kills import whole

LINE = ["run", "model=flat", "model.steps=40", "model.report_every=20", "gate.threshold=0", "gate.baseline_margin=null"]


def main(times: int, sizes: random.Random, folder: Path) -> Counter[str]:
    """Each time, a refusal of one sentence or a result; then a run with room gives the expected numbers."""
    counted: Counter[str] = Counter()
    expected = None
    for number in range(times + 1):
        room = sizes.randrange(20, 900) * 1024 if number else 64 * 1024 * 1024
        disk = folder / f"disk{number}"
        disk.mkdir()
        mounted = bool(shutil.which("mount")) and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(disk)], check=False, capture_output=True
        ).returncode  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "tapeline", *LINE], cwd=disk, capture_output=True, text=True, check=False,
            **({} if mounted else little_room(room // 8)),
        )  # fmt: skip
        counted += judge(done.returncode, done.stderr)
        if done.returncode == 0:
            whole(disk)
            metrics = (disk / "runs" / "latest" / "metrics.json").read_bytes()
            expected = expected or metrics
            counted["wrong numbers"] += metrics != expected
        if mounted:
            subprocess.run(["umount", str(disk)], check=False)
    return counted


def judge(code: int, err: str) -> Counter[str]:
    """How a run ended."""
    counted: Counter[str] = Counter(runs=1)
    if code == 0:
        counted["results"] += 1
    elif code == 2 and "Traceback" not in err and all(line.startswith("tapeline: ") for line in err.splitlines()):
        counted["refusals"] += 1
    else:
        print(f"  exit code {code}: {err[-600:]}")
        counted["tracebacks"] += 1
    return counted
