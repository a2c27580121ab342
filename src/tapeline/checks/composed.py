"""Configurations that rules compose: each once, since many pods and overlays have the same overrides."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from tapeline.config import compose as conf
from tapeline.config.schema import Config
from tapeline.lookup import configure


def composed(overrides: Iterable[str]) -> Config:
    """The configuration of these overrides.

    Raises:
        Refused: all that is wrong with it.
    """
    return _composed(str(conf.folder()), tuple(overrides))


@lru_cache(maxsize=128)
def _composed(folder: str, overrides: tuple[str, ...]) -> Config:
    del folder  # part of the key of the cache
    return configure(overrides)
