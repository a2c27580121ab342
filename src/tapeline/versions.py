"""Versions of the software that produces the results."""

from __future__ import annotations

import importlib.metadata
import sys
from contextlib import suppress

from tapeline import __version__


def versions() -> dict[str, str]:
    """The versions of tapeline, Python and the installed packages that results depend on, by name."""
    found = {"tapeline": __version__, "python": sys.version.split()[0]}
    for name in ("hydra-core", "numpy", "polars", "tensorflow", "lightgbm"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
