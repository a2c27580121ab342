"""One delimited text file with a header; every value stays text, so that nothing is guessed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from tapeline.config.schema import Dataset
from tapeline.datasets.sources.fetch import check, fetch, seen
from tapeline.errors import refuse

if TYPE_CHECKING:
    import polars as pl

__all__ = ["check", "parse", "read", "seen"]


def read(dataset: Dataset, simulate: object = None) -> tuple[pl.DataFrame, str]:
    """The file at `dataset.path`."""
    content, name = fetch(dataset)
    return parse(content, name), name


def parse(content: bytes, name: str) -> pl.DataFrame:
    """A table delimited by whichever of comma, semicolon, tab or bar its header has most of."""
    import polars as pl

    try:
        header = content.decode("utf-8-sig").splitlines()[0]
    except UnicodeDecodeError as error:
        raise refuse(name, f"is not UTF-8 text (byte {error.start + 1})", "save it as CSV in UTF-8") from None
    separator = max(",;\t|", key=header.count)
    try:
        return pl.read_csv(io.BytesIO(content), separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        what = " ".join(str(error).split("\n")[0].split())
        raise refuse(name, f"is not a table of text ({what})", "give each row as many values as the header") from None
