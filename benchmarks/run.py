"""Seconds of `tapeline run` with its defaults, beside the bare import of TensorFlow."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 20
"""Seconds above the import of TensorFlow that a first run may take."""


def main() -> None:
    """Print the seconds of a first, a second and a changed run."""
    importing = seconds(["-c", "import tensorflow"])
    print(f"  import tensorflow                      {importing:6.1f} s")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = ["-m", "tapeline", "run"]
        first = seconds(run, folder)
        within = "within" if first <= LIMIT + importing else "NOT within"
        print(f"  make run, defaults, nothing cached     {first:6.1f} s, {within} {LIMIT} s and that import")
        print(f"  make run, the same again               {seconds(run, folder):6.1f} s")
        print(f"  make run model=flat                    {seconds([*run, 'model=flat'], folder):6.1f} s")
    print(f"  tapeline --help                        {seconds(['-m', 'tapeline.cli.main', '--help']):6.2f} s")


def seconds(arguments: list[str], folder: Path | None = None) -> float:
    """Wall-clock seconds of a Python process."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
