"""Facial keypoints: grey images of 96 x 96 pixels and 15 points, as in Kaggle's facial-keypoints-detection.

Most rows of the original have 4 of the 15 points; nothing is dropped here. Images that are nearly the same, and rows of
one person where a column says who it is, stay on one side of a split.

    tapeline run experiment=faces_conv dataset.source=csv dataset.path=training.csv
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from tapeline.config import schema
from tapeline.datasets.faces.near_duplicates import groups_of
from tapeline.datasets.faces.reading import read_faces
from tapeline.datasets.faces.serving import signatures
from tapeline.datasets.faces.shape import LABELS, SIDE
from tapeline.datasets.faces.simulation import simulate
from tapeline.tables.spec import Column, Manifest, Spec, header_of
from tapeline.tables.table import Batch
from tapeline.tables.writing import Parts

if TYPE_CHECKING:
    import polars as pl

__all__ = ["SPEC", "Section", "baselines", "ingest", "signatures", "simulate", "table"]

Array = np.ndarray[Any, Any]

SPEC = Spec(task="keypoints", outputs=LABELS, feature_shape=(SIDE, SIDE), missing_labels=True)


class Section(schema.Dataset):
    """The keys of `dataset=faces`."""

    COMPETITION: ClassVar[str | None] = "facial-keypoints-detection"
    FILE: ClassVar[str | None] = "training.csv"
    PACKED: ClassVar[str | None] = "training.zip"

    rows: Annotated[int, Field(ge=20)]
    """Of simulated data."""
    group_column: str | None
    """The column that says who it is; null: there is none."""

    @property
    def simulation(self) -> dict[str, Any]:
        """How many faces to draw."""
        return {"rows": self.rows}


def ingest(section: Section, frame: pl.LazyFrame, where: str) -> pl.DataFrame:
    """The row's number, 30 coordinates in pixels, 9,216 grey values as bytes, and the group, in the file's order.

    Raises:
        Refused: everything that is wrong with the file, by column and row.
    """
    return read_faces(frame, where, section.group_column)


def table(section: Section, raw: pl.DataFrame) -> tuple[Manifest, Parts]:
    """One part; `group` holds the rows that are nearly the same image, or the same person."""
    import polars as pl

    images = np.frombuffer(b"".join(raw["image"].to_list()), np.uint8).reshape(-1, SIDE, SIDE)
    groups = groups_of(images, raw["person"].to_list())
    frame = raw.select("row", pl.Series("group", groups), *LABELS, "image")
    schema_of = [Column("row", "row", "int64"), Column("group", "group", "str")]
    schema_of += [Column(name, "target", "float64") for name in LABELS]
    schema_of.append(Column("image", "feature", "uint8", (SIDE, SIDE)))
    alone = len(groups) - len(set(groups))
    return header_of(SPEC, section.name, schema_of, {"near_duplicates": alone}), [("all", frame)]


def baselines(batch: Batch, names: Sequence[str]) -> dict[str, Array]:
    """None beside the task's own."""
    return {}
