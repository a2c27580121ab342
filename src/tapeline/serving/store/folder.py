"""The backend of a store in a local folder."""

# ruff: noqa: D102  # the protocol Backend documents the methods

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tapeline import files
from tapeline.errors import refuse
from tapeline.serving.models_config import version_number

FILES = Path("assets.extra") / "files.json"
"""In a version: size and digest of each of its other files, to find what is lost or damaged later."""
MODEL = "saved_model.pb"
BLOCK = 2**16
LONGEST_LINE = 2**20


@dataclass(frozen=True)
class FolderBackend:
    """A local folder with a lock file."""

    root: Path
    has_lock: bool = True

    def __str__(self) -> str:
        return str(self.root)

    @property
    def base(self) -> str:
        return str(self.root.absolute())

    def read(self, path: str) -> tuple[bytes, str]:
        content = (self.root / path).read_bytes()
        return content, files.digest(content)

    def put(self, path: str, content: bytes, etag: str) -> str:
        del etag  # the caller holds the lock, so the file is as it was read
        try:
            files.write_bytes(self.root / path, content)
        except OSError:
            # after the rename only the fsync of the folder can fail: then the file is replaced, and that counts
            if not _holds(self.root / path, content):
                raise
        return files.digest(content)

    def append(self, path: str, line: bytes) -> int:
        handle = os.open(self.root / path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            end = _end_of_lines(handle)
            os.ftruncate(handle, end)
            content = line + b"\n"
            try:
                if os.pwrite(handle, content, end) < len(content):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.root / path))
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, end)
                raise
        finally:
            os.close(handle)
        return end + len(content)

    def lines(self, path: str) -> Iterator[bytes]:
        with suppress(FileNotFoundError), open(self.root / path, "rb") as handle:
            yield from _backwards(handle)

    def models(self) -> list[str]:
        if not self.root.is_dir():
            return []
        return sorted(each.name for each in self.root.iterdir() if each.is_dir() and not each.name.startswith("."))

    def versions(self, model: str) -> list[int]:
        folder = self.root / model
        return [number for number in self._numbers(model) if (folder / str(number)).is_dir()]

    def _numbers(self, model: str) -> list[int]:
        """All numbers that are taken, if only by a stray file."""
        folder = self.root / model
        found = (version_number(each.name) for each in folder.iterdir()) if folder.is_dir() else ()
        return sorted(number for number in found if number is not None)

    def problem(self, model: str, version: int, *, thorough: bool = False) -> str:
        folder = self.root / model / str(version)
        if not folder.is_dir():
            return "missing"
        try:
            expected = files.read_json(folder / FILES)
            wrong = [path for path, facts in expected.items() if not _is(folder / path, *facts, thorough=thorough)]
        except FileNotFoundError:  # a version of an older release
            wrong = [] if (folder / MODEL).is_file() else [MODEL]
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            wrong = [str(FILES)]
        return f"damaged: {', '.join(wrong[:3])}" if wrong else ""

    def add(self, model: str, build: Callable[[Path], None], above: int = 0) -> int:
        version = max([above, *self._numbers(model)]) + 1
        with files.atomic_path(self.root / model / str(version)) as temporary:
            build(temporary)
            inside = sorted(path for path in temporary.rglob("*") if path.is_file())
            facts = {
                str(path.relative_to(temporary)): [path.stat().st_size, files.digest_path(path)] for path in inside
            }
            files.write_json(temporary / FILES, facts)
        files.sync_entry(self.root)
        return version

    def remove(self, model: str, version: int) -> None:
        with files.scratch(self.root / model, f"old{version}") as scratch:
            os.replace(self.root / model / str(version), scratch / str(version))

    def download(self, model: str, version: int, folder: Path) -> None:
        source = self.root / model / str(version)
        if problem := self.problem(model, version, thorough=True):
            fix = "publish or promote another version, for example: tapeline promote version=1"
            raise refuse(source, f"models.config names this version, but it is {problem}", fix)
        files.copy_folder(source, folder)

    @contextmanager
    def open_version(self, model: str, version: int) -> Iterator[Path]:
        yield self.root / model / str(version)

    @contextmanager
    def lock(self, seconds: float) -> Iterator[None]:
        with files.locked(self.root / ".lock", seconds=seconds, what="the store"):
            yield


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def _is(path: Path, size: int, digest: str, *, thorough: bool) -> bool:
    """Whether a file has this size and, where `thorough`, this digest."""
    try:
        return path.stat().st_size == size and (not thorough or files.digest_path(path) == digest)
    except OSError:
        return False


def _end_of_lines(handle: int) -> int:
    """The position behind the last complete line; a last line without its newline counts if it is a JSON value."""
    end = os.fstat(handle).st_size
    start, found = end, -1
    while start and found < 0:
        step = min(BLOCK, start)
        start -= step
        found = os.pread(handle, step, start).rfind(b"\n")
    whole = start + found + 1
    if whole < end and end - whole < LONGEST_LINE and _is_json(os.pread(handle, end - whole, whole)):
        os.pwrite(handle, b"\n", end)
        return end + 1
    return whole


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _backwards(handle: BinaryIO) -> Iterator[bytes]:
    """The lines of a file from its end; of a longer line than LONGEST_LINE only a part."""
    position, first = handle.seek(0, os.SEEK_END), b""
    while position:
        step = min(BLOCK, position)
        position -= step
        handle.seek(position)
        first, *rest = (handle.read(step) + first).split(b"\n")
        yield from reversed(rest)
        first = first[:LONGEST_LINE]
    yield first
