"""The location of a store: a local folder, or the URL of an object storage."""

from __future__ import annotations

from pathlib import Path

from tapeline.errors import refuse
from tapeline.redaction import holds_secret
from tapeline.serving.store.backend import Backend
from tapeline.serving.store.folder import FolderBackend
from tapeline.serving.store.object_storage import ObjectStorageBackend


def backend(location: Path | str) -> Backend:
    """The backend of the store at a path or URL; this sends no request yet.

    Raises:
        Refused: the URL's scheme is not supported, its driver is not installed, or the URL contains a password.
    """
    if isinstance(location, Path) or "://" not in location:
        return FolderBackend(Path(location))
    if holds_secret(location):
        problem = "contains a password"
        raise refuse(location, problem, "leave it out of the URL; set the credentials in the environment")
    return ObjectStorageBackend.from_url(location)


def absolute(location: str) -> str:
    """The location with an absolute path, for run.json; a URL is returned unchanged."""
    return location if "://" in location else str(Path(location).absolute())
