"""Faces: what is drawn, what is read from Kaggle's files, and which images stay together."""

from __future__ import annotations

import gzip
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tapeline import lookup
from tapeline.datasets import faces
from tapeline.datasets.faces import near_duplicates, simulation
from tapeline.datasets.faces.shape import IMAGE, LABELS, SIDE
from tapeline.datasets.sources import csv, kaggle
from tapeline.errors import Refused
from tapeline.tables import splits, writing
from tapeline.tables.table import open_table
from tapeline.tables.windows import rows_of
from tests.conftest import DATA
from tests.faces import as_text, changed, pixels, write

Change = Callable[[pl.DataFrame], pl.DataFrame]
REAL = DATA / "faces"


def section(*overrides: str) -> faces.Section:
    found = lookup.configure(["dataset=faces", *overrides]).dataset
    assert isinstance(found, faces.Section)
    return found


def read(path: Path, *overrides: str) -> pl.DataFrame:
    return faces.ingest(section(*overrides), csv.scan(path, path.name), path.name)


def test_drawn_faces_have_the_statistics_of_the_real_ones() -> None:
    labels = simulation.simulate(0, 300).select(LABELS).to_numpy()
    known = np.isfinite(labels)
    np.testing.assert_allclose(np.nanmean(labels, axis=0), np.ravel(simulation.MEAN), atol=2.5)
    spread = np.nanstd(labels, axis=0)
    assert (spread > 1.3).all()
    assert (spread < 5.5).all()
    assert known[:, LABELS.index("nose_tip_x")].all()
    assert known.all(axis=1).mean() == pytest.approx(2140 / 7049, abs=0.08)
    assert (known[:, ::2] == known[:, 1::2]).all()
    assert (np.nanmin(labels) >= 0, np.nanmax(labels) <= SIDE) == (True, True)


def test_a_seed_repeats_and_another_differs() -> None:
    one, again, other = (simulation.simulate(seed, 20) for seed in (1, 1, 2))
    assert one.equals(again)
    assert not one.equals(other)


def test_text_and_bytes_and_lists_are_the_same_images(tmp_path: Path) -> None:
    drawn = simulation.simulate(0, 20)
    from_text = read(write(tmp_path / "training.csv", as_text(20)))
    lists = drawn.with_columns(pl.Series(IMAGE, pixels(drawn).reshape(20, -1).tolist(), pl.List(pl.Int64)))
    for frame in (drawn, lists):
        found = faces.ingest(section(), frame.lazy(), "faces.parquet")
        assert found["image"].equals(from_text["image"])
        np.testing.assert_allclose(found.select(LABELS).to_numpy(), from_text.select(LABELS).to_numpy())
    assert from_text["row"].to_list() == list(range(20))


