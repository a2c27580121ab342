"""The images of Kaggle's test.csv, sent to a server, and its answers as the file that Kaggle scores.

tapeline predict rows=test.csv lookup=IdLookupTable.csv out=submission.csv experiment=faces_conv
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tapeline import files
from tapeline.commands.predict.images import SIGNATURE, shape_of
from tapeline.config.schema import Config
from tapeline.datasets import parsing
from tapeline.datasets.faces.reading import read_images
from tapeline.datasets.faces.shape import IMAGE
from tapeline.datasets.sources import csv, fetch
from tapeline.errors import Finding, Refused, refuse
from tapeline.lookup import spec
from tapeline.serving import client
from tapeline.serving.client import Endpoint

if TYPE_CHECKING:
    import polars as pl

Array = np.ndarray[Any, Any]

ID = "ImageId"
LOOKUP = ("RowId", ID, "FeatureName")
BATCH = 64
"""Images of one request: 2 MB as JSON."""
SHOWN = 5
"""Rows that a finding lists."""


def submitted(config: Config, server: Endpoint, number: int | None, options: Mapping[str, str]) -> None:
    """Ask about all images of `rows=`, and write RowId and Location to `out=`, one row for each row of `lookup=`.

    Without lookup there is a row for each coordinate of each image, in their order, numbered from 1.
    Coordinates are cut at the edges of the image.

    Raises:
        Refused: a file is not as Kaggle's, by column and row; or the server refuses.
    """
    import polars as pl

    side, _ = shape_of(config, "rows")
    outputs = spec(config.dataset.name).outputs
    with tempfile.TemporaryDirectory() as temporary:
        ids, images = _images(options["rows"], Path(temporary))
        table = _lookup(options["lookup"], Path(temporary), ids, outputs) if "lookup" in options else None
    found, version = _asked(server, number, np.frombuffer(b"".join(images), np.uint8).reshape(-1, side, side))
    found = np.clip(found, 0, side)
    if table is None:
        rows, values = np.arange(1, found.size + 1), found.reshape(-1)
    else:
        place, column = ({each: at for at, each in enumerate(those)} for those in (ids, outputs))
        at = [place[each] for each in table[ID].to_list()], [column[each] for each in table["FeatureName"].to_list()]
        rows, values = table["RowId"].to_numpy(), found[at[0], at[1]]
    out = Path(options.get("out", "submission.csv"))
    with files.atomic_path(out) as target:
        pl.DataFrame({"RowId": rows, "Location": values}).write_csv(target, float_precision=4)
    print(f"{server.model} version {version} on {server}, {server.api}: {len(found):,} images")
    print(f"{len(rows):,} rows: {out}")


def _images(name: str, folder: Path) -> tuple[list[int], list[bytes]]:
    frame = csv.scan(fetch.local(name, "rows", folder), name)
    columns = frame.collect_schema().names()
    if missing := [each for each in (ID, IMAGE) if each not in columns]:
        raise refuse(f"rows={name}", f"has no column {' and no column '.join(missing)}", "give Kaggle's test.csv")
    parsed = parsing.scan(frame.select(ID), {ID: parsing.integer_reader()}, name)
    images, findings = read_images(frame, name)
    findings = [each.at(name) for one in parsed.values() for each in one.findings] + findings
    ids = parsed[ID].values
    if not findings:
        findings = [*_repeated(ids, name), *_absent(ids, name)]
    if findings:
        raise Refused(*findings)
    return ids.to_list(), images


def _repeated(values: pl.Series, where: str) -> list[Finding]:
    rows = np.flatnonzero(values.is_duplicated() & values.is_not_null())
    if not len(rows):
        return []
    shown = ", ".join(str(row + 1) for row in rows[:SHOWN])
    problem = f"{values[int(rows[0])]} occurs more than once (rows {shown})"
    return [Finding(f"{where}, column {values.name}, row {rows[0] + 1}", problem, "give each row its own number")]


def _absent(values: pl.Series, where: str) -> list[Finding]:
    rows = np.flatnonzero(values.is_null())
    if not len(rows):
        return []
    return [Finding(f"{where}, column {values.name}, row {rows[0] + 1}", "is missing", "complete the row")]


def _lookup(name: str, folder: Path, ids: list[int], outputs: tuple[str, ...]) -> pl.DataFrame:
    """The rows that Kaggle asks for.

    Raises:
        Refused: a column is missing, a number occurs twice, or an image or a coordinate is not known.
    """
    import polars as pl

    frame = csv.scan(fetch.local(name, "lookup", folder), name)
    columns = frame.collect_schema().names()
    if missing := [each for each in LOOKUP if each not in columns]:
        raise refuse(
            f"lookup={name}", f"has no column {' and no column '.join(missing)}", "give Kaggle's IdLookupTable.csv"
        )
    whole = {each: parsing.integer_reader() for each in ("RowId", ID)}
    parsed = parsing.scan(frame.select(*whole), whole, name)
    features = frame.select(pl.col("FeatureName").str.strip_chars()).collect()["FeatureName"]
    findings = [each.at(name) for one in parsed.values() for each in one.findings]
    numbers, images = (parsed[each].values for each in whole)
    if not findings:
        findings = [*_repeated(numbers, name), *_absent(numbers, name), *_absent(images, name)]
        findings += _strange(images, pl.Series(ids), name, "no image of the rows has this number")
        findings += _strange(features, pl.Series(outputs), name, "is not a coordinate of a point")
    if findings:
        raise Refused(*findings)
    return pl.DataFrame([numbers, images, features])


def _strange(values: pl.Series, known: pl.Series, where: str, problem: str) -> list[Finding]:
    rows = np.flatnonzero(~values.is_in(known.implode()).fill_null(value=True))
    if not len(rows):
        return []
    also = f" ({len(rows)} rows)" if len(rows) > 1 else ""
    place = f"{where}, column {values.name}, row {rows[0] + 1}"
    return [Finding(place, f"{values[int(rows[0])]!r}: {problem}{also}", "use the test.csv that belongs to the table")]


def _asked(server: Endpoint, number: int | None, images: Array) -> tuple[Array, int]:
    """The coordinates of all images, float64 [images, 2 k], and the version that answered all of them."""
    found = []
    for first in range(0, len(images), BATCH):
        answer = client.predict(server, {SIGNATURE: images[first : first + BATCH]}, number, SIGNATURE)
        found.append(np.array(answer.outputs["prediction"], float))
        number = answer.version
    return np.concatenate(found), number or 0
