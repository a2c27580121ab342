"""Features of minute bars: rows a second beside a pandas recipe and a plain loop, and a large CSV to a table.

    python -m benchmarks.features rows=2400000          in memory, both sides in alternating rounds
    python -m benchmarks.features csv=24200000          ingest and features in one process, its peak memory and seconds

The recipe is the published notebook's in pandas, which tapeline does not need: install pandas to measure it, too.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Bars = dict[str, Array]

SIZES = {"rows": 2_400_000, "csv": 2_400_000}
ASSETS, ROUNDS, THREADS = 14, 5, 2
LEAST = {"pandas": 5.0, "loop": 0.6}
"""Ours over each."""
LIMITS = (300, 4096)
"""Seconds and MiB of 24.2 million rows from CSV to a table."""


def main(arguments: list[str] | None = None) -> None:
    """Print what each measurement took."""
    sizes = SIZES | {key: int(value) for key, _, value in (text.partition("=") for text in arguments or [])}
    wanted = {text.partition("=")[0] for text in arguments or []} or {"rows", "csv"}
    print(f"  load {os.getloadavg()[0]:.1f}")
    if "rows" in wanted:
        in_memory(sizes["rows"])
    if "csv" in wanted:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "benchmarks.features", "--csv", str(sizes["csv"]), folder]
            subprocess.run([*command, "write"], check=True)
            subprocess.run([*command, "read"], check=True)


def in_memory(rows: int) -> None:
    """Rows a second of each side, the median of alternating rounds."""
    assets = [_bars(rows // ASSETS, number) for number in range(ASSETS)]
    sides: dict[str, Callable[[list[Bars]], None]] = {"ours": ours, "loop": loop}
    try:
        import pandas  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        print("  pandas is not installed: its recipe is left out (pip install pandas)")
    else:
        sides["pandas"] = recipe
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            begun = time.perf_counter()
            side(assets)
            seconds[name].append(time.perf_counter() - begun)
    for name, each in seconds.items():
        ratio = statistics.median(other / own for other, own in zip(each, seconds["ours"], strict=True))
        wanted = f"   ours is {ratio:.2f} times, at least {LEAST[name]} wanted" if name in LEAST else ""
        spread = f"{rows / max(each) / 1e6:.2f} to {rows / min(each) / 1e6:.2f}"
        print(f"  {name:7}{rows / statistics.median(each) / 1e6:8.2f} million rows/s ({spread}){wanted}")


def ours(assets: list[Bars]) -> None:
    """As the step features: float32 columns of two assets at the same time."""
    from tapeline.datasets.gresearch.columns import features

    def one(bars: Bars) -> list[Array]:
        return [values.astype(np.float32) for values in features(bars).values()]

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, assets))


def loop(assets: list[Bars]) -> None:
    """The same columns by hand, TA-Lib and NumPy on two threads; gaps are ignored, and DEMA is TA-Lib's."""
    import talib

    def one(bars: Bars) -> list[Array]:
        o, high, low, close = (bars[name] for name in ("open", "high", "low", "close"))
        found = []
        for n in (30, 120, 240):
            change = np.full(len(close), np.nan)
            change[n:] = close[n:] / close[:-n] - 1
            found += [talib.RSI(close, n), talib.ATR(high, low, close, n) / close, talib.DEMA(close, n) / close]
            found += [talib.SMA(close, n) / close - 1, change]
        found += [np.log(high / low), np.log(close / o)]
        found += [np.log(high / np.maximum(close, o)), np.log(np.minimum(close, o) / low)]
        days = (bars["seconds"] // 86_400).astype("datetime64[D]")
        month = days.astype("datetime64[M]")
        thursday = days + (3 - (days.astype(np.int64) + 3) % 7)
        found += [(days.astype(np.int64) + 3) % 7, (days - days.astype("datetime64[Y]")).astype(np.int64) + 1]
        found += [(thursday - thursday.astype("datetime64[Y]")).astype(np.int64) // 7 + 1]
        found += [((month.astype(np.int64) % 12 + 1) % 12 + 3) // 3]
        return [values.astype(np.float32) for values in found]

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, assets))


def recipe(assets: list[Bars]) -> None:
    """The published notebook's columns in pandas, asset by asset, joined in one frame."""
    import pandas as pd
    import talib

    frames = []
    for bars in assets:
        frame = pd.DataFrame({name: bars[name] for name in ("seconds", "open", "high", "low", "close")})
        for n in (30, 120, 240):
            frame[f"RSI_{n}"] = talib.RSI(frame["close"], n)
            frame[f"ATR_{n}"] = talib.ATR(frame["high"], frame["low"], frame["close"], n)
            average = frame["close"].ewm(span=n, adjust=False).mean()
            frame[f"DEMA_{n}"] = 2 * average - average.ewm(span=n, adjust=False).mean()
            frame[f"sma_{n}"] = frame["close"].rolling(n).mean() / frame["close"] - 1
            frame[f"return_{n}"] = frame["close"] / frame["close"].shift(n) - 1
        with np.errstate(divide="ignore", invalid="ignore"):
            frame["HL"] = np.log(frame["high"] - frame["low"])
            frame["OC"] = np.log(frame["close"] - frame["open"])
            frame["upper_shadow"] = np.log(frame["high"] - np.maximum(frame["close"], frame["open"]))
            frame["lower_shadow"] = np.log(np.minimum(frame["close"], frame["open"]) - frame["low"])
        time_of = pd.to_datetime(frame["seconds"], unit="s").dt
        frame["Day"], frame["dayofyear"] = time_of.day_of_week, time_of.day_of_year
        frame["weekofyear"], frame["season"] = time_of.isocalendar().week, ((time_of.month % 12) + 3) // 3
        frames.append(frame)
    pd.concat(frames).replace([np.inf, -np.inf], np.nan).fillna(0)


def _bars(rows: int, seed: int) -> Bars:
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 1e-3, rows)))
    first = np.r_[close[0], close[:-1]]
    seconds = 1_514_764_860 + 60 * np.arange(rows)
    return {"seconds": seconds, "open": first, "high": close * 1.001, "low": close * 0.999, "close": close}


def from_csv(rows: int, folder: Path, part: str) -> None:
    """Write the simulated file, or make a table of it."""
    from tapeline import lookup
    from tapeline.config.schema import Dataset
    from tapeline.datasets import gresearch
    from tapeline.steps import features, ingest

    path = folder / "train.csv"
    if part == "write":
        gresearch.simulate(0, rows).write_csv(path)
        return
    section: Dataset = lookup.configure(["dataset=gresearch", "dataset.source=csv", f"dataset.path={path}"]).dataset
    begun = time.perf_counter()
    ingest.run(ingest.Reads(section), raw=folder / "raw")
    middle = time.perf_counter()
    outputs = {"table": folder / "table", "profile": folder / "profile.json", "sample": folder / "sample.parquet"}
    features.run(features.Reads(section), raw=folder / "raw", **outputs)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    within = "within" if seconds <= LIMITS[0] and peak <= LIMITS[1] else "NOT within"
    parts = f"{seconds:6.1f} s (ingest {middle - begun:.1f} s), {1e6 * seconds / rows:.2f} s for a million"
    print(f"  csv    {rows:12,} rows: {parts}, peak {peak:.0f} MiB, {within} {LIMITS[0]} s and {LIMITS[1]} MiB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--csv"]:
        from_csv(int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
    else:
        main(sys.argv[1:])
