"""A small run on drawn faces, by all commands: evaluated, shown, served and asked; see tests/faces.py."""

from __future__ import annotations

import json
import resource
import struct
import zlib
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from tapeline import files, lookup
from tapeline import tensorflow as tf
from tapeline.cli import main as cli
from tapeline.datasets.faces.shape import LABELS, POINTS
from tapeline.datasets.faces.simulation import simulate
from tapeline.errors import Refused
from tapeline.serving import client, saved_model
from tapeline.serving.servers.server import follow_store
from tapeline.tables import examples, predictions
from tests.conftest import DATA
from tests.faces import TINY, as_text, pixels, write
from tests.serving.servables import http, running, until

Array = np.ndarray[Any, Any]
IMAGES = pixels(simulate(9, 6))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with an accepted run."""
    folder = tmp_path_factory.mktemp("faces")
    with chdir(folder):
        assert cli.main(["run", *TINY]) == 0
        yield folder


@pytest.fixture(scope="module")
def ports(place: Path) -> Iterator[list[str]]:
    """Overrides that name a server of the run's model."""
    with running(follow_store(f"{place}/store")) as server:
        until(lambda: http(server.rest_port, "/v1/models/faces-simulated/metadata")[0] == 200)
        yield [f"serving.grpc_port={server.grpc_port}", f"serving.rest_port={server.rest_port}"]


def record(place: Path, name: str = "metrics.json") -> Any:
    return files.read_json(place / "runs" / "latest" / name)


def png(image: Array, mode: str | None = None) -> bytes:
    """The image as a PNG."""
    import io

    buffer = io.BytesIO()
    picture = Image.fromarray(image)
    (picture.convert(mode) if mode else picture).save(buffer, "PNG")
    return buffer.getvalue()


def header_of(width: int, height: int) -> bytes:
    """A PNG of one row that says it has this many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(width + 1)))
        + chunk(b"IEND", b"")
    )


def peak() -> float:
    """MiB that this process has had in memory at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_scores_stand_beside_the_mean_shape(place: Path) -> None:
    metrics = record(place)
    assert metrics["ran"]["task"] == "keypoints"
    overall = metrics["test"]["overall"]
    assert overall["intervals"]["rmse"]["low"] < overall["rmse"] < overall["intervals"]["rmse"]["high"]
    assert list(metrics["baselines"]) == ["mean shape"]
    assert len(overall["points"]) == len(POINTS)
    rows = metrics["data"]["rows"]
    assert rows["train"] + rows["validation"] + rows["test"] == 40
    assert metrics["split"]["by"] == "group"
    assert [set(point) for point in metrics["train"]["trace"]] == [{"step", "score", "validation"}] * 2


def test_examples_are_test_rows_with_their_images(place: Path) -> None:
    found = examples.read(place / "runs" / "latest" / "examples.parquet")
    assert found.features.shape[1:] == (96, 96)
    assert 0 < len(found.rows) <= examples.MOST
    rows = predictions.read(place / "runs" / "latest" / "predictions.parquet").rows["row"][found.rows]
    np.testing.assert_array_equal(found.features, pixels(simulate(0, 40))[rows])


def test_the_page_shows_faces_errors_by_point_and_missing_labels(place: Path) -> None:
    page = (place / "runs" / "latest" / "report.html").read_text()
    for shown in (
        'id="faces"',
        'id="worst"',
        'id="best"',
        'id="by-point"',
        'id="missing-labels"',
        "rmse on validation",
    ):
        assert shown in page
    assert len(page) < 3_000_000


def answers(place: Path, signature: str, values: Any) -> Array:
    found: Array = saved_model.load(place / "store" / "faces-simulated" / "1", signature)(values)["prediction"]
    return found


def test_all_signatures_answer_equally(place: Path) -> None:
    flat = IMAGES.reshape(len(IMAGES), -1).astype(np.float32)
    by_pixels = answers(place, "serving_default", flat)
    assert by_pixels.shape == (len(IMAGES), len(LABELS))
    np.testing.assert_array_equal(answers(place, "images", IMAGES), by_pixels)
    for mode in (None, "RGB", "RGBA"):
        texts = np.array([png(image, mode) for image in IMAGES], object)
        np.testing.assert_allclose(answers(place, "png", texts), by_pixels, atol=1e-3)


def test_a_png_of_another_size_is_resized(place: Path) -> None:
    large = np.array([png(np.kron(image, np.ones((2, 2), np.uint8))) for image in IMAGES], object)
    gaps = answers(place, "png", large) - answers(place, "images", IMAGES)
    assert 0 < np.abs(gaps).mean() < 0.7


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no image", "not a PNG"),
        (b"", "not a PNG"),
        (b"\xff\xd8\xff\xe0" + b"J" * 100, "not a PNG"),
        (header_of(30_000, 30_000), "more than 2048 pixels"),
        (header_of(2049, 4), "more than 2048 pixels"),
        (png(IMAGES[0])[:200], "PNG"),
    ],
    ids=["text", "nothing", "JPEG", "30,000 x 30,000", "2,049 x 4", "cut off"],
)
def test_what_is_no_png_or_too_large_is_an_invalid_argument(place: Path, content: bytes, said: str) -> None:
    with pytest.raises(tf.load().errors.InvalidArgumentError, match=said):
        answers(place, "png", np.array([png(IMAGES[0]), content], object))


