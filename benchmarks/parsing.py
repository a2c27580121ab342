"""Dates against Polars' own reader, moments against a loop, and the memory that 1 GB of CSV takes.

    python -m benchmarks parsing

Both sides of a ratio alternate in one process, five times.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

ROUNDS = 5
ROWS = 1_000_000
FORMATS = ("%Y-%m-%d", "%d/%m/%Y", "%d %b %Y", "%Y%m%d")
LEAST = {"dates": 0.5, "as_of": 20.0}
"""Ours over the other side's seconds."""
BYTES = 1_000_000_000
LIMIT = 2048
"""MiB at the peak."""
MARKETS = ("snp", "nyse", "djia", "nikkei", "hangseng", "ftse", "dax", "aord")
OTHERS = 2000
"""Columns of the wide file that nobody asks for."""

Array = np.ndarray[Any, Any]


def main() -> None:
    """Print all of it."""
    dates()
    as_of()
    explore()


def dates() -> None:
    """A million days of 50 years as text, whose format is to be found; Polars is given it."""
    import polars as pl

    from tapeline.datasets import parsing

    days = np.datetime64("1970-01-01") + np.random.default_rng(0).integers(0, 18_000, ROWS)
    for date_format in FORMATS:
        column = pl.Series("date", days).dt.strftime(date_format)
        if not parsing.dates(column).values.equals(column.str.to_date(date_format)):
            raise SystemExit(f"{date_format} is misread")
        _compare(
            f"dates {date_format}",
            lambda column=column: parsing.dates(column),  # type: ignore[misc]
            lambda column=column, form=date_format: column.str.to_datetime(form),  # type: ignore[misc]
            LEAST["dates"],
        )


def as_of() -> None:
    """The moments of a million dates, all different or those of 50 years, against the standard library's."""
    from tapeline.features.as_of import parse

    clock = parse("16:00 America/New_York")
    zone = ZoneInfo(clock.zone)

    def loop(days: Array) -> Array:
        since = sorted(clock.times)
        moments = []
        for day in days.tolist():
            applies = max((start for start in since if start <= day), default=since[0])
            moments.append(int(datetime.combine(day, clock.times[applies], zone).timestamp()))
        return np.array(moments, dtype="datetime64[s]")

    different = np.datetime64("1970-01-01") + np.arange(ROWS)
    repeated = np.datetime64("1970-01-01") + np.random.default_rng(0).integers(0, 18_000, ROWS)
    for name, days in (("different", different), ("of 50 years", repeated)):
        if not np.array_equal(clock.instants(days), loop(days)):
            raise SystemExit("moments differ")
        _compare(
            f"as-of, dates {name}",
            lambda days=days: clock.instants(days),  # type: ignore[misc]
            lambda days=days: loop(days),  # type: ignore[misc]
            LEAST["as_of"],
        )


def explore() -> None:
    """Peak memory: explore on a wide file of days, and minute rows of eight closes to typed columns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, rows in (("wide.csv", wide()), ("minutes.csv", minutes())):
            with open(folder / file, "w", encoding="ascii") as handle:
                handle.writelines(rows)
        command = [sys.executable, "-m", "tapeline", "explore", "dataset.source=csv", "dataset.path=wide.csv"]
        _peak(f"make explore, days x {OTHERS + len(MARKETS)} columns", command, folder)
        _peak("minutes to columns", [sys.executable, "-m", "benchmarks.parsing", "minutes.csv"], folder)


def wide() -> Iterator[str]:
    """A table of all markets that there are: a header, and days until it is 1 GB."""
    others = [f"ticker_{number}" for number in range(OTHERS)]
    yield ",".join(["date", *MARKETS, *others]) + "\n"
    tails = [",".join(f"{value:.2f}" for value in row) for row in _levels(64, OTHERS)]
    size = 0
    for number, closes in enumerate(_levels(10**5, len(MARKETS))):
        day = np.datetime64("1830-01-01") + number
        row = f"{day}," + ",".join(f"{value:.2f}" for value in closes) + f",{tails[number % 64]}\n"
        size += len(row)
        yield row
        if size >= BYTES:
            return


def minutes() -> Iterator[str]:
    """Eight closes a minute: a header, and rows until it is 1 GB."""
    yield ",".join(["date", *MARKETS]) + "\n"
    tails = [",".join(f"{value:.2f}" for value in row) + "\n" for row in _levels(10**5, len(MARKETS))]
    first, size = np.datetime64("1995-01-02T00:00"), 0
    while size < BYTES:
        times = np.datetime_as_string(first + np.arange(len(tails)), unit="m").tolist()
        block = "".join(f"{moment.replace('T', ' ')},{tail}" for moment, tail in zip(times, tails, strict=True))
        first, size = first + len(tails), size + len(block)
        yield block


def typed(path: Path) -> None:
    """Read a file of minutes as a dataset would."""
    from tapeline.datasets import parsing
    from tapeline.datasets.sources import csv

    readers = {"date": parsing.time_reader(), **{market: parsing.price_reader() for market in MARKETS}}
    parsed = parsing.scan(csv.scan(path, path.name), readers, path.name)
    parsing.refuse_findings(path.name, parsed.values())
    megabytes = sum(column.values.estimated_size() for column in parsed.values()) / 2**20
    print(f"  {len(parsed['date'].values):,} rows; the typed columns alone are {megabytes:,.0f} MiB")


def _levels(rows: int, columns: int) -> Array:
    returns = np.random.default_rng(0).normal(0, 1e-3, (rows, columns))
    levels: Array = 5000 * np.exp(returns - returns.cumsum(axis=0) / rows)
    return levels


def _compare(name: str, ours: Callable[[], object], theirs: Callable[[], object], least: float) -> None:
    """Print medians, spreads, their ratio and whether it is enough."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for side, call in enumerate((ours, theirs)):
            begun = time.perf_counter()
            call()
            seconds[side].append(time.perf_counter() - begun)
    mine, other = (statistics.median(each) for each in seconds)
    spread = [f"{min(each):.3f} to {max(each):.3f}" for each in seconds]
    verdict = "enough" if other / mine >= least else "NOT enough"
    print(
        f"  {name}: {mine:.3f} s ({spread[0]}), the other side {other:.3f} s ({spread[1]}): ratio "
        f"{other / mine:.2f}, {verdict} ({least:g} wanted; load {os.getloadavg()[0]:.1f})"
    )


def _peak(name: str, command: list[str], folder: Path) -> None:
    """Print the peak memory and seconds of a process."""
    begun = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *filter(None, sys.path)])}
    process = subprocess.Popen(command, cwd=folder, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{name} ended with {code}")
    peak = used.ru_maxrss // 1024
    verdict = "enough" if peak < LIMIT else "TOO MUCH"
    print(f"  {name}: {peak:,} MiB, {verdict} (under {LIMIT:,} wanted), {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    typed(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
