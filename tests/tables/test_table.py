"""Tables on disk: every kind of column comes back, batches are the whole, and bytes depend on values alone."""

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
from hypothesis import given, settings
from hypothesis import strategies as st

from tapeline import files
from tapeline.errors import Refused
from tapeline.tables import table as tables
from tapeline.tables.spec import Column, Manifest, to_json
from tapeline.tables.splits import ByGroup, Chronological, of_table
from tapeline.tables.table import Table, empty, merge_order, open_table, row_group
from tapeline.tables.windows import SIDES, Window, rows_of
from tapeline.tables.writing import write, write_part, write_sample

Array = np.ndarray[Any, Any]
MARKET = Manifest(
    task="regression",
    dataset="market",
    columns=(
        Column("time", "time", "datetime64[us]"),
        Column("asset", "partition", "str"),
        Column("return_1", "feature", "float32"),
        Column("hour", "feature", "uint8"),
        Column("target", "target", "float64"),
        Column("weight", "weight", "float64"),
        Column("last_close", "context", "float64"),
        Column("volume", "context", "int64"),
    ),
    outputs=("return",),
    extra={"source": "simulated"},
)
FACES = Manifest(
    task="keypoints",
    dataset="faces",
    columns=(
        Column("row", "row", "int64"),
        Column("person", "group", "str"),
        Column("image", "feature", "uint8", (96, 96)),
        Column("nose_x", "target", "float32"),
        Column("nose_y", "target", "float32"),
    ),
    outputs=("nose_x", "nose_y"),
    feature_shape=(96, 96),
)


def market(rows: int, asset: str, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "time": np.datetime64("2020-01-01", "us") + np.arange(rows) * np.timedelta64(60, "s"),
            "asset": [asset] * rows,
            "return_1": rng.standard_normal(rows),
            "hour": np.arange(rows) % 24,
            "target": pl.Series([None if each % 7 == 0 else each / 3 for each in range(rows)], dtype=pl.Float64),
            "weight": rng.random(rows),
            "last_close": rng.random(rows),
            "volume": 2**53 + np.arange(rows),
        }
    )


def faces(rows: int) -> tuple[pl.DataFrame, Array]:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (rows, 96, 96), dtype=np.uint8)
    columns = {"row": np.arange(rows), "person": [f"p{each // 3}" for each in range(rows)], "image": images}
    missing = np.where(rng.random(rows) < 0.4, np.nan, rng.random(rows))
    return pl.DataFrame({**columns, "nose_x": missing, "nose_y": rng.random(rows)}), images


def of(folder: Path, rows: dict[str, int]) -> Table:
    write(folder, MARKET, ((name, market(count, name, seed)) for seed, (name, count) in enumerate(rows.items())))
    return open_table(folder)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Small row groups, so that blocks have edges."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "ROW_GROUP_ROWS", 16)
        return of(tmp_path_factory.mktemp("tables") / "table", {"BTC": 100, "ADA": 37})


@pytest.fixture(autouse=True)
def small_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 16)


def test_every_kind_of_column_comes_back(two: Table) -> None:
    frame = market(100, "BTC", 0)
    names = ("time", "partition", "feature", "target", "weight", "last_close", "volume", "hour")
    got = two.read(names, {"BTC": slice(None)})
    assert [part.id for part in two.manifest.parts] == ["ADA", "BTC"]
    assert got["time"].dtype == np.dtype("datetime64[us]")
    assert (got["time"] == frame["time"].to_numpy()).all()
    assert set(got["partition"]) == {"BTC"}
    assert (got["feature"].dtype, got["feature"].shape) == (np.float32, (100, 2))
    assert (got["feature"][:, 0] == frame["return_1"].to_numpy().astype(np.float32)).all()
    assert (got["feature"][:, 1] == np.arange(100) % 24).all()
    assert np.isnan(got["target"][::7]).all()
    assert got["target"][1] == 1 / 3
    assert (got["weight"] == frame["weight"].to_numpy()).all()
    assert got["volume"].tolist() == (2**53 + np.arange(100)).tolist()
    assert_equal(got["hour"], got["feature"][:, 1])


