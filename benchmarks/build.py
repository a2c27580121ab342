"""Seconds of `tapeline build` beside the bare import of the package that spells its target."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.run import seconds

EMITTERS = {"argo": "hera.workflows", "tfjob": "yaml"}
LIMIT, TIMES = 1.0, 5
"""Seconds above that import; measurements, of which the least counts."""


def main() -> None:
    """Print a line for each target."""
    with tempfile.TemporaryDirectory() as name:
        for target, package in EMITTERS.items():
            line = ["-m", "tapeline.cli", "build", f"target={target}", "experiment=snp_deep"]
            took = min(seconds(line, Path(name)) for _ in range(TIMES))
            importing = min(seconds(["-c", f"import {package}"]) for _ in range(TIMES))
            within = "within" if took <= importing + LIMIT else "NOT within"
            print(
                f"  make build target={target:6} {took:6.2f} s, import {package} {importing:.2f} s; "
                f"{within} {LIMIT:g} s and that import"
            )


if __name__ == "__main__":
    main()
