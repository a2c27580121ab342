"""A local, decompressed copy of the file or URL that `dataset.path` or another key names."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tapeline import files
from tapeline.config.schema import Dataset
from tapeline.errors import Finding, Refused, refuse

if TYPE_CHECKING:
    import polars as pl

CHUNK = 1 << 20
"""Bytes that are copied in one step."""
GZIP = b"\x1f\x8b"
CONNECT_SECONDS = 15
PROBLEMS = {
    "FileNotFoundError": "no such file on the server",
    "TooManyRedirects": "the server redirects without end",
    "ClientConnectorDNSError": "there is no such host",
}
"""What exceptions mean whose own text is no sentence."""


@dataclass(frozen=True)
class Bounds:
    """The largest file that is read, and the longest time for its download."""

    bytes: int = 4_000_000_000
    seconds: float = 600


def bounds(dataset: Dataset) -> Bounds:
    """The bounds of a dataset's files."""
    return Bounds(dataset.max_bytes, dataset.max_seconds)


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
    return scan(local(name, "dataset.path", folder, bounds(dataset)), name), name


def check(dataset: Dataset) -> Iterator[Finding]:
    """A source of one file needs `dataset.path`."""
    if not dataset.path:
        fix = f"set dataset.path=FILE.{dataset.source}"
        yield Finding("dataset.path", f"dataset.source={dataset.source} needs it", fix)


def local(name: str, key: str, folder: Path, within: Bounds | None = None) -> Path:
    """A local path for `name`; a URL is downloaded to `folder`, and a file of gzip is decompressed there.

    Args:
        name: a path or URL.
        key: the configuration key that holds it, for error messages.
        folder: takes temporary files.
        within: the bounds of size and time.

    Raises:
        Refused: the file does not exist, cannot be read, is empty or too large, a download takes too long, or fsspec
            does not know the type of URL.
    """
    within = within or Bounds()
    path = _fetched(name, key, folder, within) if "://" in name else _file(name, key)
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == GZIP
        if packed or (urlsplit(name).path if "://" in name else name).lower().endswith(".gz"):
            path = _unpacked(path, name, folder, within)
        if path.stat().st_size > within.bytes:
            raise _too_large(name, within)
        with open(path, "rb") as file:
            if not any(chunk.strip() for chunk in iter(lambda: file.read(CHUNK), b"")):
                raise refuse(name, "the file is empty", "use a file with a header and rows")
    except PermissionError as error:
        raise refuse(f"{key}={name}", str(error.strerror).lower(), "use a file that you may read") from None
    return path


def _too_large(name: str, within: Bounds) -> Refused:
    problem = f"has more than {within.bytes:,} bytes, decompressed"
    return refuse(name, problem, f"use a smaller file, or set dataset.max_bytes={2 * within.bytes}")


def _file(name: str, key: str) -> Path:
    path = Path(name)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise refuse(f"{key}={path}", what, "set it to a file that exists")
    return path


def _fetched(url: str, key: str, folder: Path, within: Bounds) -> Path:
    import fsspec

    path, end = _new(folder), time.monotonic() + within.seconds
    with open(path, "wb") as copy:
        try:
            with fsspec.open(url, "rb", **_options(url, within)) as handle:
                while chunk := handle.read(CHUNK):
                    copy.write(chunk)
                    if copy.tell() > within.bytes:
                        raise _too_large(url, within)
                    if time.monotonic() > end:
                        raise TimeoutError
        except Refused:
            raise
        except TimeoutError:
            problem = f"was not downloaded within {within.seconds:g} s"
            raise refuse(f"{key}={url}", problem, "download it first, or set a larger dataset.max_seconds") from None
        except Exception as error:  # each file system raises its own exceptions
            what = _problem(error)
            raise refuse(f"{key}={url}", f"cannot be read ({what})", "check the address and access to it") from None
    return path


def _problem(error: BaseException) -> str:
    """What the first cause of an exception says; fsspec reports most as a file that is not found."""
    while error.__cause__:
        error = error.__cause__
    kind = type(error).__name__
    return PROBLEMS.get(kind) or " ".join(str(error).split()) or kind


def _options(url: str, within: Bounds) -> dict[str, Any]:
    """Arguments of the file system: a server that sends too slowly ends the download."""
    if not url.lower().startswith(("http://", "https://")):
        return {}
    from aiohttp import ClientTimeout

    limit = ClientTimeout(total=within.seconds, sock_connect=min(CONNECT_SECONDS, within.seconds))
    return {"client_kwargs": {"timeout": limit}, "skip_instance_cache": True}


def _unpacked(packed: Path, name: str, folder: Path, within: Bounds) -> Path:
    path = _new(folder)
    with open(path, "wb") as copy:
        try:
            with gzip.open(packed) as content:
                while chunk := content.read(CHUNK):
                    copy.write(chunk)
                    if copy.tell() > within.bytes:
                        raise _too_large(name, within)
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