def test_whole_numbers_are_int64_targets(tmp_path: Path) -> None:
    columns = (
        Column("time", "time", "datetime64[D]"),
        Column("a", "feature", "float32"),
        Column("target", "target", "int64"),
    )
    header = Manifest("direction", "indices", columns, ("down",))
    days = np.datetime64("2010-01-13") + np.arange(5)
    write(tmp_path / "t", header, [("all", pl.DataFrame({"time": days, "a": [0.5] * 5, "target": [0, 1, 0, 1, 1]}))])
    table = open_table(tmp_path / "t")
    got = table.read(("feature", "target", "time"))
    assert (got["target"].dtype, got["target"].shape, got["feature"].shape) == (np.int64, (5,), (5, 1))
    assert got["time"].dtype == np.dtype("datetime64[D]")
    assert (table.manifest.parts[0].first, table.manifest.parts[0].last) == ("2010-01-13", "2010-01-17")


@pytest.mark.parametrize("stored", ["array", "flat", "list", "bytes"])
def test_images_come_back_whatever_they_were(tmp_path: Path, stored: str) -> None:
    frame, images = faces(40)
    flat = pl.Series("image", images.reshape(40, -1))
    as_written = {
        "array": frame["image"],
        "flat": flat,
        "list": flat.arr.to_list(),
        "bytes": pl.Series("image", [each.tobytes() for each in images]),
    }
    write(tmp_path / "t", FACES, [("all", frame.with_columns(image=as_written[stored]))])
    table = open_table(tmp_path / "t")
    got = table.read(("feature", "target", "group", "row"))
    assert got["feature"].dtype == np.uint8
    assert (got["feature"] == images).all()
    assert got["target"].dtype == np.float64
    assert got["target"].shape == (40, 2)
    assert np.isnan(got["target"]).any()
    assert got["group"].tolist() == frame["person"].to_list()
    assert table.manifest.digest == write(tmp_path / "again", FACES, [("all", frame)]).digest


def test_a_feature_of_several_float32_comes_back(tmp_path: Path) -> None:
    columns = (Column("row", "row", "int64"), Column("series", "feature", "float32", (3,)))
    values = np.array([[0.5, np.nan, -2], [1e9, 0, 3]], dtype=np.float32)
    write(
        tmp_path / "t",
        Manifest("direction", "series", columns, (), (3,)),
        [("all", pl.DataFrame({"row": [0, 1], "series": values}))],
    )
    assert_equal(open_table(tmp_path / "t").read(("feature",))["feature"], values)
    stored = pl.read_parquet(tmp_path / "t" / "all.parquet")["series"].to_list()
    assert stored == [each.astype("<f4").tobytes() for each in values]


selections = st.one_of(
    st.none(),
    st.fixed_dictionaries({}, optional={"BTC": st.slices(100), "ADA": st.slices(37)}).map(
        lambda chosen: {part: each for part, each in chosen.items() if (each.step or 1) > 0}
    ),
    st.fixed_dictionaries({}, optional={"BTC": st.sets(st.integers(0, 99)), "ADA": st.sets(st.integers(0, 36))}).map(
        lambda chosen: {part: np.array(sorted(each), dtype=np.int64) for part, each in chosen.items()}
    ),
)


