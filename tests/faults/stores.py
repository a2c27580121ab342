"""Stores that are read and written file by file: one in a folder, and one in S3 on a real SeaweedFS."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tapeline.serving import saved_model
from tapeline.serving.store import location
from tests.servers.conftest import running_seaweedfs

Content = Mapping[str, bytes]
"""What a store has, by path."""
LOCK = ".lock"


def content(store: Path | str) -> dict[str, bytes]:
    """All files of a store, or all objects."""
    if isinstance(store, Path):
        files = (path for path in store.rglob("*") if path.is_file() and path.name != LOCK)
        return {path.relative_to(store).as_posix(): path.read_bytes() for path in files}
    backend: Any = location.backend(store)
    return {path: backend.fs.cat_file(f"{backend.root}/{path}") for path in backend.found()}


def fill(store: Path | str, right: Content) -> None:
    """Let a store have this content, and nothing else."""
    if isinstance(store, Path):
        shutil.rmtree(store, ignore_errors=True)
        for path, text in right.items():
            write(store, path, text)
        return
    there = content(store)
    for path in there.keys() | right.keys():
        if there.get(path) != right.get(path):
            write(store, path, right.get(path))


def write(store: Path | str, path: str, text: bytes | None) -> None:
    """Write one file; None removes it."""
    if isinstance(store, Path):
        if text is None:
            (store / path).unlink()
        else:
            (store / path).parent.mkdir(parents=True, exist_ok=True)
            (store / path).write_bytes(text)
        return
    backend: Any = location.backend(store)
    if text is None:
        backend.fs.rm_file(f"{backend.root}/{path}")
    else:
        backend.fs.pipe_file(f"{backend.root}/{path}", text)


@contextmanager
def both(folder: Path) -> Iterator[tuple[Path, str]]:
    """An empty store in a folder, and one on SeaweedFS; servables are not loaded, since those of these tests do not."""
    import fsspec

    verify, saved_model.verify = saved_model.verify, lambda folder: None
    try:
        with tempfile.TemporaryDirectory(dir=folder) as name, running_seaweedfs(Path(name)):
            fsspec.filesystem("s3", use_listings_cache=False).mkdir("s3://faults")
            yield folder / "store", "s3://faults/store"
    finally:
        saved_model.verify = verify
