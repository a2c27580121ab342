"""Atomic writes, locks, digests and sizes of files and folders."""

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

from tapeline.errors import Refused, refuse

FICLONE = 0x40049409
"""The ioctl of Linux that makes a file share the blocks of another (reflink)."""
HARD_LINK = 64_000_000
"""Bytes. `clone` copies files of this size or less, and makes hard links to larger ones."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a file or folder, which is renamed to `path` if the block raises nothing.

    All of it is on the disk (fsync) before the rename, and the rename itself before this returns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with scratch(path.parent, path.name) as folder:
        temporary = folder / path.name
        yield temporary
        sync(temporary)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        os.replace(temporary, path)
        sync_entry(path.parent)


def sync(path: Path) -> None:
    """Write a file, or a folder and all that is in it, to the disk (fsync)."""
    inside = [each for each in path.rglob("*") if not each.is_symlink()] if path.is_dir() else []
    for each in (*inside, path):
        sync_entry(each)


def sync_entry(path: Path) -> None:
    """Write a file, or the list of names in a folder, to the disk; not every file system can do it for folders."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF):
            raise
    finally:
        os.close(handle)


@contextmanager
def scratch(parent: Path, name: str) -> Iterator[Path]:
    """Yield a temporary folder in `parent`, which is removed at the end, as are those of processes that were killed.

    A process locks its temporary folder. So one that is not locked belongs to no process, unless it is so new that
    its process has not locked it yet.
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
    """Lock the folder until the block or the process ends, so that other processes see that it is in use."""
    handle = _try_lock(folder)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def in_use(folder: Path) -> bool:
    """Whether a process owns the folder, or may be about to, since it was changed in the last 60 s."""
    return _age(folder) <= 60 or is_owned(folder)


def is_owned(folder: Path) -> bool:
    """Whether a process has locked the folder with `owned`."""
    if (handle := _try_lock(folder)) is None:
        return True
    os.close(handle)
    return False


def _age(path: Path) -> float:
    """Seconds since the last change; 0 where another process removed it."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _try_lock(path: Path) -> int | None:
    """A file descriptor that holds the lock; None where another process holds it, or the path does not exist."""
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
    """Hold a lock on the file `path`, exclusive or shared; wait for it at most `seconds`.

    `what` names in the message what the lock protects.

    Raises:
        Refused: another process held the lock all this time.
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
                    raise OSError(error.errno, error.strerror, str(path)) from None
                if time.monotonic() >= deadline:
                    raise refuse(
                        path,
                        f"another process has held the lock of {what} for {seconds:g} s",
                        "wait until that process ends, or stop it, and run the command again",
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, with the same bytes for the same value.

    Raises:
        ValueError: the value contains NaN or infinity.
    """
    write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """JSON as `write_json` writes it."""
    return (json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder to `target`, which does not exist; unlike shutil.copytree, the first error is raised at once."""
    target.mkdir(parents=True)
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir()
        else:
            shutil.copyfile(path, copy)


def clone(source: Path, target: Path) -> None:
    """Make `target`, which does not exist, a file or folder with the content of `source`.

    A file is a reflink where the file system supports it: both share their blocks until one is changed. Otherwise it
    is a copy, or a hard link above HARD_LINK bytes, so that a large model does not use the disk space twice.
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
        except OSError:  # this file system has no reflinks
            pass
        if os.fstat(reader.fileno()).st_size <= HARD_LINK:
            shutil.copyfileobj(reader, writer)
            return
    target.unlink()
    try:
        os.link(source, target)
    except OSError:  # on another file system
        shutil.copyfile(source, target)


class Damaged(Refused, ValueError):
    """A file that tapeline wrote is not what it wrote."""


def read_json(path: Path) -> Any:
    """Read a JSON file that tapeline wrote.

    Raises:
        Damaged: it is not JSON.
        OSError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        problem = f"the file is damaged: it is not JSON ({' '.join(str(error).split())})"
        raise Damaged(
            *refuse(path, problem, "remove it and make it again, for example: tapeline run").findings
        ) from None


def yaml_documents(text: str) -> list[Any]:
    """The documents of a YAML text, by the C parser, where PyYAML has it: the one in Python takes ten times as long."""
    import yaml

    return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def digest(*values: object) -> str:
    """SHA-256, in hex, of a sequence of JSON values or bytes."""
    sha = hashlib.sha256()
    for value in values:
        part = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
        sha.update(len(part).to_bytes(8, "big") + part)
    return sha.hexdigest()


def digest_content(content: bytes) -> str:
    """SHA-256, in hex, of a file's content: what `digest_path` gives for the file."""
    return hashlib.sha256(content).hexdigest()


def digest_path(path: Path) -> str:
    """SHA-256, in hex, of a file's content, or of the relative paths and contents of a folder's files."""
    if not path.is_dir():
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    inside = sorted(item for item in path.rglob("*") if item.is_file())
    return digest([[str(item.relative_to(path)), digest_path(item)] for item in inside])


def point(link: Path, name: str) -> None:
    """Make `link` a symbolic link to its sibling `name`, atomically."""
    with scratch(link.parent, link.name) as folder:
        (folder / link.name).symlink_to(name)
        os.replace(folder / link.name, link)
        sync_entry(link.parent)


def size(paths: Iterable[Path]) -> int:
    """Bytes of files and folders; links are not followed, and files that another process removes count as 0."""
    total = 0
    for path in paths:
        for file in (path, *path.rglob("*")):
            with suppress(FileNotFoundError):
                total += 0 if file.is_dir() else file.lstat().st_size
    return total


def require_space(folder: Path, needed: int, what: str, fix: str) -> int:
    """Bytes that are free on the disk of a folder, which need not exist yet.

    Args:
        folder: where something is to be written.
        needed: its bytes.
        what: that needs them, for the message.
        fix: another place for it, for the message.

    Raises:
        Refused: less is free.
    """
    existing = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
    free = shutil.disk_usage(existing).free
    if needed > free:
        problem = f"{what} needs about {shown_size(needed)} of disk space, and {shown_size(free)} are free"
        raise refuse(existing, problem, f"free some space, or choose another disk, for example {fix}")
    return free


def shown_size(count: int) -> str:
    """Bytes for messages, as 3.1 GB."""
    unit, size = next((each for each in (("GB", 10**9), ("MB", 10**6)) if count >= each[1]), ("kB", 1000))
    return f"{count / size:.3g} {unit}"


def modules(package: str) -> list[str]:
    """Sorted names of the modules and packages in a package; only the package itself is imported."""
    return sorted(each.name for each in pkgutil.iter_modules(importlib.import_module(package).__path__))
