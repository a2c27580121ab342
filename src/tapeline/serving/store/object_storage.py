"""A store in object storage, which has neither locks nor renames.

    <url>/<name>/<number>.claim     who took the number; made by conditional put, so nobody else has it
    <url>/<name>/<number>/...       the version's files
    <url>/<name>/<number>.whole     their sizes and digests, made last: without it the version does not count

An empty `.whole` says that its publisher is given up: made by conditional put too, so either the
publisher completes its version or it is cleared away, never both.
"""

# ruff: noqa: D102  # Place says what the methods do

from __future__ import annotations

import json
import logging
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tapeline import files
from tapeline.errors import refuse
from tapeline.objects import KINDS, NONE, Changed, Kind, NoBucket
from tapeline.serving.store.backend import TRIES, Conflict, retried

GIVEN_UP = timedelta(days=1)
"""A publisher that took a number so long ago and has not completed it was killed."""


@dataclass(frozen=True)
class Objects:
    """Objects under a URL."""

    url: str
    kind: Kind
    fs: Any
    root: str
    """The path without scheme: bucket/prefix."""
    locks: bool = False

    @classmethod
    def of(cls, url: str) -> Objects:
        """The place of a URL.

        Raises:
            Refused: no such kind, or its driver is not installed.
        """
        scheme, _, path = url.partition("://")
        path = path.strip("/")
        if scheme not in KINDS or not path:
            raise refuse(url, "is no store", "write a folder, s3://bucket/prefix or gs://bucket/prefix")
        kind = KINDS[scheme]
        try:
            import fsspec

            filesystem = fsspec.filesystem(scheme, **kind.options)
        except ImportError:
            fix = f"pip install 'tapeline[{kind.extra}]'" if kind.extra else "pip install fsspec"
            raise refuse(url, "the driver of this store is not installed", fix) from None
        # They log each attempt with its traceback; the last one's sentence is what a person needs.
        for driver in ("s3fs", "gcsfs"):
            logging.getLogger(driver).setLevel(logging.CRITICAL)
        root = f"/{path}" if scheme == "memory" else path
        return cls(f"{scheme}://{path}", kind, filesystem, root)

    def __str__(self) -> str:
        return self.url

    @property
    def base(self) -> str:
        return self.url

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Turn what drivers raise, each its own kinds, into one sentence; a file not found stays that."""
        try:
            yield
        except (Changed, FileNotFoundError):
            raise
        except NoBucket as error:
            raise refuse(self.url, f"there is no bucket {error}", "make it, or choose another serving.store") from None
        except Exception as error:
            what = " ".join(str(error).split()) or type(error).__name__
            if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"):
                raise refuse(self.url, "no credentials are in the environment", self.kind.credentials) from None
            if isinstance(error, PermissionError) or "Forbidden" in what:
                raise refuse(self.url, f"access is denied ({what})", self.kind.credentials) from None
            fix = "check the address, the network and the credentials"
            raise refuse(self.url, f"cannot be used ({what})", fix) from None

    def read(self, path: str) -> tuple[bytes, str]:
        with self._said():
            return self.kind.read(self.fs, f"{self.root}/{path}")

    def replace(self, path: str, content: bytes, tag: str) -> str:
        try:
            with self._said():
                return self.kind.write(self.fs, f"{self.root}/{path}", content, tag)
        except Changed:
            # A write whose answer was lost and that the driver sent again: contents are unique.
            found = self._found(path)
            if found and found[0] == content:
                return found[1]
            problem = "others keep changing it"
            raise Conflict(*refuse(f"{self.url}/{path}", problem, "run it again").findings) from None

    def _found(self, path: str) -> tuple[bytes, str] | None:
        try:
            return self.read(path)
        except FileNotFoundError:
            return None

    @retried
    def append(self, path: str, line: bytes) -> None:
        content, tag = self._found(path) or (b"", NONE)
        if line not in content.split(b"\n"):
            self.replace(path, content + line + b"\n", tag)

    def names(self) -> list[str]:
        try:
            with self._said():
                entries = self.fs.ls(self.root, detail=True)
        except FileNotFoundError:
            return []
        folders = (each["name"].rstrip("/").rpartition("/")[2] for each in entries if each["type"] == "directory")
        return sorted(name for name in folders if name)

    def numbers(self, name: str) -> list[int]:
        return _whole(self._listed(name))

    def _listed(self, name: str) -> dict[str, int]:
        """Sizes of all objects of a model, by their path below it."""
        with self._said():
            try:
                found = self.fs.find(f"{self.root}/{name}", detail=True)
            except FileNotFoundError:
                return {}
        prefix = len(f"{self.root}/{name}/")
        return {path[prefix:]: int(each["size"]) for path, each in found.items()}

    def add(self, name: str, build: Callable[[Path], None]) -> int:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "version"
            build(folder)
            number = self._claim(name)
            with self._said():
                for path in _inside(folder):
                    self.fs.pipe_file(f"{self.root}/{name}/{number}/{path}", (folder / path).read_bytes())
            told = {
                path: [(folder / path).stat().st_size, files.digest_path(folder / path)] for path in _inside(folder)
            }
            try:
                self._download(name, number, told, Path(scratch) / "again")
            except FileNotFoundError:
                finding = refuse(f"{self.url}/{name}/{number}", "was cleared away by another", "run it again").findings
                raise Conflict(*finding) from None
        marker = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "id": uuid.uuid4().hex, "files": told}
        self.replace(f"{name}/{number}.whole", json.dumps(marker, indent=2).encode(), NONE)
        return number

    def _claim(self, name: str) -> int:
        """A number that nobody else has, above all that there are."""
        listed = self._listed(name)
        self._clear(name, listed)
        number = max(_claimed(listed), default=0) + 1
        claim = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "id": uuid.uuid4().hex}
        for _ in range(TRIES):
            try:
                self.replace(f"{name}/{number}.claim", json.dumps(claim).encode(), NONE)
                return number
            except Conflict:
                number += 1
        raise refuse(f"{self.url}/{name}", "others keep taking the next number", "run it again")

    def _clear(self, name: str, listed: Mapping[str, int]) -> None:
        """Give up publishers that were killed a day ago or earlier, and clear away what they left."""
        for number in set(_claimed(listed)) - set(_whole(listed)):
            marker = f"{number}.whole"
            if marker not in listed:
                found = self._found(f"{name}/{number}.claim")
                if not found or datetime.now(UTC) - datetime.fromisoformat(json.loads(found[0])["time"]) < GIVEN_UP:
                    continue
                try:
                    self.replace(f"{name}/{marker}", b"", NONE)
                except Conflict:
                    continue
            self._remove(f"{name}/{path}" for path in listed if path.startswith(f"{number}/"))

    def _remove(self, paths: Iterator[str]) -> None:
        for path in paths:
            with self._said():
                try:
                    self.fs.rm_file(f"{self.root}/{path}")
                except FileNotFoundError:
                    continue

    def remove(self, name: str, number: int) -> None:
        listed = [path for path in self._listed(name) if path.startswith(f"{number}/")]
        self._remove(f"{name}/{path}" for path in [f"{number}.whole", *listed, f"{number}.claim"])

    def fetch(self, name: str, number: int, folder: Path) -> None:
        try:
            told = json.loads(self.read(f"{name}/{number}.whole")[0] or b"{}")
            self._download(name, number, told["files"], folder)
        except (FileNotFoundError, KeyError):
            fix = "publish or promote another version"
            raise refuse(f"{self.url}/{name}/{number}", "is named by models.config and not whole", fix) from None

    def _download(self, name: str, number: int, told: Mapping[str, list[Any]], folder: Path) -> None:
        """Get files and compare them with their sizes and digests."""
        for path, (size, digest) in told.items():
            target = folder / path
            if Path(path).is_absolute() or ".." in Path(path).parts:
                raise refuse(f"{self.url}/{name}/{number}", f"names a file outside of it ({path})", "remove it")
            target.parent.mkdir(parents=True, exist_ok=True)
            with self._said():
                content = self.fs.cat_file(f"{self.root}/{name}/{number}/{path}")
            target.write_bytes(content)
            if [target.stat().st_size, files.digest_path(target)] != [size, digest]:
                problem = "has other content than was published"
                raise refuse(f"{self.url}/{name}/{number}/{path}", problem, "publish it again")

    @contextmanager
    def opened(self, name: str, number: int) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / str(number)
            self.fetch(name, number, folder)
            yield folder

    @contextmanager
    def alone(self, seconds: float) -> Iterator[None]:
        del seconds  # nobody can be kept out
        yield


def _inside(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _claimed(listed: Mapping[str, int]) -> list[int]:
    """Numbers that something lies under."""
    heads = {path.partition("/")[0].partition(".")[0] for path in listed}
    return sorted(int(head) for head in heads if head.isdecimal())


def _whole(listed: Mapping[str, int]) -> list[int]:
    marked = (path.removesuffix(".whole") for path, size in listed.items() if path.endswith(".whole") and size)
    return sorted(int(number) for number in marked if number.isdecimal())
