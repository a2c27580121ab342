"""The live version of a model (the champion), for steps that only read it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tapeline.console import LOG
from tapeline.serving.store.versions import read


@contextmanager
def served(store: str, name: str) -> Iterator[Path | None]:
    """A local folder with the live version of the model `name`; None where no version is live, or it is damaged.

    Raises:
        Refused: models.config is damaged.
    """
    opened = read(store, name)
    version = opened.live()
    if version and version.problem:
        LOG.warning("%s: there is no champion to compare with", version)
    if version is None or version.problem:
        yield None
        return
    with opened.open_version(version) as folder:
        yield folder
