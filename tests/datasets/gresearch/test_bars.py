"""Files of minute bars: where they may lie, what is refused, and what is kept of them."""

from __future__ import annotations

import gzip
import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import polars as pl
import pytest

from tapeline import lookup
from tapeline.datasets import gresearch
from tapeline.datasets.gresearch import simulation
from tapeline.datasets.gresearch.assets import COMPETITION
from tapeline.errors import Refused
from tests.datasets.gresearch.conftest import section

Frame = pl.DataFrame
DETAILS = b"Asset_ID,Weight,Asset_Name\n" + b"".join(
    f"{number},{each.weight},{each.name}\n".encode() for number, each in COMPETITION.items()
)


def ingest(*overrides: str) -> dict[str, Frame]:
    """The raw parts, as the step ingest makes them."""
    dataset: Any = lookup.configure(["dataset=gresearch", *overrides]).dataset
    with tempfile.TemporaryDirectory() as folder:
        frame, where = lookup.source(dataset).read(dataset, gresearch.simulate, Path(folder))
        return dict(gresearch.ingest(dataset, frame, where))


def refusal(*overrides: str) -> list[str]:
    with pytest.raises(Refused) as error:
        ingest(*overrides)
    return [str(each) for each in error.value.findings]


@pytest.fixture(scope="module")
def few(simulated: Frame) -> Frame:
    """An hour and more of two assets."""
    last = simulated.filter(pl.col("Asset_ID").is_in([1, 6])).sort("timestamp", "Asset_ID").tail(200)
    return last.with_columns(Target=pl.int_range(200).cast(pl.Float64) / 1e5)


def written(folder: Path, frame: Frame) -> Path:
    path = folder / "train.csv"
    frame.write_csv(path)
    return path


def test_parts_hold_the_bars_of_an_asset_in_the_order_of_time(simulated: Frame, raw: dict[str, Frame]) -> None:
    assert sum(map(len, raw.values())) == len(simulated)
    assert sorted(raw) == [f"{number:02d}" for number in range(14)]
    for name, part in raw.items():
        own = simulated.filter(pl.col("Asset_ID") == int(name)).sort("timestamp")
        assert part["time"].is_sorted()
        assert part["time"].dt.epoch("s").to_list() == own["timestamp"].to_list()
        assert part["close"].equals(own["Close"])
        assert part["weight"].unique().to_list() == [COMPETITION[int(name)].weight]


@pytest.mark.parametrize("form", ["csv", "gz", "zip", "nested", "folder", "parquet", "zipped folder", "memory"])
def test_a_file_may_lie_in_many_places(few: Frame, tmp_path: Path, form: str) -> None:
    plain = written(tmp_path, few)
    content, overrides = plain.read_bytes(), [f"dataset.path={plain}"]
    wanted = ingest("dataset.source=csv", *overrides)
    path = tmp_path / f"other.{form}"
    if form == "gz":
        path.write_bytes(gzip.compress(content))
    elif form in ("zip", "zipped folder", "nested"):
        path = tmp_path / "other.zip"
        path.write_bytes(archive(content, nested=form == "nested", folder="" if form == "zip" else "data/"))
    elif form == "folder":
        path.mkdir()
        (path / "train.csv").write_bytes(content)
    elif form == "parquet":
        few.write_parquet(path)
    elif form == "memory":
        with fsspec.open("memory://bars/train.csv", "wb") as file:
            file.write(content)
        path = "memory://bars/train.csv"  # type: ignore[assignment]
    else:
        path = plain
    source = "parquet" if form == "parquet" else "csv"
    found = ingest(f"dataset.source={source}", f"dataset.path={path}")
    assert found.keys() == wanted.keys()
    assert all(found[name].equals(wanted[name]) for name in wanted)


def archive(content: bytes, *, nested: bool = False, folder: str = "") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as inside:
        inside.writestr(f"{folder}example_test.csv", "timestamp\n1\n")
        inside.writestr(f"{folder}asset_details.csv", DETAILS)
        name, data = (f"{folder}train.csv.zip", archive_of_one(content)) if nested else (f"{folder}train.csv", content)
        inside.writestr(name, data)
    return packed.getvalue()


