"""Raw data on disk: a folder of Parquet parts, typed, sorted and unique; or one part in one file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tapeline import files
from tapeline.errors import Finding, Refused, refuse
from tapeline.tables.digests import digest_frame
from tapeline.tables.spec import wrong_ids

if TYPE_CHECKING:
    import polars as pl


def write(path: Path, parts: Iterable[tuple[str, pl.DataFrame]]) -> None:
    """Write raw data whole or not at all: a folder, or one file where the path ends in .parquet.

    Args:
        path: what is there is replaced.
        parts: the id of each part and its rows, one part at a time.

    Raises:
        Refused: an id cannot be the name of a file, occurs twice, or there are several parts for one file.
    """
    with files.atomic_path(path) as temporary:
        single = path.suffix == ".parquet"
        if not single:
            temporary.mkdir()
        seen: list[str] = []
        for name, frame in parts:
            seen.append(name)
            if problems := list[Finding](wrong_ids(seen)):
                raise Refused(*problems)
            if single and len(seen) > 1:
                raise refuse(path, "one file holds one part, and the data has several", "name a folder")
            target = temporary if single else temporary / f"{name}.parquet"
            frame.write_parquet(target)
            with open(target, "rb") as handle:
                os.fsync(handle.fileno())


def scan(path: Path) -> dict[str, pl.LazyFrame]:
    """Each part by its id, in the order of the ids; nothing is read yet."""
    import polars as pl

    if path.is_dir():
        return {each.stem: pl.scan_parquet(each) for each in sorted(path.glob("*.parquet"))}
    return {path.stem: pl.scan_parquet(path)}


def read(path: Path) -> pl.DataFrame:
    """Raw data that has one part.

    Raises:
        ValueError: it has several.
    """
    parts = scan(path)
    if len(parts) != 1:
        raise ValueError(f"{path} has {len(parts)} parts")
    return next(iter(parts.values())).collect()


def digest(path: Path) -> str:
    """Of the values of all parts; where there is one, that of its frame."""
    parts = scan(path)
    found = [[name, digest_frame(frame.collect())] for name, frame in parts.items()]
    return found[0][1] if len(found) == 1 else files.digest(found)
