"""A local, decompressed copy of the file or URL that `dataset.path` or another key names.

A path may also name a folder or a zip archive with several files, where the dataset says which of them is its data.
"""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from tapeline import files
from tapeline.config.schema import Dataset
from tapeline.datasets.sources import Known
from tapeline.datasets.sources.archives import CHUNK, Bounds, bounds, decompressed, new_name, too_large
from tapeline.errors import Finding, Refused, refuse
from tapeline.objects import Objects

if TYPE_CHECKING:
    import polars as pl

CONNECT_SECONDS = 15
PROBLEMS = {
    "FileNotFoundError": "no such file on the server",
    "TooManyRedirects": "the server redirects without end",
    "ClientConnectorDNSError": "there is no such host",
}
"""What exceptions mean whose own text is not a sentence."""
IDENTIFIED = ("s3://", "gs://", "gcs://")
"""URLs whose objects have an ETag, or a generation, that changes with each write."""
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
    return scan(local(name, "dataset.path", folder, dataset.FILE, bounds(dataset)), name), name


def check(dataset: Dataset) -> Iterator[Finding]:
    """A source of one file needs `dataset.path`."""
    if not dataset.path:
        fix = f"set dataset.path=FILE.{dataset.source}"
        yield Finding("dataset.path", f"dataset.source={dataset.source} needs it", fix)


def local(name: str, key: str, folder: Path, member: str | None = None, within: Bounds | None = None) -> Path:
    """A local path for `name`; a URL is downloaded to `folder`, and a file of gzip or zip decompressed there.

    Args:
        name: a path or URL.
        key: the configuration key that holds it, for error messages.
        folder: takes temporary files.
        member: the name of the data where the path is a folder or an archive with several files.
        within: the bounds of size and time.

    Raises:
        Refused: the file does not exist, cannot be read, is empty or too large, is in no archive under this name, a
            download takes too long, or fsspec does not know the type of URL.
    """
    within = within or Bounds()
    path = _fetched(name, key, folder, within) if "://" in name else _file(name, key, member)
    try:
        path = decompressed(path, name, folder, member, within)
        if path.stat().st_size > within.bytes:
            raise too_large(name, within)
        with open(path, "rb") as file:
            if not any(chunk.strip() for chunk in iter(lambda: file.read(CHUNK), b"")):
                raise refuse(name, "the file is empty", "use a file with a header and rows")
    except PermissionError as error:
        raise refuse(f"{key}={name}", str(error.strerror).lower(), "use a file that you may read") from None
    return path


def _file(name: str, key: str, member: str | None = None) -> Path:
    path = Path(name)
    if member and path.is_dir():
        names = (member, f"{member}.zip", f"{member}.gz", f"{PurePosixPath(member).stem}.zip")
        found = [path / each for each in names if (path / each).is_file()]
        if not found:
            raise refuse(f"{key}={path}", f"the folder has no file {member}", "set it to a file, or to another folder")
        return found[0]
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise refuse(f"{key}={path}", what, "set it to a file that exists")
    return path


def _fetched(url: str, key: str, folder: Path, within: Bounds) -> Path:
    import fsspec

    path, end = new_name(folder), time.monotonic() + within.seconds
    with open(path, "wb") as copy:
        try:
            with fsspec.open(url, "rb", **_options(url, within)) as handle:
                while chunk := handle.read(CHUNK):
                    copy.write(chunk)
                    if copy.tell() > within.bytes:
                        raise too_large(url, within)
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


def beside(path: str, name: str) -> bytes | None:
    """The content of a small file in the folder or archive at `path`, or beside the file there; None if there is none.

    Raises:
        Refused: the archive is damaged.
    """
    if path.lower().endswith(".zip"):
        return _member(path, name)
    if "://" not in path:
        folder = Path(path) if Path(path).is_dir() else Path(path).parent
        return (folder / name).read_bytes() if (folder / name).is_file() else None
    if path.startswith("http"):  # an address can be signed for one file
        return None
    import fsspec

    try:
        with fsspec.open(f"{path.rpartition('/')[0]}/{name}", "rb") as handle:
            content: bytes = handle.read()
    except FileNotFoundError:
        return None
    except Exception as error:  # each file system raises its own exceptions
        what = " ".join(str(error).split()) or type(error).__name__
        raise refuse(f"{name} beside {path}", f"cannot be read ({what})", "check access to it") from None
    return content


def _member(path: str, name: str) -> bytes | None:
    """A small file of a zip archive, of which only the needed bytes are read."""
    import fsspec

    try:
        with fsspec.open(path, "rb") as handle, zipfile.ZipFile(handle) as archive:
            found = [each for each in archive.namelist() if PurePosixPath(each).name == name]
            return archive.read(found[0]) if found else None
    except zipfile.BadZipFile:
        raise refuse(path, "is not a complete zip archive", "download it again") from None


def seen(dataset: Dataset, known: Known | None = None) -> str | None:
    """The digest of the file at `dataset.path` and of the files that belong to it; None for a URL without an ETag."""
    if findings := list(check(dataset)):
        raise Refused(*findings)
    path = dataset.path or ""
    whole = digest(path, "dataset.path", dataset.FILE, known)
    others = [content for name in dataset.BESIDE if whole and (content := beside(path, name)) is not None]
    return files.digest(whole, *others) if others else whole


def digest(name: str, key: str, member: str | None = None, known: Known | None = None) -> str | None:
    """The digest of a file's or object's content; None for other URLs, which must be read each time."""
    if "://" in name:
        return digest_of_object(name, {} if known is None else known)
    try:
        return files.digest_path(_file(name, key, member))
    except PermissionError:
        return None


def digest_of_object(url: str, known: Known) -> str | None:
    """The digest of an object's content; it is downloaded where no digest is known for its ETag.

    Args:
        url: of the object.
        known: digests by URL and ETag; the new one is added.

    Returns:
        None where the URL is not in an object storage, or it cannot be read: who reads it as data says why.
    """
    if not url.startswith(IDENTIFIED):
        return None
    try:
        objects = Objects.from_url(url, "dataset.path")
        with objects.translated_errors():
            etag = _etag(objects)
            name = files.digest(url, etag)
            with suppress(KeyError):
                return known[name]
            with objects.fs.open(objects.root, "rb") as handle:
                content = hashlib.file_digest(handle, "sha256").hexdigest()
            if _etag(objects) != etag:  # it was replaced meanwhile
                return None
    except (Refused, OSError, KeyError):
        return None
    known[name] = content
    return content


def _etag(objects: Objects) -> str:
    info = objects.fs.info(objects.root)
    return str(info.get("ETag") or info["generation"])


def size(dataset: Dataset) -> int:
    """Bytes of the file at `dataset.path`, decompressed, about; 0 if only reading shows it."""
    return size_of(dataset.path or "")


def size_of(name: str) -> int:
    """Bytes of a file, decompressed, about; 0 for a URL or a file that does not exist."""
    factor = DECOMPRESSED if name.lower().endswith((".gz", ".zip")) else 1
    return 0 if not name or "://" in name else factor * files.size([Path(name)])