WRONG: dict[str, tuple[Change, str]] = {
    "a smaller image": (
        lambda frame: changed(frame, IMAGE, 2, " ".join(["7"] * 2304)),
        r"column Image, row 3: the image has 2,304 values, not 9,216; resize images of 48 x 48 pixels to 96 x 96",
    ),
    "a text that is cut off": (
        lambda frame: changed(frame, IMAGE, 3, frame[IMAGE][3][:5000].rsplit(" ", 1)[0]),
        r"column Image, row 4: the image has [0-9,]+ values, not 9,216; .*cut off",
    ),
    "no image": (lambda frame: changed(frame, IMAGE, 1, None), r"column Image, row 2: the image is missing"),
    "a word in an image": (
        lambda frame: changed(frame, IMAGE, 0, frame[IMAGE][0].replace(" ", " grey ", 1)),
        r"column Image, row 1: 'grey' is not a grey value",
    ),
    "a grey value above 255": (
        lambda frame: changed(frame, IMAGE, 1, "256" + frame[IMAGE][1][len(frame[IMAGE][1].split()[0]) :]),
        r"column Image, row 2: the grey value 256 is not from 0 to 255",
    ),
    "a negative grey value": (
        lambda frame: changed(frame, IMAGE, 1, "-1" + frame[IMAGE][1][len(frame[IMAGE][1].split()[0]) :]),
        r"column Image, row 2: the grey value -1 is not from 0 to 255",
    ),
    "shares of white": (
        lambda frame: changed(frame, IMAGE, 1, " ".join(["0.5"] * SIDE * SIDE)),
        r"column Image, row 2: '0.5' is not a grey value",
    ),
    "a label outside the image": (
        lambda frame: changed(frame, "nose_tip_x", 4, 96.5),
        r"column nose_tip_x, row 5: 96.5 lies outside the image",
    ),
    "a negative label": (
        lambda frame: changed(frame, "nose_tip_y", 4, -0.5),
        r"column nose_tip_y, row 5: -0.5 lies outside the image",
    ),
    "half a point": (
        lambda frame: changed(frame, "nose_tip_y", 4, None),
        r"column nose_tip_y, row 5: is missing, and nose_tip_x is there",
    ),
    "a word as a label": (
        lambda frame: changed(frame, "nose_tip_x", 4, "left"),
        r"column nose_tip_x, row 5: 'left' is not a number",
    ),
    "no label in a row": (
        lambda frame: frame.with_columns(
            pl.when(pl.int_range(pl.len()) != 2).then(pl.col(name)).alias(name) for name in LABELS
        ),
        r"training.csv, row 3: every label is missing",
    ),
    "a missing column": (lambda frame: frame.drop("nose_tip_x"), r"training.csv: has no column nose_tip_x"),
    "the columns of test.csv": (
        lambda frame: frame.select(pl.int_range(1, pl.len() + 1).alias("ImageId"), IMAGE),
        r"images without labels, as test.csv; .*predict rows=test.csv",
    ),
    "no rows": (lambda frame: frame.head(0), r"training.csv: has no rows"),
}


@pytest.fixture(scope="module")
def text() -> pl.DataFrame:
    return as_text(6)


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_named_by_column_and_row(
    tmp_path: Path, text: pl.DataFrame, change: Change, said: str
) -> None:
    with pytest.raises(Refused, match=said):
        read(write(tmp_path / "training.csv", change(text)))


@pytest.mark.parametrize("path", ["training.zip", "facial-keypoints-detection.zip", "folder"])
def test_kaggles_archives_are_read(tmp_path: Path, text: pl.DataFrame, path: str) -> None:
    """training.csv lies in training.zip, which the archive of the competition or a folder may hold beside others."""
    (tmp_path / "folder").mkdir()
    with zipfile.ZipFile(tmp_path / "folder" / "training.zip", "w") as archive:
        archive.writestr("training.csv", text.write_csv())
    (tmp_path / "folder" / "test.zip").write_bytes(b"another")
    shutil.copy(tmp_path / "folder" / "training.zip", tmp_path)
    shutil.make_archive(str(tmp_path / "facial-keypoints-detection"), "zip", tmp_path / "folder")
    record = section("dataset.source=csv", f"dataset.path={tmp_path / path}")
    (tmp_path / "scratch").mkdir()
    frame, where = csv.read(record, faces.simulate, tmp_path / "scratch")
    assert len(faces.ingest(record, frame, where)) == len(text)


