"""Files that are packed with gzip or zip, decompressed within bounds of their size."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

from tapeline.config.schema import Dataset
from tapeline.errors import Refused, refuse

CHUNK = 1 << 20
"""Bytes that are copied in one step."""
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
"""First bytes of packed files."""
EXCEL = "[Content_Types].xml"
"""A file in each archive that is a document of Excel."""


@dataclass(frozen=True)
class Bounds:
    """The largest file that is read, and the longest time for its download."""

    bytes: int = 4_000_000_000
    seconds: float = 600


def bounds(dataset: Dataset) -> Bounds:
    """The bounds of a dataset's files."""
    return Bounds(dataset.max_bytes, dataset.max_seconds)


def decompressed(path: Path, name: str, folder: Path, member: str | None = None, within: Bounds | None = None) -> Path:
    """The file itself, or the content of a file of gzip or zip in `folder`.

    Args:
        path: a local file.
        name: its name, a path or URL, in error messages.
        folder: takes the content.
        member: the name of the data in an archive with several files.
        within: the bounds of size.

    Raises:
        Refused: the archive is damaged or too large, or does not say which of its files is the data.
    """
    within = within or Bounds()
    with open(path, "rb") as file:
        begin = file.read(4)
    kind = (path.name if path.suffix else urlsplit(name).path if "://" in name else name).lower()
    if begin.startswith(GZIP) or kind.endswith(".gz"):
        return _unpacked(path, name, folder, within)
    if begin == ZIP or kind.endswith(".zip"):
        return _unzipped(path, name, folder, member, within)
    return path


def too_large(name: str, within: Bounds) -> Refused:
    """The refusal of a file above the bound."""
    problem = f"has more than {within.bytes:,} bytes, decompressed"
    return refuse(name, problem, f"use a smaller file, or set dataset.max_bytes={2 * within.bytes}")


def new_name(folder: Path) -> Path:
    """A new name in the folder."""
    return folder / f"source{sum(1 for _ in folder.iterdir())}"


def _copy(content: IO[bytes] | gzip.GzipFile, copy: IO[bytes], name: str, within: Bounds) -> None:
    while chunk := content.read(CHUNK):
        copy.write(chunk)
        if copy.tell() > within.bytes:
            raise too_large(name, within)


def _unpacked(packed: Path, name: str, folder: Path, within: Bounds) -> Path:
    path = new_name(folder)
    with open(path, "wb") as copy:
        try:
            with gzip.open(packed) as content:
                _copy(content, copy, name, within)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise refuse(name, "is not a complete gzip file", "download it again") from None
    return path


def _unzipped(packed: Path, name: str, folder: Path, member: str | None, within: Bounds) -> Path:
    path = new_name(folder)
    try:
        with zipfile.ZipFile(packed) as archive:
            if EXCEL in archive.namelist():
                raise refuse(name, "is a document of Excel, not a table of text", "save the table as CSV")
            inside = [each for each in archive.namelist() if not each.endswith("/") and "__MACOSX" not in each]
            chosen = _chosen(inside, name, member)
            with archive.open(chosen) as content, open(path, "wb") as copy:
                _copy(content, copy, name, within)
    except NotImplementedError:  # zipfile's, for a method of compression that Python does not have
        fix = "extract it, and name the extracted file"
        raise refuse(name, "the zip archive has an unknown method of compression", fix) from None
    except (zipfile.BadZipFile, EOFError, zlib.error):
        raise refuse(name, "is not a complete zip archive", "download it again") from None
    except RuntimeError:  # zipfile's, where a password is needed
        raise refuse(name, "the zip archive is encrypted", "extract it, and name the extracted file") from None
    if chosen.lower().endswith(".zip"):
        return _unzipped(path, f"{name}, {chosen}", folder, member, within)
    return path


def _chosen(inside: Sequence[str], name: str, member: str | None) -> str:
    """The one file of an archive, the one with the wanted name, or the archive inside that is named after it."""
    if len(inside) == 1:
        return inside[0]
    wanted = (member, f"{member}.zip", f"{PurePosixPath(member).stem}.zip") if member else ()
    for each in wanted:
        found = [file for file in inside if PurePosixPath(file).name == each]
        if len(found) == 1:
            return found[0]
    what = f"no file {member}" if member else f"{len(inside)} files"
    raise refuse(name, f"the zip archive has {what}", "extract it, and name the file, as in dataset.path=train.csv")
