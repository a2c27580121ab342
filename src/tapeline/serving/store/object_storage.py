"""The backend of a store in an object storage, which has neither locks nor renames.

    <url>/<model>/<version>.claim     reserves the version number; a conditional put, so only one publisher has it
    <url>/<model>/<version>/...       the version's files
    <url>/<model>/<version>.whole     the completion marker: sizes and digests of the files, written last

A version without its marker is not complete, and no method lists it. An empty marker says that the publisher is
abandoned. Both markers are conditional puts: either the publisher completes the version, or its files are deleted.
"""

# ruff: noqa: D102  # the protocol Backend documents the methods

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tapeline import files
from tapeline.errors import Refused, refuse
from tapeline.objects import NO_ETAG, Objects, PreconditionFailed
from tapeline.serving.models_config import version_number
from tapeline.serving.store.backend import ATTEMPTS, Conflict, retry_on_conflict

ABANDONED = timedelta(days=1)
"""A version that is not complete so long after its claim belongs to a publisher that was killed."""


@dataclass(frozen=True)
class ObjectStorageBackend(Objects):
    """The objects under a URL."""

    has_lock: bool = False

    @property
    def base(self) -> str:
        return self.url

    def put(self, path: str, content: bytes, etag: str) -> str:
        try:
            return self.put_once(path, content, etag)
        except (PreconditionFailed, Refused) as error:
            # The response may be lost, and the driver then sends the put again: our own content may be there already.
            try:
                found = self._read_or_none(path)
            except Refused:
                found = None
            if found and found[0] == content:
                return found[1]
            if isinstance(error, Refused):
                raise
            problem = "other processes keep changing this object"
            raise Conflict(*refuse(f"{self.url}/{path}", problem, "run the command again").findings) from None

    def _read_or_none(self, path: str) -> tuple[bytes, str] | None:
        try:
            return self.read(path)
        except FileNotFoundError:
            return None

    @retry_on_conflict
    def append(self, path: str, line: bytes) -> int:
        content, etag = self._read_or_none(path) or (b"", NO_ETAG)
        if line not in content.split(b"\n"):
            separator = b"\n" if content and not content.endswith(b"\n") else b""
            content += separator + line + b"\n"
            self.put(path, content, etag)
        return len(content)

    def lines(self, path: str) -> Iterator[bytes]:
        found = self._read_or_none(path)
        yield from reversed(found[0].split(b"\n") if found else [])

    def models(self) -> list[str]:
        try:
            with self.translated_errors():
                entries = self.fs.ls(self.root, detail=True)
        except FileNotFoundError:
            return []
        folders = (each["name"].rstrip("/").rpartition("/")[2] for each in entries if each["type"] == "directory")
        return sorted(name for name in folders if name)

    def versions(self, model: str) -> list[int]:
        return _complete(self._list(model))

    def _list(self, model: str) -> dict[str, int]:
        """The sizes of all objects of a model, by their path below the model's."""
        return {path[len(model) + 1 :]: each.size for path, each in self.found(model).items()}

    def problem(self, model: str, version: int, *, thorough: bool = False) -> str:
        if not thorough:  # the marker of a version that is listed was written when all was complete
            return ""
        listed = self._list(model)
        if version not in _complete(listed) or not any(path.startswith(f"{version}/") for path in listed):
            return "missing"
        try:
            expected = self._marker(model, version)
        except FileNotFoundError:
            return "missing"
        except (ValueError, TypeError):
            return f"damaged: {version}.whole"
        wrong = [
            path
            for path, (size, digest) in expected.items()
            if listed.get(f"{version}/{path}") != size or not self._is(f"{model}/{version}/{path}", digest)
        ]
        return f"damaged: {', '.join(wrong[:3])}" if wrong else ""

    def _is(self, path: str, digest: str) -> bool:
        """Whether an object has this digest."""
        found = self._read_or_none(path)
        return found is not None and files.digest_content(found[0]) == digest

    def _marker(self, model: str, version: int) -> dict[str, tuple[int, str]]:
        """Size and digest of each file of a version, from its completion marker.

        Raises:
            FileNotFoundError: it has none.
            ValueError, TypeError: it is damaged.
        """
        content = json.loads(self.read(f"{model}/{version}.whole")[0])
        expected = content["files"] if isinstance(content, dict) and "files" in content else None
        if not isinstance(expected, dict):
            raise ValueError("the marker has no list of files")
        return {str(path): (int(size), str(digest)) for path, (size, digest) in expected.items()}

    def add(self, model: str, build: Callable[[Path], None], above: int = 0) -> int:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "version"
            build(folder)
            paths = _files_in(folder)
            version = self._claim(model, above)
            with self.translated_errors():
                for path in paths:
                    self.fs.pipe_file(f"{self.root}/{model}/{version}/{path}", (folder / path).read_bytes())
            sizes = {path: ((folder / path).stat().st_size, files.digest_path(folder / path)) for path in paths}
            try:
                self._download(model, version, sizes, Path(scratch) / "downloaded")
            except FileNotFoundError:
                problem = "another process deleted this version while it was written"
                findings = refuse(f"{self.url}/{model}/{version}", problem, "run the command again").findings
                raise Conflict(*findings) from None
        marker = {**_stamp(), "files": sizes}
        self.put(f"{model}/{version}.whole", json.dumps(marker, indent=2).encode(), NO_ETAG)
        return version

    def _claim(self, model: str, above: int) -> int:
        """Reserve a version number above all that exist, for this process alone."""
        listed = self._list(model)
        self._remove_abandoned(model, listed)
        version = max([above, *_numbers(listed)]) + 1
        claim = json.dumps(_stamp()).encode()
        for _ in range(ATTEMPTS):
            try:
                self.put(f"{model}/{version}.claim", claim, NO_ETAG)
                return version
            except Conflict:
                version += 1
        problem = "other processes keep reserving the next version number"
        raise refuse(f"{self.url}/{model}", problem, "run the command again")

    def _remove_abandoned(self, model: str, listed: Mapping[str, int]) -> None:
        """Mark versions whose publisher was killed more than a day ago as abandoned, and delete their files."""
        for version in set(_numbers(listed)) - set(_complete(listed)):
            marker = f"{version}.whole"
            if marker not in listed:
                found = self._read_or_none(f"{model}/{version}.claim")
                if not found or not _is_old(found[0]):
                    continue
                try:
                    self.put(f"{model}/{marker}", b"", NO_ETAG)
                except Conflict:
                    continue
            self.remove_all(f"{model}/{path}" for path in listed if path.startswith(f"{version}/"))

    def remove(self, model: str, version: int) -> None:
        paths = [path for path in self._list(model) if path.startswith(f"{version}/")]
        self.remove_all(f"{model}/{path}" for path in [f"{version}.whole", *paths, f"{version}.claim"])

    def download(self, model: str, version: int, folder: Path) -> None:
        try:
            self._download(model, version, self._marker(model, version), folder)
        except (FileNotFoundError, ValueError, TypeError):
            problem = "models.config names this version, but it is not complete"
            fix = "publish or promote another version, for example: tapeline promote version=1"
            raise refuse(f"{self.url}/{model}/{version}", problem, fix) from None

    def _download(self, model: str, version: int, sizes: Mapping[str, tuple[int, str]], folder: Path) -> None:
        """Download files and compare each with its size and digest."""
        for path, (size, digest) in sizes.items():
            target = folder / path
            if Path(path).is_absolute() or ".." in Path(path).parts:
                problem = f"its completion marker names a file outside of the version ({path})"
                raise refuse(f"{self.url}/{model}/{version}", problem, "remove this version from the bucket")
            target.parent.mkdir(parents=True, exist_ok=True)
            with self.translated_errors():
                content = self.fs.cat_file(f"{self.root}/{model}/{version}/{path}")
            target.write_bytes(content)
            if (target.stat().st_size, files.digest_path(target)) != (size, digest):
                problem = "its content differs from what was published"
                fix = "publish it again: tapeline publish run=latest"
                raise refuse(f"{self.url}/{model}/{version}/{path}", problem, fix)

    @contextmanager
    def open_version(self, model: str, version: int) -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / str(version)
            self.download(model, version, folder)
            yield folder

    @contextmanager
    def lock(self, seconds: float) -> Iterator[None]:
        del seconds  # object storage has no locks
        yield


def _stamp() -> dict[str, str]:
    """The time, and an id that makes the content of an object unique."""
    return {"time": datetime.now(UTC).isoformat(timespec="seconds"), "id": uuid.uuid4().hex}


def _files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _numbers(listed: Mapping[str, int]) -> list[int]:
    """All version numbers that have an object: a claim, a file or a marker."""
    found = (version_number(path.partition("/")[0].partition(".")[0]) for path in listed)
    return sorted({number for number in found if number is not None})


def _complete(listed: Mapping[str, int]) -> list[int]:
    """The version numbers with a completion marker that is not empty."""
    marked = (
        version_number(path[: -len(".whole")]) for path, size in listed.items() if path.endswith(".whole") and size
    )
    return sorted(number for number in marked if number is not None)


def _is_old(claim: bytes) -> bool:
    """Whether a publisher that wrote this claim is abandoned; one that cannot be read was never written completely."""
    try:
        claimed = datetime.fromisoformat(json.loads(claim)["time"])
        return datetime.now(UTC) - claimed >= ABANDONED
    except (ValueError, TypeError, KeyError):
        return False
