"""The backend of a store in a local folder."""

# ruff: noqa: D102  # the protocol Backend documents the methods

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tapeline import files
from tapeline.errors import refuse


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
        files.write_bytes(self.root / path, content)
        return files.digest(content)

    def append(self, path: str, line: bytes) -> None:
        with open(self.root / path, "ab") as log:
            log.write(line + b"\n")
            log.flush()
            os.fsync(log.fileno())

    def models(self) -> list[str]:
        if not self.root.is_dir():
            return []
        return sorted(each.name for each in self.root.iterdir() if each.is_dir() and not each.name.startswith("."))

    def versions(self, model: str) -> list[int]:
        folder = self.root / model
        return sorted(int(each.name) for each in folder.iterdir() if each.name.isdigit()) if folder.is_dir() else []

    def add(self, model: str, build: Callable[[Path], None]) -> int:
        version = max(self.versions(model), default=0) + 1
        with files.atomic_path(self.root / model / str(version)) as temporary:
            build(temporary)
        return version

    def remove(self, model: str, version: int) -> None:
        with files.scratch(self.root / model, f"old{version}") as scratch:
            os.replace(self.root / model / str(version), scratch / str(version))

    def download(self, model: str, version: int, folder: Path) -> None:
        source = self.root / model / str(version)
        if not source.is_dir():
            problem = "models.config names this version, but it does not exist"
            raise refuse(source, problem, "publish or promote another version, for example: tapeline promote version=1")
        files.copy_folder(source, folder)

    @contextmanager
    def open_version(self, model: str, version: int) -> Iterator[Path]:
        yield self.root / model / str(version)

    @contextmanager
    def lock(self, seconds: float) -> Iterator[None]:
        with files.locked(self.root / ".lock", seconds=seconds, what="the store"):
            yield
