"""Parts of a table while it is made: `<id>.parquet` and `<id>.json` in a folder, before a manifest names them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.errors import Finding, Refused, refuse
from tapeline.tables.spec import MANIFEST, Manifest, Part, complete, to_json
from tapeline.tables.writing import part_of


def write_facts(folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Write `<id>.json` of a part: its id, rows, first and last time, digest."""
    files.write_json(folder / f"{name}.json", {"id": name, **facts})


def join(path: Path, header: Manifest, parts: Path, ids: Iterable[str]) -> Manifest:
    """Put a table together from its parts: the same folder as `writing.write` makes of their frames.

    Args:
        path: of the table, a folder that does not exist yet.
        header: a manifest without parts.
        parts: a folder with `<id>.parquet` and `<id>.json` of each.
        ids: of the parts that the table has.

    Raises:
        Refused: each part that is missing, damaged, or of other columns or other data.
    """
    if path.suffix == ".parquet":
        raise refuse(path, "a table of several parts is a folder", "name it without .parquet")
    made, findings = list[Part](), list[Finding]()
    for name in ids:
        try:
            made.append(_part(parts, name, header))
        except Refused as error:
            findings += error.findings
    if findings:
        raise Refused(*findings)
    manifest = complete(header, made)
    with files.atomic_path(path) as temporary:
        temporary.mkdir()
        for part in made:
            files.clone(parts / part.file, temporary / part.file)
        files.write_json(temporary / MANIFEST, to_json(manifest))
    return manifest


def _part(parts: Path, name: str, header: Manifest) -> Part:
    """What the manifest says of a part.

    Raises:
        Refused: a file of it is missing or damaged, or they do not fit each other or the header.
    """
    import polars as pl

    table, facts = parts / f"{name}.parquet", parts / f"{name}.json"

    def wrong(problem: str) -> Refused:
        return refuse(f"partition {name}", problem, f"make it again, with --part {name}")

    try:
        frame = pl.read_parquet(table)
    except (OSError, pl.exceptions.PolarsError):
        raise wrong(f"{table} is missing or damaged") from None
    try:
        known = files.read_json(facts)
    except (OSError, files.Damaged):
        raise wrong(f"{facts} is missing or damaged") from None
    if frame.columns != [column.name for column in header.columns]:
        raise wrong(f"{table} has the columns of another configuration")
    part = part_of(header, name, frame)
    if known != asdict(part):
        raise wrong(f"{table} has other rows, times or another digest than {facts.name} says")
    return part
