"""One file for each market, as data vendors deliver them; other markets come from the table at `dataset.path`.

    tapeline run dataset.source=files dataset.path=closes.csv dataset.files.nikkei=nikkei.csv.gz

A file is Parquet if its name ends in .parquet, otherwise delimited text.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tapeline import files
from tapeline.config.schema import Dataset
from tapeline.datasets.parsing import DATE_NAMES
from tapeline.datasets.sources import Known, csv, fetch, parquet, series
from tapeline.datasets.sources.archives import bounds
from tapeline.errors import Finding, Refused

if TYPE_CHECKING:
    import polars as pl

READS = ("path", "files")


def read(dataset: Dataset, simulate: object, folder: Path) -> tuple[pl.LazyFrame, str]:
    """All markets, joined by date.

    Raises:
        Refused: everything that is wrong with a file, by its name, column and row.
    """
    section = series.section(dataset)
    if findings := list(check(section)):
        raise Refused(*findings)
    parts = []
    for market, file in section.files.items():
        frame = _table(section, file.path, f"dataset.files.{market}", folder, file.date_column)
        parts.append(series.single(section, market, frame, file.path, file))
    if section.path and (rest := _rest(section)):
        frame = _table(section, section.path, "dataset.path", folder)
        names = series.columns(section, frame, section.path, rest)
        parts.append(series.read_closes(frame, section.path, names, section.date_format))
    return series.join(parts, section.MARKETS).lazy(), "dataset.files"


def _rest(section: series.Section) -> list[str]:
    return [market for market in section.MARKETS if market not in section.files]


def _table(section: series.Section, name: str, key: str, folder: Path, date_column: str | None = None) -> pl.LazyFrame:
    path = fetch.local(name, key, folder, within=bounds(section))
    if name.lower().endswith(".parquet"):
        return parquet.scan(path, name)
    own = date_column or section.date_column
    return csv.scan(path, name, [own] if own else DATE_NAMES, section.max_columns)


def check(dataset: Dataset) -> Iterator[Finding]:
    """Each market needs a file, or `dataset.path` a table of the rest."""
    section = series.section(dataset)
    if not section.path and (rest := _rest(section)):
        fix = f"set dataset.files.{rest[0]}=FILE, or dataset.path to a table of the rest"
        yield Finding("dataset.files", f"has no file for {', '.join(rest)}", fix)


def seen(dataset: Dataset, known: Known | None = None) -> str | None:
    """A digest of the content of all files, by market; None if one is a URL without an ETag."""
    section = series.section(dataset)
    if findings := list(check(section)):
        raise Refused(*findings)
    paths = {f"dataset.files.{market}": file.path for market, file in section.files.items()}
    if section.path and _rest(section):
        paths["dataset.path"] = section.path
    digests = {key: fetch.digest(name, key, known=known) for key, name in paths.items()}
    return None if None in digests.values() else files.digest(digests)


def size(dataset: Dataset) -> int:
    """Bytes of all files, decompressed, about; without those of URLs."""
    section = series.section(dataset)
    return sum(fetch.size_of(name) for name in {section.path or "", *(each.path for each in section.files.values())})
