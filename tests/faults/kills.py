"""SIGKILL at random moments, in single runs, in sweeps, and in two runs at once on one cache."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.pipeline.test_kills import whole

SMALL = ["model=flat", "model.steps=40,60", "model.report_every=20", "gate.threshold=0", "gate.baseline_margin=null"]
SINGLE = ["run", SMALL[0], "model.steps=40", *SMALL[2:]]
TAPELINE = [sys.executable, "-m", "tapeline"]


def main(times: int, moments: random.Random, folder: Path) -> Counter[str]:
    """Kill `times` processes, then let one finish and compare its numbers with those of a quiet run."""
    counted: Counter[str] = Counter()
    quiet = [*SINGLE, "target.runs=quiet", "target.cache=quiet/cache", "serving.store=quiet/store"]
    subprocess.run([*TAPELINE, *quiet], cwd=folder, check=True, capture_output=True)
    expected = (folder / "quiet" / "latest" / "metrics.json").read_bytes()
    for number in range(times):
        lines = [["sweep", *SMALL]] if number % 3 == 1 else [SINGLE] * (1 + number % 2)
        if number % 5 == 0:
            subprocess.run(["rm", "-rf", ".tapeline", "store", "sweeps"], cwd=folder, check=True)
        running = [
            subprocess.Popen([*TAPELINE, *line], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            for line in lines
        ]
        time.sleep(moments.uniform(0.1, 7.0))
        running[0].kill()
        for process in running:
            _, said = process.communicate()
            counted["tracebacks"] += b"Traceback" in said
        counted["kills"] += 1
        counted["runs"] += len(lines)
        counted["results"] += sum(process.returncode == 0 for process in running)
        try:
            whole(folder)
        except (AssertionError, OSError, ValueError) as error:
            print(f"  half-written after a kill: {error!r}")
            counted["wrong numbers"] += 1
    done = subprocess.run([*TAPELINE, *SINGLE], cwd=folder, capture_output=True, check=False)
    counted["runs"] += 1
    counted["results"] += done.returncode == 0
    counted["wrong numbers"] += (folder / "runs" / "latest" / "metrics.json").read_bytes() != expected
    return counted
