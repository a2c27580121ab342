"""Faces for tests: drawn ones, as text of Kaggle's files, and overrides that train in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tapeline.datasets.faces.shape import IMAGE, SIDE
from tapeline.datasets.faces.simulation import simulate

Array = np.ndarray[Any, Any]
TINY = [
    "dataset=faces",
    "dataset.rows=40",
    "model=conv",
    "model.widths=[4,8,8]",
    "model.steps=20",
    "model.report_every=10",
    "model.batch_rows=8",
    "gate=default",
    "gate.baseline_margin=null",
]
"""A run that is accepted, whatever it learnt."""


def pixels(frame: pl.DataFrame) -> Array:
    """uint8 [rows, 96, 96] of a simulated frame."""
    return np.frombuffer(b"".join(frame[IMAGE].to_list()), np.uint8).reshape(-1, SIDE, SIDE)


def as_text(rows: int, seed: int = 0) -> pl.DataFrame:
    """The columns of training.csv, the images as text."""
    frame = simulate(seed, rows)
    texts = [" ".join(map(str, image.ravel())) for image in pixels(frame)]
    return frame.with_columns(pl.Series(IMAGE, texts))


def write(path: Path, frame: pl.DataFrame) -> Path:
    """The frame as a CSV file."""
    frame.write_csv(path)
    return path


def changed(frame: pl.DataFrame, column: str, row: int, value: Any) -> pl.DataFrame:
    """The frame with another value in one cell."""
    values = frame[column].to_list()
    values[row] = value
    dtype = frame[column].dtype if column == IMAGE or value is None else pl.String
    return frame.with_columns(pl.Series(column, [None if each is None else str(each) for each in values]).cast(dtype))
