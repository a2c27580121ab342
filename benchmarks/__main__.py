"""All measurements, or those named: python -m benchmarks run training."""

from __future__ import annotations

import platform
import sys
from importlib import import_module

PARTS = ("run", "build", "training", "simulated", "check")

names = sys.argv[1:] or PARTS
print(f"{platform.platform()}, Python {platform.python_version()}")
for name in names:
    print(f"\n{name}")
    import_module(f"benchmarks.{name}").main()
