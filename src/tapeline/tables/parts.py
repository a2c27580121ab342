"""Parts of a table while it is made: `<id>.parquet` and `<id>.json` in a folder, before a manifest names them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.errors import Finding

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