@settings(deadline=None)
@given(rows=selections, size=st.none() | st.integers(1, 60))
def test_batches_are_the_whole_of_what_is_chosen(two: Table, rows: dict[str, Any] | None, size: int | None) -> None:
    names = ("time", "feature", "target", "partition")
    whole = two.read(names)
    first = {"ADA": 0, "BTC": 37}
    chosen = {"ADA": slice(None), "BTC": slice(None)} if rows is None else rows
    positions = [
        first[part] + np.arange(100 if part == "BTC" else 37)[chosen[part]] for part in first if part in chosen
    ]
    expected = np.concatenate(positions) if positions else np.empty(0, dtype=np.int64)
    batches = list(two.batches(names, rows, size))
    assert all(0 < len(batch) <= (size or 16) for batch in batches)
    assert [first[batch.part] + row for batch in batches for row in batch.rows.tolist()] == expected.tolist()
    read = two.read(names, rows)
    for name in names:
        assert_equal(read[name], whole[name][expected])
        if batches:
            assert_equal(np.concatenate([batch[name] for batch in batches]), whole[name][expected])


def assert_equal(left: Array, right: Array) -> None:
    assert left.dtype == right.dtype
    np.testing.assert_array_equal(left, right)


@settings(deadline=None)
@given(st.lists(st.integers(0, 136), max_size=30))
def test_single_rows_come_in_the_order_asked(two: Table, positions: list[int]) -> None:
    whole = two.read(("feature", "time"))
    asked = np.array(positions, dtype=np.int64)
    parts = (asked >= 37).astype(np.int64)
    got = two.take(("feature", "time"), parts, np.where(parts == 1, asked - 37, asked))
    for name, values in got.items():
        assert_equal(values, whole[name][asked])


def test_arrays_of_the_caller_are_filled(two: Table, tmp_path: Path) -> None:
    shape = empty(two.manifest, "feature", 137).shape
    mapped = np.memmap(tmp_path / "features", dtype=np.float32, mode="w+", shape=shape)
    assert two.read(("feature",), out={"feature": mapped})["feature"] is mapped
    assert (np.asarray(mapped) == two.read(("feature",))["feature"]).all()


def test_a_row_group_is_smaller_where_rows_are_large() -> None:
    assert row_group(MARKET.columns) == 16
    wide = (*FACES.columns, Column("deep", "context", "float32", (1024, 1024)))
    assert row_group(wide) == 2


def test_parts_merge_in_the_order_of_time_and_part(two: Table) -> None:
    times = [two.times(part.id) for part in two.manifest.parts]
    order = merge_order(times)
    pairs = [(time, part) for part, each in enumerate(times) for time in each.tolist()]
    assert [pairs[position] for position in order.tolist()] == sorted(pairs)


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
from tests.tables.test_table import FACES, MARKET, faces, market

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


@pytest.mark.parametrize("names", [("feature", "nothing"), ("context",), ("group",)])
def test_a_role_that_makes_no_array_is_our_bug(two: Table, names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="no role"):
        two.read(names)


def test_images_are_split_by_group_through_the_same_interface(tmp_path: Path) -> None:
    frame, images = faces(60)
    write(tmp_path / "t", FACES, [("all", frame)])
    table = open_table(tmp_path / "t")
    split = ByGroup(name="by_group", train=0.7, validation=None, seed=3)
    (window,) = of_table(split, table, None, 0.2)
    people, seen = frame["person"].to_numpy(), 0
    groups: list[set[str]] = []
    for side in SIDES:
        rows = rows_of(window, table, side)
        got = table.read(("feature", "group"), rows)
        assert (got["feature"] == images[rows["all"]]).all()
        groups.append(set(people[rows["all"]]))
        seen += len(got["group"])
    assert seen == 60
    assert len(set.union(*groups)) == sum(map(len, groups)) == 20


def test_periods_of_all_parts_choose_rows_of_each(two: Table) -> None:
    split = Chronological(name="chronological", train=0.2, validation=None, purge=None)
    (window,) = of_table(split, two, None)
    assert isinstance(window, Window)
    assert rows_of(window, two, "train") == {"ADA": slice(0, 20), "BTC": slice(0, 20)}
    assert rows_of(window, two, "test") == {"ADA": slice(20, 37), "BTC": slice(20, 100)}
    with pytest.raises(Refused, match="group"):
        of_table(ByGroup(name="by_group", train=0.7, validation=None, seed=3), two, None)
