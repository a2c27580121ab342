"""Raw data on disk: a folder of parts, or one part in one file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tapeline import files
from tapeline.errors import Refused
from tapeline.tables import raw as raws

BTC = pl.DataFrame({"time": [1, 2, 3], "close": [1.5, 2.5, 3.5]})
ADA = pl.DataFrame({"time": [2, 3], "close": [0.5, 0.25]})


def test_a_folder_has_a_file_for_each_part_in_the_order_of_ids(tmp_path: Path) -> None:
    raws.write(tmp_path / "raw", [("BTC", BTC), ("ADA", ADA)])
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["ADA.parquet", "BTC.parquet"]
    parts = raws.scan(tmp_path / "raw")
    assert list(parts) == ["ADA", "BTC"]
    assert parts["BTC"].collect().equals(BTC)
    assert parts["ADA"].collect().equals(ADA)
    with pytest.raises(ValueError, match="2 parts"):
        raws.read(tmp_path / "raw")


@pytest.mark.parametrize("name", ["raw", "raw.parquet"])
def test_a_single_part_is_read_from_a_folder_or_a_file(name: str, tmp_path: Path) -> None:
    raws.write(tmp_path / name, [("all", BTC)])
    assert (tmp_path / name).is_dir() is (name == "raw")
    assert raws.read(tmp_path / name).equals(BTC)
    assert len(raws.scan(tmp_path / name)) == 1


def test_the_same_parts_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        raws.write(tmp_path / name, [("BTC", BTC), ("ADA", ADA)])
    assert files.digest_path(tmp_path / "a") == files.digest_path(tmp_path / "b")


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        (["../BTC"], "cannot be a file's name"),
        (["BTC", "BTC"], "occurs twice"),
        (["BTC", "btc"], "only by case"),
        ([""], "cannot be a file's name"),
        (["x" * 41], "cannot be a file's name"),
    ],
)
@pytest.mark.parametrize("there", [True, False], ids=["something is there", "nothing is there"])
def test_an_id_that_cannot_be_a_files_name_is_refused_and_nothing_is_left(
    ids: list[str], says: str, there: bool, tmp_path: Path
) -> None:
    if there:
        raws.write(tmp_path / "raw", [("all", ADA)])
    with pytest.raises(Refused, match=says):
        raws.write(tmp_path / "raw", ((name, BTC) for name in ids))
    assert [path.name for path in tmp_path.iterdir()] == (["raw"] if there else [])
    assert not there or raws.read(tmp_path / "raw").equals(ADA), "what was there stays as it was"


def test_several_parts_for_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="name a folder"):
        raws.write(tmp_path / "raw.parquet", [("BTC", BTC), ("ADA", ADA)])
    assert list(tmp_path.iterdir()) == []


def test_parts_are_taken_one_at_a_time(tmp_path: Path) -> None:
    """A part is on disk before the next one is made."""
    seen: list[list[str]] = []

    def parts() -> Iterator[tuple[str, pl.DataFrame]]:
        for name, frame in (("ADA", ADA), ("BTC", BTC)):
            seen.append(sorted(path.name for path in tmp_path.rglob("*.parquet")))
            yield name, frame

    raws.write(tmp_path / "raw", parts())
    assert seen == [[], ["ADA.parquet"]]
