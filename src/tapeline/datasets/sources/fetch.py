"""Bytes from `dataset.path` or another key that names a file, or a URL that fsspec knows."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from tapeline import files
from tapeline.config.schema import Dataset
from tapeline.errors import Finding, Refused, refuse


def fetch(dataset: Dataset) -> tuple[bytes, str]:
    """The content of `dataset.path`, and its name.

    Raises:
        Refused: no path, or as `content`.
    """
    if findings := list(check(dataset)):
        raise Refused(*findings)
    name = dataset.path or ""
    return content(name, "dataset.path"), name


def check(dataset: Dataset) -> Iterator[Finding]:
    """A source of one file needs its path."""
    if not dataset.path:
        fix = f"set dataset.path=FILE.{dataset.source}"
        yield Finding("dataset.path", f"dataset.source={dataset.source} needs it", fix)


def content(name: str, key: str) -> bytes:
    """The content of a file or URL, unpacked if its name ends in .gz; `key` is what named it.

    Raises:
        Refused: no such file, no access, an unknown kind of URL, nothing in it.
    """
    packed = _fetch_url(name, key) if "://" in name else _fetch_file(name, key)
    if name.endswith(".gz"):
        try:
            packed = gzip.decompress(packed)
        except (OSError, EOFError, zlib.error):
            raise refuse(name, "is not a whole gzip file", "fetch it again") from None
    if not packed.strip():
        raise refuse(name, "the file is empty", "give a file with a header and rows")
    return packed


def _fetch_file(name: str, key: str) -> bytes:
    try:
        return _file(name, key).read_bytes()
    except OSError as error:
        raise refuse(f"{key}={name}", str(error.strerror).lower(), "give a file that can be read") from None


def _file(name: str, key: str) -> Path:
    path = Path(name)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise refuse(f"{key}={path}", what, "give the file that holds the closes")
    return path


def _fetch_url(url: str, key: str) -> bytes:
    import fsspec

    try:
        with fsspec.open(url, "rb") as handle:
            fetched: bytes = handle.read()
            return fetched
    except Exception as error:  # each file system raises its own kinds
        what = " ".join(str(error).split()) or type(error).__name__
        raise refuse(f"{key}={url}", f"cannot be read ({what})", "check the address and access to it") from None


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
