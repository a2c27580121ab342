"""Versions of the software that produces the results."""

from __future__ import annotations

import importlib.metadata
import sys
from contextlib import suppress

from tapeline import __version__

ARGO = "4.0.10"
"""Argo Workflows: what `tapeline cluster` installs, and what the YAML is emitted for."""
ARGO_SCHEMAS = "4.0.5"
"""The release of the same minor version whose CRDs checks/schemas holds; Hera's models are of it, too."""
TRAINING_OPERATOR = "1.9.4"
"""Kubeflow's training operator, whose TFJob checks/schemas holds."""


def versions() -> dict[str, str]:
    """The versions of tapeline, Python and the installed packages that results depend on, by name."""
    found = {"tapeline": __version__, "python": sys.version.split()[0]}
    for name in ("hydra-core", "numpy", "polars", "tensorflow", "lightgbm"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
