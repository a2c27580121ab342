"""A local, unpacked file for `dataset.path` or another key that names a file, or a URL that fsspec knows."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tapeline import files
from tapeline.config.schema import Dataset
from tapeline.errors import Finding, Refused, refuse

if TYPE_CHECKING:
    import polars as pl

CHUNK = 1 << 20
"""Bytes that are copied at a time."""


def scanned(dataset: Dataset, folder: Path, scan: Callable[[Path, str], pl.LazyFrame]) -> tuple[pl.LazyFrame, str]:
    """What `scan` makes of the file at `dataset.path`, and that file's name.

    Args:
        dataset: names the file.
        folder: takes what has to be fetched or unpacked, and must stay as long as the frame is used.
        scan: the reader of a source of one file.

    Raises:
        Refused: no path, or as `local` and `scan`.
    """
    if findings := list(check(dataset)):
        raise Refused(*findings)
    name = dataset.path or ""
    return scan(local(name, "dataset.path", folder), name), name


def check(dataset: Dataset) -> Iterator[Finding]:
    """A source of one file needs its path."""
    if not dataset.path:
        fix = f"set dataset.path=FILE.{dataset.source}"
        yield Finding("dataset.path", f"dataset.source={dataset.source} needs it", fix)


def local(name: str, key: str, folder: Path) -> Path:
    """The file that `name` stands for; a URL is fetched, and what ends in .gz unpacked, to `folder`.

    Args:
        name: a path or URL.
        key: of the configuration that named it.
        folder: for temporary files.

    Raises:
        Refused: no such file, no access, an unknown kind of URL, nothing in it.
    """
    path = _fetched(name, key, folder) if "://" in name else _file(name, key)
    if name.lower().endswith(".gz"):
        path = _unpacked(path, name, folder)
    try:
        with open(path, "rb") as file:
            if not any(chunk.strip() for chunk in iter(lambda: file.read(CHUNK), b"")):
                raise refuse(name, "the file is empty", "give a file with a header and rows")
    except OSError as error:
        raise refuse(f"{key}={name}", str(error.strerror).lower(), "give a file that can be read") from None
    return path


def _file(name: str, key: str) -> Path:
    path = Path(name)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise refuse(f"{key}={path}", what, "give the file that holds the closes")
    return path


def _fetched(url: str, key: str, folder: Path) -> Path:
    import fsspec

    path = _new(folder)
    with open(path, "wb") as copy:
        try:
            with fsspec.open(url, "rb") as handle:
                while chunk := handle.read(CHUNK):
                    copy.write(chunk)
        except Exception as error:  # each file system raises its own kinds
            what = " ".join(str(error).split()) or type(error).__name__
            raise refuse(f"{key}={url}", f"cannot be read ({what})", "check the address and access to it") from None
    return path


def _unpacked(packed: Path, name: str, folder: Path) -> Path:
    path = _new(folder)
    with open(path, "wb") as copy:
        try:
            with gzip.open(packed) as content:
                shutil.copyfileobj(content, copy, CHUNK)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise refuse(name, "is not a whole gzip file", "fetch it again") from None
    return path


def _new(folder: Path) -> Path:
    """A name in the folder that is not taken."""
    return folder / f"source{sum(1 for _ in folder.iterdir())}"


def seen(dataset: Dataset) -> str | None:
    """The digest of `dataset.path`, or None as `digest`."""
    if findings := list(check(dataset)):
        raise Refused(*findings)
    return digest(dataset.path or "", "dataset.path")


def digest(name: str, key: str) -> str | None:
    """The file's digest; None for a URL, which has to be read anew each time."""
    if "://" in name:
        return None
    try:
        return files.digest_path(_file(name, key))
    except PermissionError:
        return None
