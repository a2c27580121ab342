"""Test accuracy of Flat and Deep on the simulated markets of dataset.seed 0 to 19, by one sweep."""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PUBLISHED = {"flat": 0.60, "deep": 0.72}
WITHIN = 0.03


def main() -> None:
    """Print mean and range for each model beside the published accuracy."""
    line = ["sweep", "model=flat,deep", "dataset.seed=range(0,20)"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "tapeline", *line], cwd=folder, check=True, capture_output=True)
        with open(Path(folder) / "sweeps" / "latest" / "leaderboard.csv", newline="") as file:
            rows = list(csv.DictReader(file))
    for family, published in PUBLISHED.items():
        scores = [float(row["test"]) for row in rows if f"model={family}" in row["job"]]
        mean = statistics.mean(scores)
        verdict = "within" if abs(mean - published) <= WITHIN else "NOT within"
        print(
            f"  {family:5}mean {mean:.4f} ({min(scores):.3f} to {max(scores):.3f}, {len(scores)} seeds), "
            f"{verdict} {WITHIN} of {published}"
        )
