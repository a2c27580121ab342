"""A part for each partition: a range of numbers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.errors import refuse


@dataclass(frozen=True)
class Reads:
    experiment: str | None
    """Names the partitions, as in a+b."""
    seed: int


def partitions(config: Reads) -> Sequence[str]:
    return (config.experiment or "").split("+")


def run(config: Reads, *, partition: str, part: Path) -> dict[str, Any]:
    import polars as pl

    if partition.startswith("bad"):
        raise refuse(f"partition {partition}", "has no rows", "leave it out")
    frame = pl.DataFrame({"time": range(len(partition)), "value": [config.seed] * len(partition)})
    frame.write_parquet(part)
    last = len(frame) - 1
    return {
        "rows": len(frame),
        "first": 0,
        "last": last,
        "process": os.getpid(),
        "digest": files.digest(frame.to_dicts()),
    }
