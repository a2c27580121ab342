"""The interface of a store's backend, and the retry of changes that conflict.

A backend stores models.config, the versions of the models and a log, in a folder or in an object storage. It does not
know what they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from tapeline.errors import Refused

ATTEMPTS = 40


class Conflict(Refused):
    """Another process changed the file after it was read; read it again and repeat the change."""


retry_on_conflict = retry(
    retry=retry_if_exception_type(Conflict),
    wait=wait_random_exponential(multiplier=0.02, max=1),
    stop=stop_after_attempt(ATTEMPTS),
    reraise=True,
)
"""Call a function again after a Conflict. Of the processes that conflict, at least one succeeds in each round."""


class Backend(Protocol):
    """Where the files of a store are. Paths are relative to the store, with slashes."""

    @property
    def has_lock(self) -> bool:
        """Whether `lock` keeps other processes out. Without a lock, `put` detects what they changed."""

    @property
    def base(self) -> str:
        """The folder or URL of the store: a model's base_path in models.config is <base>/<model's name>."""

    def read(self, path: str) -> tuple[bytes, str]:
        """The content of a file and its ETag; raises FileNotFoundError."""

    def put(self, path: str, content: bytes, etag: str) -> str:
        """Write a file that has this ETag ("": that does not exist); returns the new ETag, or raises Conflict."""

    def append(self, path: str, line: bytes) -> int:
        """Append a line to a file, completely or not at all; a line that was torn before is dropped.

        Returns the bytes of the file then.
        Without a lock, a line that is in the file already is not appended again.
        """

    def lines(self, path: str) -> Iterator[bytes]:
        """The lines of a file, the last one first; none where it does not exist. Only what is used is read."""

    def models(self) -> list[str]:
        """The names of the models, sorted."""

    def versions(self, model: str) -> list[int]:
        """The version numbers of a model's complete versions, ascending."""

    def problem(self, model: str, version: int, *, thorough: bool = False) -> str:
        """What is lost or damaged of a version, compared with what was added; "" where nothing is.

        Without `thorough`, only as far as it is quick: sizes in a folder, nothing in an object storage.
        """

    def add(self, model: str, build: Callable[[Path], None], above: int = 0) -> int:
        """Add the folder that `build` makes, atomically and on the disk, under the next version number.

        The number is larger than `above` and than each that exists; it is returned.
        """

    def remove(self, model: str, version: int) -> None:
        """Remove a version."""

    def download(self, model: str, version: int, folder: Path) -> None:
        """Copy a version to a folder that does not exist yet; raises Refused where the version is not complete."""

    def open_version(self, model: str, version: int) -> AbstractContextManager[Path]:
        """A local folder with the files of a version, to be read inside the block only."""

    def lock(self, seconds: float) -> AbstractContextManager[None]:
        """Keep other processes from changing the store, where has_lock; raises Refused after `seconds` of waiting."""
