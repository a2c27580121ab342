"""Arrays of a network as one .npz file, whose bytes follow from the arrays alone."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tapeline.tables.spec import Array


def write(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write named arrays in their order; the bytes of np.savez differ between releases of Python."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue())


def read(path: Path) -> dict[str, Array]:
    """Read what `write` wrote."""
    with np.load(path, allow_pickle=False) as saved:
        return {name: saved[name] for name in saved.files}
