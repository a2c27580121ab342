"""A local, decompressed copy of the file or URL that `dataset.path` or another key names.

A path may also name a folder or a zip archive with several files, where the dataset says which of them is its data.
"""

from __future__ import annotations

import gzip
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
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
    return scan(local(name, "dataset.path", folder, dataset.FILE), name), name


def check(dataset: Dataset) -> Iterator[Finding]:
    """A source of one file needs `dataset.path`."""
    if not dataset.path:
        fix = f"set dataset.path=FILE.{dataset.source}"
        yield Finding("dataset.path", f"dataset.source={dataset.source} needs it", fix)


def local(name: str, key: str, folder: Path, member: str | None = None) -> Path:
    """A local path for `name`; a URL is downloaded to `folder`, and a .gz or .zip file decompressed there.

    Args:
        name: a path or URL.
        key: the configuration key that holds it, for error messages.
        folder: takes temporary files.
        member: the name of the data where the path is a folder or an archive with several files.

    Raises:
        Refused: the file does not exist, cannot be read, is empty, is in no archive under this name, or fsspec does not
            know the type of URL.
    """
    path = _fetched(name, key, folder) if "://" in name else _file(name, key, member)
    path = decompressed(path, name, folder, member)
    try:
        with open(path, "rb") as file:
            if not any(chunk.strip() for chunk in iter(lambda: file.read(CHUNK), b"")):
                raise refuse(name, "the file is empty", "use a file with a header and rows")
    except OSError as error:
        raise refuse(f"{key}={name}", str(error.strerror).lower(), "use a file that you may read") from None
    return path


def decompressed(path: Path, name: str, folder: Path, member: str | None = None) -> Path:
    """The file itself, or the content of a .gz or .zip file in `folder`; arguments as `local`.

    Raises:
        Refused: the archive is damaged, or does not say which of its files is the data.
    """
    kind = (path.name if path.suffix else name).lower()
    if kind.endswith(".gz"):
        return _unpacked(path, name, folder)
    if kind.endswith(".zip"):
        return _unzipped(path, name, folder, member)
    return path


def _file(name: str, key: str, member: str | None = None) -> Path:
    path = Path(name)
    if member and path.is_dir():
        found = [path / each for each in (member, f"{member}.zip", f"{member}.gz") if (path / each).is_file()]
        if not found:
            raise refuse(f"{key}={path}", f"the folder has no file {member}", "set it to a file, or to another folder")
        return found[0]
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


def _unzipped(packed: Path, name: str, folder: Path, member: str | None) -> Path:
    path = _new(folder)
    try:
        with zipfile.ZipFile(packed) as archive:
            inside = [each for each in archive.namelist() if not each.endswith("/") and "__MACOSX" not in each]
            chosen = _chosen(inside, name, member)
            with archive.open(chosen) as content, open(path, "wb") as copy:
                shutil.copyfileobj(content, copy, CHUNK)
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError):
        raise refuse(name, "is not a complete zip archive", "download it again") from None
    except RuntimeError:  # zipfile's, where a password is needed
        raise refuse(name, "the zip archive is encrypted", "extract it, and name the extracted file") from None
    if chosen.lower().endswith(".zip"):
        return _unzipped(path, f"{name}, {chosen}", folder, member)
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


def _new(folder: Path) -> Path:
    """A new name in the folder."""
    return folder / f"source{sum(1 for _ in folder.iterdir())}"


def seen(dataset: Dataset) -> str | None:
    """The digest of the file at `dataset.path` and of the files that belong to it; None for a URL."""
    if findings := list(check(dataset)):
        raise Refused(*findings)
    path = dataset.path or ""
    whole = digest(path, "dataset.path", dataset.FILE)
    others = [content for name in dataset.BESIDE if whole and (content := beside(path, name)) is not None]
    return files.digest(whole, *others) if others else whole


def digest(name: str, key: str, member: str | None = None) -> str | None:
    """The digest of a file's content; None for a URL, which must be read each time."""
    if "://" in name:
        return None
    try:
        return files.digest_path(_file(name, key, member))
    except PermissionError:
        return None


def size(dataset: Dataset) -> int:
    """Bytes of the file at `dataset.path`, decompressed, about; 0 if only reading shows it."""
    return size_of(dataset.path or "")


def size_of(name: str) -> int:
    """Bytes of a file, decompressed, about; 0 for a URL or a file that does not exist."""
    factor = DECOMPRESSED if name.lower().endswith((".gz", ".zip")) else 1
    return 0 if not name or "://" in name else factor * files.size([Path(name)])