def test_the_server_refuses_it_by_both_apis(ports: list[str]) -> None:
    for api, port in zip(("grpc", "rest"), ports, strict=True):
        server = client.endpoint(f"127.0.0.1:{port.partition('=')[2]}", {}, "faces-simulated", api)
        good = client.predict(server, {"png": np.array([png(IMAGES[0])], object)}, signature="png")
        images = client.predict(server, {"images": IMAGES[:1]}, signature="images")
        np.testing.assert_allclose(good.outputs["prediction"], images.outputs["prediction"], atol=1e-3)
        before = peak()
        with pytest.raises(Refused, match="more than 2048 pixels"):
            client.predict(server, {"png": np.array([header_of(30_000, 30_000)], object)}, signature="png")
        assert peak() - before < 100, "MiB; the image has 858"


@pytest.mark.parametrize("name", ["face.png", "face.jpg"])
def test_the_points_of_a_picture_are_drawn(
    place: Path, ports: list[str], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A picture twice as wide and three times as high: the points are in its own pixels."""
    Image.fromarray(IMAGES[0]).convert("RGB").resize((192, 288)).save(place / name, quality=95)
    capsys.readouterr()
    assert cli.main(["predict", *TINY[:1], *ports, "json=true", f"image={name}", "out=points.png"]) == 0
    points = json.loads(capsys.readouterr().out.splitlines()[-1])["points"]
    small = np.asarray(Image.open(place / name).convert("L").resize((96, 96), Image.Resampling.BILINEAR))
    own = answers(place, "images", small[None])[0].reshape(-1, 2) * [2, 3]
    np.testing.assert_allclose([points[name] for name in POINTS], own, atol=0.01)
    with Image.open(place / "points.png") as drawn:
        x, y = (round(each * drawn.width / 192) for each in points["nose_tip"])
        red, green, _ = np.asarray(drawn)[y, x]
        assert red > 150 > green


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert cli.main(["predict", *arguments]) == 2
    return capsys.readouterr().err


def test_what_is_no_picture_is_refused(place: Path, ports: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (place / "text.png").write_text("no image")
    (place / "cut.png").write_bytes(png(IMAGES[0])[:500])
    (place / "large.png").write_bytes(header_of(30_000, 30_000))
    faces = [*TINY[:1], *ports]
    assert "image=text.png: is not a PNG or JPEG image" in refused(capsys, *faces, "image=text.png")
    assert "image=cut.png: cannot be decoded" in refused(capsys, *faces, "image=cut.png")
    assert "has more than 8192 pixels on a side" in refused(capsys, *faces, "image=large.png")
    assert "image=none.png: no such file" in refused(capsys, *faces, "image=none.png")
    assert "name a file that ends in .png" in refused(capsys, *faces, "image=cut.png", "out=x.jpg")
    assert "give image= alone" in refused(capsys, *faces, "image=cut.png", "rows=x.csv")
    assert "has no images" in refused(capsys, "dataset=indices", "image=cut.png")
    assert "is not read" in refused(capsys, *faces, "lookup=x.csv")


@pytest.fixture(scope="module")
def test_csv(place: Path) -> Path:
    """Six images as Kaggle's test.csv has them."""
    frame = as_text(6, 9).select(pl.int_range(1, pl.len() + 1).alias("ImageId"), "Image")
    return write(place / "test.csv", frame)


def lookup_table(places: list[tuple[int, str]]) -> pl.DataFrame:
    names = {"RowId": range(1, len(places) + 1), "ImageId": [at for at, _ in places]}
    return pl.DataFrame({**names, "FeatureName": [name for _, name in places], "Location": [None] * len(places)})


def test_a_submission_has_the_rows_of_the_lookup_table(place: Path, ports: list[str], test_csv: Path) -> None:
    wanted = [(2, "nose_tip_y"), (1, "left_eye_center_x"), (6, "mouth_left_corner_x")]
    write(place / "IdLookupTable.csv", lookup_table(wanted))
    line = ["predict", *TINY[:1], *ports, "rows=test.csv"]
    assert cli.main([*line, "lookup=IdLookupTable.csv", "out=submission.csv"]) == 0
    found = pl.read_csv(place / "submission.csv")
    expected = np.clip(answers(place, "images", IMAGES), 0, 96)
    assert (found.columns, found["RowId"].to_list()) == (["RowId", "Location"], [1, 2, 3])
    own = [expected[image - 1, LABELS.index(name)] for image, name in wanted]
    np.testing.assert_allclose(found["Location"], own, atol=1e-3)
    assert cli.main([*line, "out=all.csv", "api=grpc"]) == 0
    whole = pl.read_csv(place / "all.csv")
    assert whole["RowId"].to_list() == list(range(1, 181))
    np.testing.assert_allclose(whole["Location"], expected.ravel(), atol=1e-3)


def test_the_genuine_rows_are_served(place: Path, ports: list[str]) -> None:
    path = DATA / "faces" / "kaggle_first22_with_images.csv.gz"
    if not path.is_file():
        pytest.skip(f"the real data is not here ({path}); set TAPELINE_DATA")
    frame = pl.read_csv(path).select(pl.int_range(1, pl.len() + 1).alias("ImageId"), "Image")
    write(place / "genuine.csv", frame)
    assert cli.main(["predict", *TINY[:1], *ports, "rows=genuine.csv", "out=points.csv"]) == 0
    images = np.array([text.split() for text in frame["Image"]], np.uint8).reshape(-1, 96, 96)
    expected = np.clip(answers(place, "images", images), 0, 96)
    found = pl.read_csv(place / "points.csv")["Location"].to_numpy()
    np.testing.assert_allclose(found, expected.ravel(), atol=1e-3)
    assert len(found) == 22 * len(LABELS)


@pytest.mark.matrix
def test_a_submission_has_the_size_of_kaggles(place: Path, ports: list[str]) -> None:
    """1,783 images, 27,124 rows asked for, and 53,490 numbers of all."""
    frame = as_text(20, 9)
    whole = pl.concat([frame] * 90).head(1783).select(pl.int_range(1, pl.len() + 1).alias("ImageId"), "Image")
    write(place / "kaggle.csv", whole)
    every = [(image, name) for image in range(1, 1784) for name in LABELS]
    drawn = np.sort(np.random.default_rng(0).choice(len(every), 27_124, replace=False))
    write(place / "wanted.csv", lookup_table([every[at] for at in drawn]))
    line = ["predict", *TINY[:1], *ports, "rows=kaggle.csv"]
    assert cli.main([*line, "lookup=wanted.csv", "out=asked.csv"]) == 0
    assert cli.main([*line, "out=whole.csv"]) == 0
    asked, numbers = (pl.read_csv(place / name) for name in ("asked.csv", "whole.csv"))
    assert (len(asked), len(numbers)) == (27_124, 53_490)
    np.testing.assert_allclose(asked["Location"], numbers["Location"].to_numpy()[drawn], atol=1e-3)


WRONG = {
    "an image that is not there": ([(7, "nose_tip_x")], "column ImageId, row 1: 7: no image"),
    "a coordinate that is none": ([(1, "nose_x")], "column FeatureName, row 1: 'nose_x': is not a coordinate"),
}


@pytest.mark.parametrize(("places", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_lookup_table_that_does_not_fit_is_refused(
    place: Path,
    ports: list[str],
    test_csv: Path,
    capsys: pytest.CaptureFixture[str],
    places: list[tuple[int, str]],
    said: str,
) -> None:
    write(place / "wrong.csv", lookup_table(places))
    line = [*TINY[:1], *ports, "rows=test.csv", "lookup=wrong.csv"]
    assert said in refused(capsys, *line)
    write(place / "wrong.csv", pl.concat([lookup_table([(1, "nose_tip_x")])] * 2))
    assert "column RowId, row 1: 1 occurs more than once" in refused(capsys, *line)
    write(place / "wrong.csv", lookup_table(places).drop("RowId"))
    assert "has no column RowId" in refused(capsys, *line)


def test_a_row_of_the_data_is_asked_about(place: Path, ports: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert cli.main(["predict", *TINY[:2], *ports, "random=true", "json=true"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(last["prediction"]) == len(LABELS)


def test_lightgbm_is_refused_before_anything_starts(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    capsys.readouterr()
    assert cli.main(["run", "dataset=faces", "model=lightgbm"]) == 2
    said = capsys.readouterr().err
    assert "model.family=lightgbm" in said
    assert "choose model=conv or model=deep or model=flat" in said


@pytest.mark.parametrize("experiment", ["faces_conv", "faces_tuned"])
def test_the_experiments_are_composed(experiment: str) -> None:
    config = lookup.configure([f"experiment={experiment}"])
    assert (config.dataset.name, config.model.family, config.split.name) == ("faces", "conv", "by_group")
    assert config.hw.threads == 2
    assert (config.tune is not None) == (experiment == "faces_tuned")


def test_a_search_ends_in_the_training_with_its_best_values(place: Path) -> None:
    small = ["model.widths=[4,8]", "tune.space={model.convolutions: {low: 1, high: 2}, model.dropout: [0.0, 0.5]}"]
    keys = ["tune=optuna", "tune.trials=2", "tune.batch=2", "tune.startup=2", "publish=false"]
    latest = (place / "runs" / "latest").resolve()
    try:
        assert cli.main(["run", *TINY, *small, *keys, "model.steps=4", "model.report_every=2"]) == 0
        metrics = record(place)
        best = metrics["tune"]["best"]["params"]
        assert set(best) == {"model.convolutions", "model.dropout"}
        assert metrics["trained"]["model"]["convolutions"] == best["model.convolutions"]
    finally:
        files.point(place / "runs" / "latest", latest.name)
