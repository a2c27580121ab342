"""What a store needs of the place it lies in, and how it waits for others.

A backend keeps models.config, versions and a log; what they mean is the store's affair.
"""

# Place says what the methods of each kind do

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from tapeline.errors import Refused

TRIES = 40


class Conflict(Refused):
    """Another changed the store in between; what was read has to be read anew."""


retried = retry(
    retry=retry_if_exception_type(Conflict),
    wait=wait_random_exponential(multiplier=0.02, max=1),
    stop=stop_after_attempt(TRIES),
    reraise=True,
)
"""Runs a function again while others change the store under it; of each round, one succeeds."""


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
