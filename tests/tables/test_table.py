"""Tables on disk: every kind of column comes back, batches are the whole, and bytes depend on values alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeline.errors import Refused
from tapeline.tables.spec import Column, Manifest
from tapeline.tables.splits import of_table
from tapeline.tables.splits.by_group import Section as ByGroup
from tapeline.tables.splits.chronological import Section as Chronological
from tapeline.tables.table import Table, empty, merge_order, open_table, row_group
from tapeline.tables.windows import SIDES, Window, rows_of
from tapeline.tables.writing import write
from tests.tables.tables import FACES, MARKET, assert_equal, faces, market


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


@pytest.mark.parametrize("names", [("feature", "nothing"), ("context",), ("group",)])
def test_a_role_that_makes_no_array_is_our_bug(two: Table, names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="a role that makes an array"):
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
