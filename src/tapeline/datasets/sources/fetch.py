"""A local, decompressed copy of the file or URL that `dataset.path` or another key names."""

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
"""Bytes that are copied in one step."""
DECOMPRESSED = 5
"""Size of decompressed text for each byte of a compressed file, about."""


def scanned(dataset: Dataset, folder: Path, scan: Callable[[Path, str], pl.LazyFrame]) -> tuple[pl.LazyFrame, str]:
    """The file at `dataset.path` as a LazyFrame, and its name.

    Args:
        dataset: its `path` names the file.
        folder: takes downloaded and decompressed files; it must exist while the frame is used.
        scan: opens a local file, given its path and its name for error messages.

    Raises:
        Refused: there is no path, or as `local` and `scan`.
    """
    if findings := list(check(dataset)):
        raise Refused(*findings)
    name = dataset.path or ""
    return scan(local(name, "dataset.path", folder), name), name


def check(dataset: Dataset) -> Iterator[Finding]:
    """A source of one file needs `dataset.path`."""
    if not dataset.path:
        fix = f"set dataset.path=FILE.{dataset.source}"
        yield Finding("dataset.path", f"dataset.source={dataset.source} needs it", fix)


def local(name: str, key: str, folder: Path) -> Path:
    """A local path for `name`; a URL is downloaded to `folder`, and a .gz file decompressed there.

    Args:
        name: a path or URL.
        key: the configuration key that holds it, for error messages.
        folder: takes temporary files.

    Raises:
        Refused: the file does not exist, cannot be read, is empty, or fsspec does not know the type of URL.
    """
    path = _fetched(name, key, folder) if "://" in name else _file(name, key)
    if name.lower().endswith(".gz"):
        path = _unpacked(path, name, folder)
    try:
        with open(path, "rb") as file:
            if not any(chunk.strip() for chunk in iter(lambda: file.read(CHUNK), b"")):
                raise refuse(name, "the file is empty", "use a file with a header and rows")
    except OSError as error:
        raise refuse(f"{key}={name}", str(error.strerror).lower(), "use a file that you may read") from None
    return path


def _file(name: str, key: str) -> Path:
    path = Path(name)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise refuse(f"{key}={path}", what, "set it to a file that exists")
    return path


def _fetched(url: str, key: str, folder: Path) -> Path:
    import fsspec

    path = _new(folder)
    with open(path, "wb") as copy:
        try:
            with fsspec.open(url, "rb") as handle:
                while chunk := handle.read(CHUNK):
                    copy.write(chunk)
        except Exception as error:  # each file system raises its own exceptions
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
            raise refuse(name, "is not a complete gzip file", "download it again") from None
    return path


def _new(folder: Path) -> Path:
    """A new name in the folder."""
    return folder / f"source{sum(1 for _ in folder.iterdir())}"


def seen(dataset: Dataset) -> str | None:
    """The digest of the file at `dataset.path`; None for a URL."""
    if findings := list(check(dataset)):
        raise Refused(*findings)
    return digest(dataset.path or "", "dataset.path")


def digest(name: str, key: str) -> str | None:
    """The digest of a file's content; None for a URL, which must be read each time."""
    if "://" in name:
        return None
    try:
        return files.digest_path(_file(name, key))
    except PermissionError:
        return None


def size(dataset: Dataset) -> int:
    """Bytes of the file at `dataset.path`, decompressed, about; 0 if only reading shows it."""
    return size_of(dataset.path or "")


def size_of(name: str) -> int:
    """Bytes of a file, decompressed, about; 0 for a URL or a file that does not exist."""
    factor = DECOMPRESSED if name.lower().endswith((".gz", ".zip")) else 1
    return 0 if not name or "://" in name else factor * files.size([Path(name)])
