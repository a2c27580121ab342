"""Peak memory and seconds of tables: many rows in parts, and images; written, read in batches, and split.

Each measurement is a process of its own, so that its peak is its own. Sizes are arguments:

    python -m benchmarks.data rows=24200000 parts=14 images=7049
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapeline.tables.spec import Column, Manifest
from tapeline.tables.splits import of_table
from tapeline.tables.splits.by_group import Section as ByGroup
from tapeline.tables.splits.chronological import Section as Chronological
from tapeline.tables.table import open_table
from tapeline.tables.windows import SIDES, rows_of
from tapeline.tables.writing import write

if TYPE_CHECKING:
    import polars as pl

SIZES = {"rows": 24_200_000, "parts": 14, "images": 7_049}
FEATURES, KEYPOINTS, GROUP = 30, 30, 5
HORIZON = 16
"""Minutes, and so rows of a part, that are purged before validation and before test."""
LIMIT = 1024
"""MiB beyond one part."""


def main(arguments: list[str] | None = None) -> None:
    """Print what each measurement took; sizes are given as rows=1000."""
    sizes = SIZES | {key: int(value) for key, _, value in (text.partition("=") for text in arguments or [])}
    with tempfile.TemporaryDirectory() as folder:
        for name in MEASUREMENTS:
            command = [sys.executable, "-m", "benchmarks.data", name, folder, json.dumps(sizes)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            print(done.stdout, end="")


def write_rows(folder: Path, sizes: dict[str, int]) -> None:
    """Write rows x 30 float32 in parts; the peak beyond one part is held against the limit."""
    rows = sizes["rows"] // sizes["parts"]
    columns = [Column("time", "time", "datetime64[us]"), Column("target", "target", "float64")]
    columns += [Column(f"f{number}", "feature", "float32") for number in range(FEATURES)]
    header = Manifest("regression", "benchmark", tuple(columns), ("return",))
    before, begun = _peak(), time.perf_counter()
    write(folder / "rows", header, ((f"part_{number}", _part(rows, number)) for number in range(sizes["parts"])))
    _report("write", sizes, begun, before, part=rows * (8 + 8 + 4 * FEATURES))


def read_rows(folder: Path, sizes: dict[str, int]) -> None:
    """Read train and test rows of a split in batches."""
    before, begun = _peak(), time.perf_counter()
    table = open_table(folder / "rows")
    split = Chronological(name="chronological", train=0.8, validation=None, purge=None)
    (window,) = of_table(split, table, timedelta(minutes=HORIZON), 0.15)
    found = dict.fromkeys(SIDES, 0)
    for side in SIDES:
        for batch in table.batches(("feature", "target", "time"), rows_of(window, table, side)):
            found[side] += len(batch)
    rows = sizes["rows"] // sizes["parts"]
    assert sum(found.values()) == (rows - 2 * HORIZON) * sizes["parts"], found
    _report("read", sizes, begun, before, part=rows * (8 + 8 + 4 * FEATURES))


def images(folder: Path, sizes: dict[str, int]) -> None:
    """Write, read in batches and split by group rows of uint8 (96, 96) with 30 targets, some missing."""
    import polars as pl

    rng = np.random.default_rng(0)
    count = sizes["images"]
    pictures = rng.integers(0, 256, (count, 96, 96), dtype=np.uint8)
    targets = np.where(rng.random((count, KEYPOINTS)) < 0.3, np.nan, rng.random((count, KEYPOINTS))).astype(np.float32)
    names = [f"keypoint_{number}" for number in range(KEYPOINTS)]
    columns = [Column("row", "row", "int64"), Column("person", "group", "str")]
    columns += [Column("image", "feature", "uint8", (96, 96)), *(Column(name, "target", "float32") for name in names)]
    header = Manifest("keypoints", "benchmark", tuple(columns), tuple(names), (96, 96))
    frame = pl.DataFrame({"row": np.arange(count), "person": [f"p{each // GROUP}" for each in range(count)]})
    frame = frame.with_columns(pl.Series("image", pictures), *map(pl.Series, names, targets.T.copy()))
    before, begun = _peak(), time.perf_counter()
    write(folder / "images", header, [("all", frame)])
    table = open_table(folder / "images")
    (window,) = of_table(ByGroup(name="by_group", train=0.8, validation=None, seed=0), table, None, 0.15)
    for side in SIDES:
        rows = rows_of(window, table, side)
        for batch in table.batches(("feature", "target", "group"), rows, size=256):
            assert (batch["feature"] == pictures[batch.rows]).all()
            assert ((batch["target"] == targets[batch.rows]) | np.isnan(targets[batch.rows])).all()
    _report("images", sizes, begun, before, part=pictures.nbytes + targets.nbytes)


def _part(rows: int, seed: int) -> Iterator[pl.DataFrame]:
    """A part in frames of at most 200,000 rows."""
    import polars as pl

    rng = np.random.default_rng(seed)
    start = np.datetime64("2018-01-01", "us")
    for first in range(0, rows, 200_000):
        count = min(200_000, rows - first)
        columns: dict[str, Any] = {"time": start + (first + np.arange(count)) * np.timedelta64(60, "s")}
        columns |= {"target": rng.standard_normal(count)}
        columns |= {f"f{number}": rng.standard_normal(count, dtype=np.float32) for number in range(FEATURES)}
        yield pl.DataFrame(columns)


def _peak() -> float:
    """Of this process until now, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _report(what: str, sizes: dict[str, int], begun: float, before: float, part: int) -> None:
    """A line; memory of the interpreter and its libraries is in the peak, too."""
    seconds, peak, part_size = time.perf_counter() - begun, _peak(), part / 2**20
    held = f"{sizes['images']:,} images" if what == "images" else f"{sizes['rows']:,} rows in {sizes['parts']} parts"
    within = "within" if peak - part_size <= LIMIT else "NOT within"
    print(
        f"  {what:7}{held:28} {seconds:6.1f} s   peak {peak:6.0f} MiB ({before:.0f} before), part {part_size:.0f}: "
        f"{peak - part_size:.0f} beyond one part, {within} {LIMIT}"
    )


MEASUREMENTS: dict[str, Callable[[Path, dict[str, int]], None]] = {
    "write_rows": write_rows,
    "read_rows": read_rows,
    "images": images,
}
"""Each prints one line; those below find what those above wrote."""

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in MEASUREMENTS:
        MEASUREMENTS[sys.argv[1]](Path(sys.argv[2]), json.loads(sys.argv[3]))
    else:
        main(sys.argv[1:])
