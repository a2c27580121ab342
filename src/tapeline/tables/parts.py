"""Parts of a table while it is made: `<id>.parquet` and `<id>.json` in a folder, before a manifest names them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapeline import files
from tapeline.errors import Finding, Refused, nearest, refuse
from tapeline.tables.digests import digest_frame
from tapeline.tables.spec import MANIFEST, Manifest, Part, complete, to_json

if TYPE_CHECKING:
    import polars as pl

ID = re.compile(r"[A-Za-z0-9_-]{1,40}")


def wrong_ids(ids: Iterable[str]) -> Iterator[Finding]:
    """Findings about the ids of parts: letters, digits, _ and -, unique without regard to case."""
    known: dict[str, str] = {}
    for name in ids:
        if not ID.fullmatch(name):
            fix = "use 1 to 40 letters, digits, _ and -, as in BTC_EUR"
            yield Finding(f"partition {name!r}", "cannot name a file", fix)
        elif name.lower() in known:
            problem = f"has the name of {known[name.lower()]!r}, without regard to case"
            yield Finding(f"partition {name!r}", problem, "give each its own name")
        known.setdefault(name.lower(), name)


def write_facts(folder: Path, name: str, facts: Mapping[str, Any]) -> None:
    """Write `<id>.json` of a part: its id, rows, first and last time, digest."""
    files.write_json(folder / f"{name}.json", {"id": name, **facts})


def collect(parts: Path, folder: Path) -> list[dict[str, Any]]:
    """Put the parts into a folder that does not exist yet, without a copy where the disk allows it.

    Returns:
        What their `.json` files say, sorted by id, for manifest.json.
    """
    found = sorted((files.read_json(path) for path in parts.glob("*.json")), key=lambda facts: str(facts["id"]))
    folder.mkdir(parents=True)
    for facts in found:
        name = f"{facts['id']}.parquet"
        try:
            os.link(parts / name, folder / name)
        except OSError:  # another file system, or one without links
            shutil.copyfile(parts / name, folder / name)
    return found


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
    ids = list(ids)
    if path.suffix == ".parquet":
        raise refuse(path, "a table of several parts is a folder", "name it without .parquet")
    if findings := [*_strangers(parts, ids), *(found for name in ids for found in _wrong(parts, name, header))]:
        raise Refused(*findings)
    with files.atomic_path(path) as temporary:
        made = [Part(**{"file": f"{facts['id']}.parquet", **_known(facts)}) for facts in collect(parts, temporary)]
        manifest = complete(header, made)
        files.write_json(temporary / MANIFEST, to_json(manifest))
    return manifest


FACTS = ("id", "rows", "first", "last", "digest")


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: facts[key] for key in FACTS}


def _strangers(parts: Path, ids: Sequence[str]) -> Iterator[Finding]:
    for name in sorted({path.stem for path in parts.iterdir()} - {*ids}):
        fix = nearest(name, ids, otherwise="remove its files")
        yield Finding(f"partition {name}", f"{parts} has it, and the raw data does not", fix)


def _wrong(parts: Path, name: str, header: Manifest) -> Iterator[Finding]:
    """What is wrong with a part, by its own facts."""
    where, again = f"partition {name}", f"make it again, with --part {name}"
    absent = [file for file in (f"{name}.parquet", f"{name}.json") if not (parts / file).is_file()]
    if absent:
        yield Finding(where, f"{parts} has no {' and no '.join(absent)}", again)
        return
    frame, facts = _frame(parts / f"{name}.parquet"), _facts(parts / f"{name}.json")
    if frame is None or facts is None:
        yield Finding(where, f"{parts / name}.{'json' if facts is None else 'parquet'} is damaged", again)
    elif facts["id"] != name:
        yield Finding(where, f"{parts / name}.json is that of partition {facts['id']}", again)
    elif frame.columns != [column.name for column in header.columns]:
        yield Finding(where, f"{parts / name}.parquet has the columns of another configuration", again)
    elif (len(frame), digest_frame(frame)) != (facts["rows"], facts["digest"]):
        yield Finding(where, f"{parts / name}.parquet has other rows than {name}.json says, or another digest", again)


def _frame(path: Path) -> pl.DataFrame | None:
    import polars as pl

    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):
        return None


def _facts(path: Path) -> dict[str, Any] | None:
    try:
        facts = files.read_json(path)
    except files.Damaged:
        return None
    return facts if isinstance(facts, dict) and facts.keys() >= {*FACTS} else None
