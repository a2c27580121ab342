"""Seconds of `tapeline build` beside the bare import of what it emits with."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from benchmarks.run import seconds

LIMIT = 1.0
"""Seconds above that import that a build may take."""
STUB = "import sys, types; [sys.modules.__setitem__(n, types.ModuleType(n)) for n in ('kfp.client', 'kubernetes')]; "
IMPORTS = {
    "argo": "import hera.workflows",
    # without the clients of KFP and Kubernetes, which a build needs not
    "kfp": STUB
    + "vars(sys.modules['kfp.client'])['Client'] = vars(sys.modules['kubernetes'])['client'] = None; "
    + "import kfp.compiler, kfp.kubernetes",
}


def main() -> None:
    """Print the median of five builds for each target, in processes of their own."""
    with tempfile.TemporaryDirectory() as name:
        for target, statement in IMPORTS.items():
            bare = statistics.median(seconds(["-c", statement]) for _ in range(5))
            build = ["-m", "tapeline", "build", f"target={target}", "experiment=snp_deep", "hw=gpu"]
            took = statistics.median(seconds(build, Path(name)) for _ in range(5))
            within = "within" if took <= bare + LIMIT else "NOT within"
            print(f"  make build target={target:5} {took:5.2f} s, {within} {LIMIT:g} s and its import, {bare:.2f} s")


if __name__ == "__main__":
    main()
