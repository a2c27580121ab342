"""Peak memory and seconds of each step on many minute bars: train, evaluate, gate and report.

    python -m benchmarks.steps rows=6300000 trees=1200

Each step is a program of its own, as on a cluster. The data is simulated; the last 80 % of the rows are test rows.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tapeline import files

SIZES = {"rows": 6_300_000, "trees": 1200, "leaves": 31}
TRAIN = 0.2
LIMITS: dict[str, tuple[int | None, int]] = {"evaluate": (600, 2048), "gate": (None, 2048), "report": (None, 2048)}
"""Seconds and MiB, at 5 million test rows."""
PAGE = 3_000_000
"""Bytes of report.html, at most."""
Names = tuple[str, ...]
STEPS: dict[str, tuple[Names, Names]] = {
    "ingest": ((), ("raw",)),
    "features": (("raw",), ("table", "profile.json", "sample.parquet")),
    "train": (("table",), ("fitted",)),
    "export": (("sample.parquet", "fitted"), ("servable",)),
    "evaluate": (("table", "fitted", "servable"), ("scores.json", "predictions.parquet")),
    "gate": (("table", "profile.json", "fitted", "servable", "scores.json", "predictions.parquet"), ("metrics.json",)),
    "report": (("profile.json", "fitted", "scores.json", "predictions.parquet", "metrics.json"), ("report.html",)),
}
"""Files that each takes and makes."""


def main(arguments: list[str] | None = None) -> None:
    """Run the steps and print what each took."""
    sizes = SIZES | {key: int(value) for key, _, value in (text.partition("=") for text in arguments or [])}
    keys = [
        *(
            "experiment=gresearch_sample",
            f"dataset.rows={sizes['rows']}",
            "split=chronological",
            f"split.train={TRAIN}",
        ),
        *(f"model.steps={sizes['trees']}", f"model.num_leaves={sizes['leaves']}", "model.early_stopping_rounds=null"),
        *("hw.threads=2", f"model.report_every={sizes['trees']}"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for step, (takes, makes) in STEPS.items():
            _step(Path(folder), step, takes, makes, keys)
        page = (Path(folder) / "report.html").stat().st_size
        rows = files.read_json(Path(folder) / "metrics.json")["test"]["overall"]["rows"]
    print(f"  {rows:,} test rows; report.html {page / 1e6:.2f} MB (at most {PAGE / 1e6:g} wanted)")
    print(f"  load {os.getloadavg()[0]:.1f}")


def _step(folder: Path, step: str, takes: Names, makes: Names, keys: list[str]) -> None:
    def paths(option: str, names: Names) -> list[str]:
        return [word for name in names for word in (option, f"{name.partition('.')[0]}={folder / name}")]

    line = [sys.executable, "-m", "tapeline", "step", step, *keys, *paths("--in", takes), *paths("--out", makes)]
    begun = time.perf_counter()
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(said.decode())
    seconds, peak = time.perf_counter() - begun, usage.ru_maxrss / 1024
    most, memory = LIMITS.get(step, (None, 0))
    within = "" if not memory else "within" if peak <= memory and (most is None or seconds <= most) else "NOT within"
    limits = f"{within} {f'{most} s and ' if most else ''}{memory} MiB" if within else ""
    print(f"  {step:9}{seconds:8.1f} s, peak {peak:6.0f} MiB   {limits}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
