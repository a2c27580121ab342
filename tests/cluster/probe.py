"""What an image holds and its last training made, as a line of JSON; runs in the image, and knows only what is there.

python probe.py FITTED [SONAME ...]
"""

from __future__ import annotations

import ctypes
import json
import os
import runpy
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import tapeline
from tapeline.pipeline import cache_key

Weights = dict[str, dict[str, str]]


def weights(folder: Path) -> Weights:
    """Each array below a folder; the files themselves differ in what Python's zipfile writes around them."""
    import numpy as np

    files = {str(path.relative_to(folder)): np.load(path) for path in sorted(folder.rglob("*.npz"))}
    return {name: {key: file[key].tobytes().hex() for key in file} for name, file in files.items()}


def probe(fitted: Path, sonames: list[str]) -> dict[str, Any]:
    """Everything that a test asks for.

    Raises:
        OSError: the loader does not find one of the libraries.
    """
    site = Path(tapeline.__file__).parents[1]
    cuda = Path(os.environ.get("XLA_FLAGS", "").partition("=")[2])
    for name in sonames:
        ctypes.CDLL(name)
    return {
        "user": os.getuid(),
        "writable": [folder for folder in ("/", "/home", "/tmp", "/var/tmp", str(site)) if os.access(folder, os.W_OK)],
        "distributions": {each.name: each.version for each in distributions(path=[str(site)])},
        "compiled": [(site / name / "__pycache__").is_dir() for name in ("tapeline", "tensorflow")],
        "code": runpy.run_path(str(site / "tensorflow/python/platform/build_info.py"))["build_info"][
            "cuda_compute_capabilities"
        ],
        "compiler": [(cuda / name).exists() for name in ("bin/ptxas", "nvvm/libdevice/libdevice.10.bc")],
        "source": cache_key.digest_of_source(),
        "processor": cache_key.instruction_set(),
        "fitted": json.loads((fitted / "fitted.json").read_text()),
        "weights": weights(fitted),
    }


if __name__ == "__main__":
    print(json.dumps(probe(Path(sys.argv[1]), sys.argv[2:])))
