"""Where a store lies: a folder of this machine, or objects by URL.

A place keeps models.config, versions and a log; what they mean is the store's affair.
"""

# ruff: noqa: D102  # Place says what the methods of each kind do

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from tapeline import files
from tapeline.errors import Refused, refuse, scrub

TRIES = 40


class Conflict(Refused):
    """Another changed the store in between; what was read has to be read anew."""


retried = retry(
    retry=retry_if_exception_type(Conflict),
    wait=wait_random_exponential(multiplier=0.02, max=1),
    stop=stop_after_attempt(TRIES),
    reraise=True,
)
"""Runs a function again while others change the store under it; of each round, one gets on."""


class Place(Protocol):
    """What a store needs of the place it lies in."""

    @property
    def locks(self) -> bool:
        """`alone` keeps others out; without it, `replace` tells that they came in between."""

    @property
    def base(self) -> str:
        """What models.config names as the folder of all models."""

    def read(self, path: str) -> tuple[bytes, str]:
        """A file and its tag; FileNotFoundError where it is not there."""

    def replace(self, path: str, content: bytes, tag: str) -> str:
        """Write a file that has the tag, "" where there is none; its new tag, or Conflict."""

    def append(self, path: str, line: bytes) -> None:
        """Add a line to a file; where there is no lock, once, though several may try."""

    def names(self) -> list[str]:
        """Of models."""

    def numbers(self, name: str) -> list[int]:
        """Of versions that are whole, the oldest first."""

    def add(self, name: str, build: Callable[[Path], None]) -> int:
        """Take the next number for the folder that `build` makes, whole or not at all."""

    def remove(self, name: str, number: int) -> None:
        """Remove a version."""

    def fetch(self, name: str, number: int, folder: Path) -> None:
        """Copy a version into a folder that is not there yet; Refused where it is not whole."""

    def opened(self, name: str, number: int) -> AbstractContextManager[Path]:
        """A version as a folder to read from."""

    def alone(self, seconds: float) -> AbstractContextManager[None]:
        """Keep others from changing it, where the place can."""


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


def at(where: Path | str) -> Place:
    """The place that a path or URL names; the network is not asked yet.

    Raises:
        Refused: no such kind of place, its driver is not installed, or the URL holds a password.
    """
    if isinstance(where, Path) or "://" not in where:
        return Local(Path(where))
    if scrub(where) != where:
        raise refuse(where, "holds a password", "leave it out; credentials come from the environment")
    from tapeline.serving.stores.objects import Objects

    return Objects.of(where)


def absolute(where: str) -> str:
    """The place's name for a record."""
    return where if "://" in where else str(Path(where).absolute())
