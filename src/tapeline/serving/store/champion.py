"""The version that is served now, for those who only read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tapeline.serving.store.versions import read


@contextmanager
def served(store: str, name: str) -> Iterator[Path | None]:
    """A local folder with the version that is live under the name; None where there is none.

    Raises:
        Refused: the store is damaged.
    """
    held = read(store, name)
    version = held.live()
    if version is None:
        yield None
        return
    with held.opened(version) as folder:
        yield folder
