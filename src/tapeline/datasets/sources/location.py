"""Bytes from `dataset.path`: a file, or a URL that fsspec knows."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from tapeline import files
from tapeline.config import Dataset
from tapeline.errors import refuse


def fetch(dataset: Dataset) -> tuple[bytes, str]:
    """The content, unpacked if its name ends in .gz, and its name.

    Raises:
        Refused: no path, no such file, no access, an unknown kind of URL, nothing in it.
    """
    name = dataset.path or ""
    content = _fetch_url(name) if "://" in name else _fetch_file(dataset)
    if name.endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            raise refuse(name, "is not a whole gzip file", "fetch it again") from None
    if not content.strip():
        raise refuse(name, "the file is empty", "give a file with a header and rows")
    return content, name


def _fetch_file(dataset: Dataset) -> bytes:
    path = _file(dataset)
    try:
        return path.read_bytes()
    except OSError as error:
        raise refuse(f"dataset.path={path}", str(error.strerror).lower(), "give a file that can be read") from None


def _file(dataset: Dataset) -> Path:
    if not dataset.path:
        raise refuse("dataset.path", f"source {dataset.source} needs a file", f"set dataset.path=FILE.{dataset.source}")
    path = Path(dataset.path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise refuse(f"dataset.path={path}", what, "give the file that holds the closes")
    return path


def _fetch_url(url: str) -> bytes:
    import fsspec

    try:
        with fsspec.open(url, "rb") as handle:
            content: bytes = handle.read()
            return content
    except Exception as error:  # each file system raises its own kinds
        what = " ".join(str(error).split()) or type(error).__name__
        raise refuse(f"dataset.path={url}", f"cannot be read ({what})", "check the address and access to it") from None


def seen(dataset: Dataset) -> str | None:
    """The file's digest; None for a URL, which has to be read anew each time."""
    if dataset.path and "://" in dataset.path:
        return None
    try:
        return files.digest_path(_file(dataset))
    except PermissionError:
        return None
