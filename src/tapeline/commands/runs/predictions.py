"""The predictions of a run's test rows as CSV: tapeline runs predictions=latest"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tapeline import files
from tapeline.errors import refuse
from tapeline.pipeline.graph import PREDICTIONS
from tapeline.pipeline.run_folder import Run


def write(runs: Sequence[Run]) -> None:
    """Write `predictions.csv` beside each run's predictions.parquet, and print where.

    A column with a list in each row becomes one column for each number, as in the Parquet file; so the file has a
    column for each of: window, time, target, context columns, outputs, and each baseline.

    Raises:
        Refused: a run has no predictions that can be read.
    """
    for run in runs:
        print(_written(run.folder))


def _written(folder: Path) -> Path:
    import polars as pl

    source, path = folder / PREDICTIONS.file, folder / f"{PREDICTIONS.name}.csv"
    try:
        frame = pl.read_parquet(source)
    except (OSError, pl.exceptions.PolarsError):
        raise refuse(source, "cannot be read", "choose a run that finished; tapeline runs lists them") from None
    files.write_bytes(path, frame.write_csv().encode())
    return path
