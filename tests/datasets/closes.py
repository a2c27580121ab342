"""Invented closes of the eight markets as files that people have."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from tapeline.datasets import indices

MARKETS = tuple(indices.CLOSES)
Rows = list[list[Any]]


def rows(days: int = 100, first: date = date(2012, 1, 2)) -> Rows:
    """A date and eight closes with two decimals, on weekdays."""
    random, level = np.random.default_rng(7), np.array([1400.0, 8000, 12000, 9000, 20000, 5500, 6000, 4500])
    found, day = Rows(), first
    while len(found) < days:
        if day.weekday() < 5:
            level = level * (1 + random.normal(0, 0.01, 8))
            found.append([day, *(round(float(each), 2) for each in level)])
        day += timedelta(days=1)
    return found


def write(
    path: Path, head: Sequence[str], body: Sequence[Sequence[Any]], separator: str = ",", end: str = "\n"
) -> Path:
    """A file of text; values of floats have two decimals."""
    lines = [head, *body]
    text = [separator.join(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in line) for line in lines]
    path.write_text(end.join(text) + end, encoding="utf-8", newline="")
    return path


def table(folder: Path, body: Rows | None = None) -> Path:
    """All eight in one file."""
    return write(folder / "all.csv", ["date", *MARKETS], rows() if body is None else body)


def times_100(body: Rows) -> Rows:
    """One close of the S&P in the wrong unit."""
    body[300][1 + MARKETS.index("snp")] *= 100
    return body


def frozen(body: Rows) -> Rows:
    """The DAX at one value for 60 days."""
    market = 1 + MARKETS.index("dax")
    for row in body[300:360]:
        row[market] = body[300][market]
    return body


def hole(body: Rows) -> Rows:
    """188 days are missing."""
    return body[:300] + body[488:]
