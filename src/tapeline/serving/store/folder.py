"""A store in a folder of this machine."""

# ruff: noqa: D102  # Place says what the methods do

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tapeline import files
from tapeline.errors import refuse


@dataclass(frozen=True)
class Local:
    """A folder."""

    root: Path
    locks: bool = True

    def __str__(self) -> str:
        return str(self.root)

    @property
    def base(self) -> str:
        return str(self.root.absolute())

    def read(self, path: str) -> tuple[bytes, str]:
        content = (self.root / path).read_bytes()
        return content, files.digest(content)

    def replace(self, path: str, content: bytes, tag: str) -> str:
        del tag  # the lock keeps others out
        files.write_bytes(self.root / path, content)
        return files.digest(content)

    def append(self, path: str, line: bytes) -> None:
        with open(self.root / path, "ab") as log:
            log.write(line + b"\n")
            log.flush()
            os.fsync(log.fileno())

    def names(self) -> list[str]:
        if not self.root.is_dir():
            return []
        return sorted(each.name for each in self.root.iterdir() if each.is_dir() and not each.name.startswith("."))

    def numbers(self, name: str) -> list[int]:
        folder = self.root / name
        return sorted(int(each.name) for each in folder.iterdir() if each.name.isdigit()) if folder.is_dir() else []

    def add(self, name: str, build: Callable[[Path], None]) -> int:
        number = max(self.numbers(name), default=0) + 1
        with files.whole(self.root / name / str(number)) as temporary:
            build(temporary)
        return number

    def remove(self, name: str, number: int) -> None:
        with files.scratch(self.root / name, f"old{number}") as scratch:
            os.replace(self.root / name / str(number), scratch / str(number))

    def fetch(self, name: str, number: int, folder: Path) -> None:
        source = self.root / name / str(number)
        if not source.is_dir():
            raise refuse(source, "is named by models.config and not there", "publish or promote another version")
        files.copy_folder(source, folder)

    @contextmanager
    def opened(self, name: str, number: int) -> Iterator[Path]:
        yield self.root / name / str(number)

    @contextmanager
    def alone(self, seconds: float) -> Iterator[None]:
        with files.locked(self.root / ".lock", seconds=seconds, what="the store"):
            yield
