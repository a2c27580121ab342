"""Where a store lies: a folder of this machine, or objects by URL."""

from __future__ import annotations

from pathlib import Path

from tapeline.errors import refuse, scrub
from tapeline.serving.store.backend import Place
from tapeline.serving.store.folder import Local
from tapeline.serving.store.object_storage import Objects


def at(where: Path | str) -> Place:
    """The place that a path or URL names; the network is not asked yet.

    Raises:
        Refused: no such kind of place, its driver is not installed, or the URL holds a password.
    """
    if isinstance(where, Path) or "://" not in where:
        return Local(Path(where))
    if scrub(where) != where:
        raise refuse(where, "holds a password", "leave it out; credentials come from the environment")
    return Objects.of(where)


def absolute(where: str) -> str:
    """The place's name for a record."""
    return where if "://" in where else str(Path(where).absolute())
