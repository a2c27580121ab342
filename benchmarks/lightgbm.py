"""Seconds and peak memory of LightGBM's training from a file, beside a bare lightgbm.train on the same matrix.

    python -m benchmarks.lightgbm rows=24200000

Each measurement is a process of its own; both have the same parameters, threads and rounds.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIZES = {"rows": 2_400_000, "rounds": 100, "repeats": 3}
FEATURES, THREADS = 24, 2
MOST = 1.10
"""Ours over the bare call, in seconds."""
BEYOND, TIMES = 1024, 1.5
"""MiB beyond so many times LightGBM's binned data."""


def main(arguments: list[str] | None = None) -> None:
    """Print seconds and peak memory of both."""
    sizes = SIZES | {key: int(value) for key, _, value in (text.partition("=") for text in arguments or [])}
    rows = sizes["rows"]
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder), rows)
        found: dict[str, list[tuple[float, float]]] = {"bare": [], "ours": []}
        for _ in range(sizes["repeats"]):
            for side, each in found.items():
                each.append(_measured(side, folder, rows, sizes["rounds"]))
    ratio = statistics.median(ours[0] / bare[0] for ours, bare in zip(found["ours"], found["bare"], strict=True))
    for side, each in found.items():
        seconds, peak = (statistics.median(column) for column in zip(*each, strict=True))
        spread = f"{min(one for one, _ in each):.1f} to {max(one for one, _ in each):.1f}"
        print(f"  {side:5}{rows:12,} rows, {sizes['rounds']} rounds: {seconds:7.1f} s ({spread}), peak {peak:.0f} MiB")
    binned = rows * FEATURES / 2**20
    limit = TIMES * binned + BEYOND
    within = "within" if peak <= limit else "NOT within"
    print(f"  ours takes {ratio:.2f} times the seconds, at most {MOST} wanted; load {os.getloadavg()[0]:.1f}")
    print(f"  binned data {binned:.0f} MiB: ours is {within} {TIMES} times that and {BEYOND} MiB, {limit:.0f} MiB")


def _write(folder: Path, rows: int) -> None:
    """The matrix and a weak target, a block at a time."""
    random = np.random.default_rng(0)
    with open(folder / "features", "wb") as features, open(folder / "target", "wb") as target:
        for first in range(0, rows, 1 << 18):
            block = random.standard_normal((min(1 << 18, rows - first), FEATURES), dtype=np.float32)
            block[:, 0] = random.integers(0, 14, len(block))
            features.write(block.data)
            noise = random.standard_normal(len(block), dtype=np.float32)
            target.write((0.1 * block[:, 1] + noise).astype(np.float32).data)


def _measured(side: str, folder: str, rows: int, rounds: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.lightgbm", "--one", side, folder, str(rows), str(rounds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def one(side: str, folder: Path, rows: int, rounds: int) -> None:
    """Train, and print seconds and peak MiB."""
    import lightgbm

    from tapeline import lookup
    from tapeline.models import Rows, Training
    from tapeline.models.lightgbm import family

    shape = (rows, FEATURES)
    keys = [f"model.steps={rounds}", f"model.report_every={rounds}", "model.early_stopping_rounds=null"]
    section: Any = lookup.configure(["experiment=gresearch_sample", *keys]).model
    training = Training(lookup.task("returns"), 0, lambda *_: None, THREADS, categorical=(0,))
    target = np.fromfile(folder / "target", np.float32)
    if side == "ours":
        begun = time.perf_counter()
        family.fit(section, Rows(np.memmap(folder / "features", np.float32, "r", shape=shape), target), None, training)
    else:
        matrix = np.fromfile(folder / "features", np.float32).reshape(shape)
        begun = time.perf_counter()
        data = lightgbm.Dataset(matrix, target, categorical_feature=[0])
        lightgbm.train(family._parameters(section, training, matrix.size), data, rounds)
    seconds = time.perf_counter() - begun
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    else:
        main(sys.argv[1:])