def test_kaggle_is_asked_for_the_archive(tmp_path: Path, text: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def downloaded(competition: str, file: str, folder: Path, credentials: object) -> Path:
        asked.append((competition, file))
        with zipfile.ZipFile(folder / file, "w") as archive:
            archive.writestr("training.csv", text.write_csv())
        return folder / file

    monkeypatch.setattr(kaggle, "_downloaded", downloaded)
    monkeypatch.setenv("KAGGLE_API_TOKEN", "a-token")
    record = section("dataset.source=kaggle")
    frame, where = lookup.source(record).read(record, faces.simulate, tmp_path)
    assert asked == [("facial-keypoints-detection", "training.zip")]
    assert len(faces.ingest(section(), frame, where)) == len(text)


def test_all_mistakes_are_named_at_once(tmp_path: Path, text: pl.DataFrame) -> None:
    frame = changed(changed(text, "nose_tip_x", 4, 200), IMAGE, 1, "1 2 3")
    with pytest.raises(Refused) as caught:
        read(write(tmp_path / "training.csv", frame))
    assert len(caught.value.findings) == 2


def test_a_file_that_ends_in_a_row_is_refused(tmp_path: Path, text: pl.DataFrame) -> None:
    path = write(tmp_path / "training.csv", text)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(Refused, match=r"row [0-9]: .*(cut off|values)"):
        read(path)


def groups(images: Any, persons: list[str | None] | None = None) -> list[str]:
    return near_duplicates.groups_of(images, persons or [None] * len(images))


def test_copies_that_are_shifted_or_lighter_are_one_group() -> None:
    images = pixels(simulation.simulate(3, 30))
    shifted = np.concatenate([np.roll(images[:10], 1, axis=2), np.roll(images[10:20], -1, axis=1)])
    lighter = (images[20:] * 0.8 + 30).astype(np.uint8)
    found = groups(np.concatenate([images, shifted, lighter]))
    assert found[30:] == found[:30] == [str(row) for row in range(30)]


def test_a_person_is_one_group_with_the_copies_of_any_image() -> None:
    images = pixels(simulation.simulate(4, 6))
    images = np.concatenate([images, images[2:3]])
    assert groups(images, ["a", "b", "a", None, None, "c", "b"]) == ["0", "0", "0", "3", "4", "5", "0"]


@pytest.mark.parametrize("split", ["by_group", "by_row"])
def test_a_shifted_copy_never_stands_on_the_other_side(tmp_path: Path, split: str) -> None:
    drawn = simulation.simulate(5, 40)
    copies = np.roll(pixels(drawn), 1, axis=1)
    twice = pl.concat([drawn, drawn.with_columns(pl.Series(IMAGE, [each.tobytes() for each in copies]))])
    record = section()
    header, parts = faces.table(record, faces.ingest(record, twice.lazy(), "faces"))
    writing.write(tmp_path / "table", header, parts)
    table = open_table(tmp_path / "table")
    for seed in range(3):
        chosen = lookup.configure(["dataset=faces", f"split={split}", f"split.seed={seed}"]).split
        (window,) = splits.of_table(chosen, table, None, 0.15)
        sides = [set(rows_of(window, table, side)["all"].tolist()) for side in ("train", "validation", "test")]  # type: ignore[union-attr]
        assert set.union(*sides) == set(range(80))
        for row in range(40):
            assert sum({row, row + 40} <= side for side in sides) == 1


def test_the_column_of_persons_is_read_and_has_to_be_there(tmp_path: Path, text: pl.DataFrame) -> None:
    path = write(tmp_path / "training.csv", text.with_columns(pl.Series("who", ["a", "b", "c", "a", "b", "c"])))
    raw = read(path, "dataset.group_column=who")
    _, ((_, frame),) = faces.table(section(), raw)
    assert isinstance(frame, pl.DataFrame)
    assert frame["group"].to_list() == ["0", "1", "2", "0", "1", "2"]
    with pytest.raises(Refused, match="has no column person"):
        read(path, "dataset.group_column=person")


def test_the_genuine_rows_load(tmp_path: Path) -> None:
    path = REAL / "kaggle_first22_with_images.csv.gz"
    if not path.is_file():
        pytest.skip(f"the real data is not here ({path}); set TAPELINE_DATA")
    (tmp_path / "training.csv").write_bytes(gzip.decompress(path.read_bytes()))
    raw = read(tmp_path / "training.csv")
    assert raw.shape == (22, 33)
    assert raw["image"].bin.size().unique().to_list() == [SIDE * SIDE]
