"""Seconds of `tapeline check` over the whole tree."""

from __future__ import annotations

import os

from benchmarks.run import seconds


def main() -> None:
    """Print the median of three."""
    took = sorted(seconds(["-m", "tapeline", "check"]) for _ in range(3))[1]
    print(f"  make check                             {took:6.1f} s on {os.cpu_count()} processors")
