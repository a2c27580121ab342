"""Writing tables: bytes depend on values alone, and what does not fit leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tapeline import files
from tapeline.errors import Refused
from tapeline.tables.spec import to_json
from tapeline.tables.table import Table, open_table
from tapeline.tables.writing import write, write_part, write_sample
from tests.tables.tables import FACES, MARKET, assert_equal, faces, market, of


def test_one_part_may_be_one_file(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    manifest = write(path, MARKET, [("BTC", market(40, "BTC"))])
    table = open_table(path)
    assert table.manifest == manifest
    folder = of(tmp_path / "folder", {"BTC": 40})
    assert folder.manifest.digest == manifest.digest
    assert_equal(table.read(("feature",))["feature"], folder.read(("feature",))["feature"])
    with pytest.raises(Refused, match="several"):
        write(path, MARKET, [(name, market(4, name)) for name in ("A", "B")])
    assert open_table(path).manifest == manifest


def test_a_sample_is_spread_evenly_and_carries_the_manifest(two: Table, tmp_path: Path) -> None:
    write_sample(two, tmp_path / "sample.parquet")
    sample = open_table(tmp_path / "sample.parquet")
    assert (sample.manifest.rows, sample.manifest.digest) == (64, two.manifest.digest)
    assert replace(sample.manifest, parts=two.manifest.parts) == two.manifest
    got = sample.read(("time", "partition", "feature"))
    assert (np.diff(got["time"].astype(np.int64)) >= 0).all()
    assert 15 <= (got["partition"] == "ADA").sum() <= 20
    assert {*map(tuple, got["feature"])} <= {*map(tuple, two.read(("feature",))["feature"])}
    write_sample(of(tmp_path / "few", {"BTC": 5}), tmp_path / "few.parquet")
    assert open_table(tmp_path / "few.parquet").manifest.rows == 5


def test_frames_of_a_part_may_come_one_by_one(tmp_path: Path) -> None:
    frame = market(50, "BTC")
    whole = write(tmp_path / "whole", MARKET, [("BTC", frame)])
    pieces = write(tmp_path / "pieces", MARKET, [("BTC", (frame[first : first + 7] for first in range(0, 50, 7)))])
    assert pieces == whole
    assert files.digest_path(tmp_path / "pieces") == files.digest_path(tmp_path / "whole")


PROGRAM = """
import sys
from pathlib import Path
import polars as pl
from tapeline.tables.writing import write, write_sample
from tapeline.tables.table import open_table
from tests.tables.tables import FACES, MARKET, faces, market

assert pl.thread_pool_size() == int(sys.argv[2])
folder = Path(sys.argv[1])
frame = market(150_000, "BTC")
write(folder / "market", MARKET, [("BTC", frame if sys.argv[2] == "1" else (frame[:70_001], frame[70_001:]))])
write(folder / "faces", FACES, [("all", faces(2_000)[0])])
write_sample(open_table(folder / "market"), folder / "sample.parquet")
"""


def test_one_and_two_threads_give_the_same_bytes(tmp_path: Path) -> None:
    for threads in ("1", "2"):
        environment = {**os.environ, "POLARS_MAX_THREADS": threads}
        subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / threads), threads], env=environment, check=True)
    assert files.digest_path(tmp_path / "1") == files.digest_path(tmp_path / "2")


def test_parts_written_one_by_one_make_the_same_table(tmp_path: Path) -> None:
    from tapeline.tables.spec import complete

    whole = of(tmp_path / "whole", {"BTC": 20, "ADA": 10})
    parts = [
        write_part(tmp_path, MARKET, name, market(rows, name, seed))
        for name, rows, seed in (("ADA", 10, 1), ("BTC", 20, 0))
    ]
    assert complete(MARKET, parts) == whole.manifest
    assert (tmp_path / "ADA.parquet").read_bytes() == (tmp_path / "whole" / "ADA.parquet").read_bytes()


def test_the_manifest_file_is_json_of_schema_1(two: Table) -> None:
    written = json.loads((two.path / "manifest.json").read_text())
    assert written["schema"] == 1
    assert written == json.loads(json.dumps(to_json(two.manifest)))
    assert sorted(path.name for path in two.path.iterdir()) == ["ADA.parquet", "BTC.parquet", "manifest.json"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda frame: frame.reverse(), "order of time"),
        (lambda frame: frame.drop("weight"), "not those of the header"),
        (lambda frame: frame.with_columns(more=1), "not those of the header"),
        (lambda frame: frame.with_columns(volume=pl.lit(None, dtype=pl.Int64)), "missing values"),
        (lambda frame: frame.with_columns(asset=pl.lit(None, dtype=pl.String)), "missing values"),
    ],
)
def test_a_frame_that_does_not_fit_leaves_nothing(tmp_path: Path, change: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        write(tmp_path / "t", MARKET, [("BTC", change(market(5, "BTC")))])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("image", [pl.Series([b"ab"]), pl.Series([[1, 2]]), pl.Series([None], dtype=pl.Binary)])
def test_an_image_of_another_shape_is_our_bug(tmp_path: Path, image: pl.Series) -> None:
    frame, _ = faces(1)
    with pytest.raises(ValueError, match="shape"):
        write(tmp_path / "t", FACES, [("all", frame.with_columns(image=image))])
