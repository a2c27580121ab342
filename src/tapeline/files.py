"""Whole files or none: temporary siblings, renames, content digests and locks; and what lies in a folder."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib
import json
import os
import pkgutil
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tapeline.errors import refuse

FICLONE = 0x40049409
"""Linux' ioctl that lets one file share another's blocks."""
HARD_LINK = 64_000_000
"""Bytes. Files of this size or less are copied."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; it takes the final name only if the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with scratch(path.parent, path.name) as folder:
        temporary = folder / path.name
        yield temporary
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        os.replace(temporary, path)


@contextmanager
def scratch(parent: Path, name: str) -> Iterator[Path]:
    """A private folder in `parent`, removed at the end; those that killed processes left go too.

    Its owner holds a lock on it, so a folder that can be locked belongs to nobody, unless it is so
    new that its owner has not come to lock it.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for stale in parent.glob(".*.partial"):
        if not in_use(stale):
            shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name[:80]}.", suffix=".partial", dir=parent))
    with owned(folder):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Let others see that a process is at work in the folder, until the block ends or the process does."""
    handle = _try_lock(folder)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def in_use(folder: Path) -> bool:
    """Whether a process is at work in a folder that it owns, or may be about to own it, since it is so new."""
    return _age(folder) <= 60 or is_owned(folder)


def is_owned(folder: Path) -> bool:
    """Whether a process owns the folder now."""
    if (handle := _try_lock(folder)) is None:
        return True
    os.close(handle)
    return False


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _try_lock(path: Path) -> int | None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


@contextmanager
def locked(path: Path, *, seconds: float, what: str, shared: bool = False) -> Iterator[None]:
    """Hold the lock file `path`, alone or with others who share it; wait at most `seconds`.

    Raises:
        Refused: another process held it all that time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                if time.monotonic() >= deadline:
                    raise refuse(
                        path,
                        f"another process has held the lock of {what} for {seconds:g} s",
                        "wait until it ends, or stop it, and run again",
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, on the disk before it takes its name."""
    with whole(path) as temporary, open(temporary, "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def write_json(path: Path, value: Any) -> None:
    """Write JSON that is the same bytes for the same value; NaN and infinity are a bug and raise."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    write_bytes(path, (text + "\n").encode())


def copy_folder(source: Path, target: Path) -> None:
    """Copy contents; unlike shutil.copytree it stops at the first error, and raises that one."""
    target.mkdir(parents=True)
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir()
        else:
            shutil.copyfile(path, copy)


def clone(source: Path, target: Path) -> None:
    """Let `target`, which does not exist, be a file or folder with the content of `source`.

    Where the file system can, both share their blocks until one is changed; else the content is copied, and a
    file of more than HARD_LINK bytes is linked, so that large models do not lie on the disk twice.
    """
    if source.is_dir():
        target.mkdir()
        for path in sorted(source.iterdir()):
            clone(path, target / path.name)
        return
    with open(source, "rb") as reader, open(target, "wb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), FICLONE, reader.fileno())
            return
        except OSError:  # not on this file system
            pass
        if os.fstat(reader.fileno()).st_size <= HARD_LINK:
            shutil.copyfileobj(reader, writer)
            return
    target.unlink()
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def read_json(path: Path) -> Any:
    """Read one of our own JSON files."""
    return json.loads(path.read_text(encoding="utf-8"))


def digest(*values: object) -> str:
    """SHA-256, in hex, of JSON values or bytes, in their order."""
    sha = hashlib.sha256()
    for value in values:
        part = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
        sha.update(len(part).to_bytes(8, "big") + part)
    return sha.hexdigest()


def digest_path(path: Path) -> str:
    """SHA-256 of a file's content, or of a folder's relative names and contents."""
    if not path.is_dir():
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    inside = sorted(item for item in path.rglob("*") if item.is_file())
    return digest([[str(item.relative_to(path)), digest_path(item)] for item in inside])


def point(link: Path, name: str) -> None:
    """Let the symbolic link `link` name its sibling `name`, in one rename."""
    with scratch(link.parent, link.name) as folder:
        (folder / link.name).symlink_to(name)
        os.replace(folder / link.name, link)


def size(paths: Iterable[Path]) -> int:
    """Bytes of files and folders, links not followed; what another process removes meanwhile counts nothing."""
    total = 0
    for path in paths:
        for file in (path, *path.rglob("*")):
            with suppress(FileNotFoundError):
                total += 0 if file.is_dir() else file.lstat().st_size
    return total


def modules(package: str) -> list[str]:
    """Names of the modules and packages in a package, by file name; only the package itself is imported."""
    return sorted(each.name for each in pkgutil.iter_modules(importlib.import_module(package).__path__))