def archive_of_one(content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as inside:
        inside.writestr("train.csv", content)
    return packed.getvalue()


@pytest.mark.parametrize("zipped", [False, True])
def test_weights_come_from_asset_details_beside_the_file(few: Frame, tmp_path: Path, zipped: bool) -> None:
    path = written(tmp_path, few)
    details = b"Asset_ID,Weight,Asset_Name\n1,2.5,One\n6,0.5,Six\n"
    if zipped:
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as inside:
            inside.write(path, "train.csv")
            inside.writestr("asset_details.csv", details)
        path = tmp_path / "all.zip"
    else:
        (tmp_path / "asset_details.csv").write_bytes(details)
    found = ingest("dataset.source=csv", f"dataset.path={path}")
    assert {name: part["weight"][0] for name, part in found.items()} == {"01": 2.5, "06": 0.5}


def test_other_weights_are_other_data(few: Frame, tmp_path: Path) -> None:
    dataset = section("dataset.source=csv", f"dataset.path={written(tmp_path, few)}")
    source = lookup.source(dataset)
    before = source.seen(dataset)
    (tmp_path / "asset_details.csv").write_bytes(DETAILS)
    assert source.seen(dataset) not in (before, None)


def at(row: int, **values: Any) -> Callable[[Frame], Frame]:
    """The frame with other values in a row, counted from 1."""

    def changed(frame: Frame) -> Frame:
        here = pl.int_range(pl.len()) == row - 1
        return frame.with_columns(
            pl.when(here).then(pl.lit(new)).otherwise(pl.col(name)).alias(name) for name, new in values.items()
        )

    return changed


def every(seconds: int) -> Callable[[Frame], Frame]:
    return lambda frame: frame.with_columns(
        pl.from_epoch("timestamp").rank("dense").cast(pl.Int64).alias("timestamp") * seconds
    )


REFUSED: dict[str, tuple[Callable[[Frame], Frame], tuple[str, ...]]] = {
    "a bar twice": (lambda frame: pl.concat([frame, frame[9:10]]), ("row 201", "row 10")),
    "off the minute": (at(7, timestamp=1_600_000_001), ("timestamp, row 7", "minute")),
    "milliseconds": (
        lambda frame: frame.with_columns(pl.col("timestamp") * 1000),
        ("timestamp", "milliseconds", "200 rows"),
    ),
    "high below low": (at(3, High=1.0), ("High, row 3", "below")),
    "negative volume": (at(4, Volume=-1.0), ("Volume, row 4", "negative")),
    "a price of zero": (at(5, Open=0.0), ("Open, row 5", "price")),
    "no price": (at(6, Close=None), ("Close, row 6", "missing")),
    "an asset without a weight": (at(8, Asset_ID=77), ("Asset_ID", "row 8", "77", "weight")),
    "no column": (lambda frame: frame.drop("Volume", "Low"), ("Volume", "Low")),
    "no target": (lambda frame: frame.with_columns(Target=pl.lit(None, pl.Float64)), ("Target", "missing")),
    "hourly": (every(3600), ("hourly",)),
    "weekly": (every(604_800), ("weekly",)),
    "five minutes": (every(300), ("5-minute",)),
    "no rows": (lambda frame: frame.head(0), ("no rows",)),
}


@pytest.mark.parametrize(("source", "name"), [(source, name) for name in REFUSED for source in ("csv", "parquet")])
def test_a_wrong_file_is_refused_with_its_row(few: Frame, tmp_path: Path, name: str, source: str) -> None:
    change, wanted = REFUSED[name]
    path = tmp_path / f"train.{source}"
    frame = change(few)
    frame.write_csv(path) if source == "csv" else frame.write_parquet(path)
    record = refusal(f"dataset.source={source}", f"dataset.path={path}")
    for each in wanted:
        assert any(each in line for line in record), (each, record)
    assert all(str(path) in line for line in record)


def test_all_mistakes_are_named_at_once(few: Frame, tmp_path: Path) -> None:
    frame = at(3, High=1.0)(at(4, Volume=-1.0)(at(7, timestamp=1_600_000_001)(few)))
    record = refusal("dataset.source=csv", f"dataset.path={written(tmp_path, frame)}")
    assert len(record) == 3


@pytest.mark.parametrize("end", [".csv", ".csv.gz", ".zip", ".parquet"])
def test_a_file_that_is_cut_off_is_refused(few: Frame, tmp_path: Path, end: str) -> None:
    plain = written(tmp_path, few).read_bytes()
    path = tmp_path / f"cut{end}"
    if end == ".parquet":
        few.write_parquet(path)
        plain = path.read_bytes()
    content = {".csv": plain, ".csv.gz": gzip.compress(plain), ".zip": archive(plain), ".parquet": plain}[end]
    path.write_bytes(content[: len(content) * 2 // 3])
    source = "parquet" if end == ".parquet" else "csv"
    assert str(path) in refusal(f"dataset.source={source}", f"dataset.path={path}")[0]


@pytest.mark.parametrize(
    ("details", "wanted"),
    [
        (b"Asset_ID,Name\n1,x\n", "Weight"),
        (b"Asset_ID,Weight\n1,-2\n6,x\n", "row 1"),
        (b"Asset_ID,Weight\n1,2\n1,3\n", "row 2"),
        (b"Asset_ID,Weight\n", "no rows"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_wrong_asset_details_are_refused(few: Frame, tmp_path: Path, details: bytes, wanted: str) -> None:
    path = written(tmp_path, few)
    (tmp_path / "asset_details.csv").write_bytes(details)
    record = refusal("dataset.source=csv", f"dataset.path={path}")
    assert any("asset_details.csv" in line and wanted in line for line in record), record


def test_an_archive_without_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as inside:
        inside.writestr("a.csv", "1")
        inside.writestr("b.csv", "1")
    assert "train.csv" in refusal("dataset.source=csv", f"dataset.path={path}")[0]
    assert "train.csv" in refusal("dataset.source=csv", f"dataset.path={tmp_path}")[0]


def test_from_until_and_assets_keep_some_bars(few: Frame, tmp_path: Path) -> None:
    path = written(tmp_path, few)
    where = ["dataset.source=csv", f"dataset.path={path}"]
    times = few["timestamp"].unique().sort()
    first, last = (str(np.datetime64(times[at], "s")) for at in (10, 20))
    found = ingest(*where, f"dataset.from={first}", f"dataset.until={last}", "dataset.assets=[6]")
    wanted = few.filter((pl.col("Asset_ID") == 6) & pl.col("timestamp").is_between(times[10], times[20]))
    assert list(found) == ["06"]
    assert found["06"]["close"].to_list() == wanted["Close"].to_list()
    assert len(ingest(*where, "dataset.until=2021-09-21")) == 2
    assert "asset 3" in refusal(*where, "dataset.assets=[3]")[0]
    assert "no bar is left" in refusal(*where, "dataset.from=2030-01-01")[0]


@pytest.mark.parametrize(
    "wrong",
    [
        "dataset.from=yesterday",
        "dataset.until=2020-13-01",
        "dataset.assets=[]",
        "dataset.assets=[1,1]",
        "dataset.rows=10",
    ],
)
def test_wrong_keys_are_refused(wrong: str) -> None:
    with pytest.raises(Refused) as error:
        lookup.configure(["dataset=gresearch", wrong])
    assert wrong.partition("=")[0] in str(error.value).replace("from_", "from")


def test_simulated_bars_have_the_statistics_of_the_real_ones() -> None:
    frame = gresearch.simulate(1, 60_000)
    assert frame.equals(gresearch.simulate(1, 60_000))
    assert len(frame) == 60_000
    assert 0.02 < frame["Target"].null_count() / len(frame) < 0.05
    assert (frame["High"] >= frame.select(pl.max_horizontal("Open", "Close", "Low")).to_series()).all()
    assert (frame["Low"] <= frame.select(pl.min_horizontal("Open", "Close")).to_series()).all()
    rows = dict(frame.group_by("Asset_ID").len().iter_rows())
    most = rows[1]
    for asset, each in simulation.ASSETS.items():
        assert rows[asset] / most == pytest.approx((1 - each.start) * (1 - each.missing), abs=0.2)
    wide = frame.pivot("Asset_ID", index="timestamp", values="Close").sort("timestamp")
    moves = wide.select(pl.col(str(asset)).log().diff() for asset in (0, 1, 6)).drop_nulls().to_numpy()
    assert np.corrcoef(moves.T)[np.triu_indices(3, 1)].min() > 0.2


def test_simulated_targets_follow_the_competitions_formula() -> None:
    """For an asset without gaps: the target is the return of the next 15 minutes less beta times the market's."""
    frame = gresearch.simulate(2, 60_000).filter(pl.col("Asset_ID") == 1).sort("timestamp")
    price, target = frame["Close"].log().to_numpy(), frame["Target"].to_numpy()
    own = price[16:] - price[1:-15]
    known = np.isfinite(target[:-16])
    assert known.mean() > 0.99
    assert np.isnan(target[-16:]).all()
    rest = own[known] - target[:-16][known]
    assert 0.2 < np.corrcoef(own[known], target[:-16][known])[0, 1] < 0.98
    assert rest.std() > 0.1 * own.std()
