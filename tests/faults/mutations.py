"""Configurations and input files with a mistake in them, made by Hypothesis."""

from __future__ import annotations

import contextlib
import csv
import io
import random
import traceback
from collections import Counter
from datetime import date
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tapeline import lookup
from tapeline.cli import main as cli
from tapeline.config import compose as conf
from tapeline.datasets.indices.simulation import simulate
from tapeline.tables import raw
from tests.faults.disks import judge

FILE = ["dataset.source=csv", "dataset.path=closes.csv"]
SMALL = ["model=flat", "model.steps=20", "model.report_every=20", "gate.threshold=0.99"]
KEYS = [
    key
    for key in conf.flat(conf.plain(lookup.configure([])))
    if not key.startswith("target.") and key not in ("model.steps", "model.hidden", "serving.store", "hw.threads")
]
"""Not the keys that say where to write, or how long to work."""
VALUES = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.just("null"), st.text(max_size=12), st.just("[]"), st.just("{}"),
    st.sampled_from(["simulated", "csv", "parquet", "accuracy", "0", "1e400", "${seed}", "${nope}", "09:00"]),
)  # fmt: skip
JUNK = ("", "-1", "0", "1e9", "nan", "inf", "1,5", "abc", '"', "2010-01-32", "31/01/2010")
TABLE = simulate(0).head(130).with_columns(pl.col("date").cast(pl.String)).write_csv()


def main(times: int, source: random.Random, folder: Path) -> Counter[str]:
    """`times` mutated configurations, and as many mutated files."""
    counted: Counter[str] = Counter()

    @seed(source.randrange(10**6))
    @settings(max_examples=times, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(_override(), min_size=1, max_size=3))
    def configurations(overrides: list[str]) -> None:
        nonlocal counted
        counted += _tapeline("run", *SMALL, *overrides)

    @seed(source.randrange(10**6))
    @settings(max_examples=times, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(_file())
    def inputs(content: bytes) -> None:
        nonlocal counted
        (folder / "closes.csv").write_bytes(content)
        ended = _tapeline("run", *SMALL, *FILE)
        if ended["results"] and not _same(content, _ingested(folder / "raw")):
            print(f"  read otherwise than it is written: {content[:2000]!r}")
            ended["wrong numbers"] += 1
        counted += ended

    configurations()
    inputs()
    return counted


def _tapeline(*arguments: str) -> Counter[str]:
    """One command in this process."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = cli.main([*arguments])
        except Exception:  # that is what is counted here
            code = 1
            said.write(f"{arguments}\n{traceback.format_exc()}")
    return judge(code, said.getvalue())


def _ingested(path: Path) -> pl.DataFrame:
    """What the step ingest reads from the same file."""
    ended = _tapeline("step", "ingest", *FILE, "--out", f"raw={path}")
    assert ended["results"], ended
    return raw.read(path)


@st.composite
def _override(draw: st.DrawFn) -> str:
    key = draw(st.sampled_from(KEYS))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(key)))
        key = draw(st.sampled_from(["+", "++", "~", ""])) + key[:at] + draw(st.text(max_size=2)) + key[at + 1 :]
    return f"{key}={draw(VALUES)}"


@st.composite
def _file(draw: st.DrawFn) -> bytes:
    content = TABLE.encode()
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(content)))
        kind = draw(st.sampled_from(["cut", "drop", "insert", "line", "twice", "cell"]))
        if kind == "cut":
            content = content[:at]
        elif kind == "drop":
            content = content[:at] + content[at + draw(st.integers(1, 30)) :]
        elif kind == "insert":
            content = content[:at] + draw(st.binary(max_size=6)) + content[at:]
        elif kind == "cell":
            junk = draw(st.sampled_from(JUNK))
            start, end = content.rfind(b",", 0, at) + 1, content.find(b",", at)
            content = content[:start] + junk.encode() + content[end:]
        else:
            lines = content.split(b"\n")
            chosen = draw(st.integers(0, len(lines) - 1))
            lines[chosen:chosen] = [lines[chosen]] if kind == "twice" else []
            if kind == "line":
                del lines[chosen]
            content = b"\n".join(lines)
    return content


def _same(content: bytes, frame: pl.DataFrame) -> bool:
    """Python's csv module reads the same prices."""
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    header = [name.strip().lower() for name in rows[0]]
    read = {}
    for row in rows[1:]:
        if row:
            cells = dict(zip(reversed(header), reversed(row + [""] * (len(header) - len(row))), strict=True))
            read[date.fromisoformat(cells["date"].strip())] = cells
    return len(read) == len(frame) and all(
        _number(read[row["date"]][market]) == row[market]
        for row in frame.iter_rows(named=True) for market in frame.columns[1:]
    )  # fmt: skip


def _number(text: str) -> float | None:
    text = text.strip().lower()
    return None if text in ("", "-", ".", "na", "n/a", "#n/a", "nan", "null", "none") else float(text.replace(",", ""))
