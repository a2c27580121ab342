"""Plant mistakes in the gate, splits, the store, the cache and overrides; most must make a test fail.

make test-mutants                  100 mutants, always the same ones
python -m tests.mutants 10         10 of them
python -m tests.mutants 20 splits  20 of one part
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT
from tests.mutants.mutations import mutants

SEED, LEAST, SECONDS = 7, 0.9, 600


@dataclass(frozen=True)
class Part:
    """Modules below src/tapeline, and the tests that must find a mistake in them."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]

    def files(self) -> list[Path]:
        """The modules' files, relative to src/tapeline."""
        package = ROOT / "src" / "tapeline"
        return sorted(path.relative_to(package) for each in self.modules for path in package.glob(each))


PARTS = {
    "gate": Part(("evaluation/gate.py",), ("tests/evaluation/test_gate.py", "tests/steps/test_gate.py")),
    "splits": Part(
        ("tables/splits/*.py", "tables/windows.py"),
        ("tests/tables/test_splits.py", "tests/tables/test_split_keys.py", "tests/tables/test_table.py"),
    ),
    "store": Part(
        ("serving/store/*.py",),
        ("tests/serving/test_store.py", "tests/serving/test_sync.py", "tests/serving/test_object_storage.py"),
    ),
    "cache": Part(
        ("pipeline/cache.py", "pipeline/cache_key.py", "pipeline/shared_cache.py"),
        (
            *(
                "tests/pipeline/test_shared_cache.py",
                "tests/pipeline/test_cache_key.py",
                "tests/commands/test_cache.py",
            ),
            *("tests/pipeline/test_run_locally.py", "tests/commands/test_runs.py"),
        ),
    ),
    "overrides": Part(
        ("config/overrides.py",), ("tests/test_config.py", "tests/test_cli.py", "tests/clusters/test_built.py")
    ),
}


@dataclass(frozen=True)
class Mutant:
    """A changed module."""

    part: Part
    file: Path
    line: int
    change: str
    source: str

    def __str__(self) -> str:
        return f"src/tapeline/{self.file}:{self.line}: {' '.join(self.change.split())[:150]}"


def chosen(names: list[str], count: int) -> list[Mutant]:
    """Mutants with a fixed seed, as many of each part as of the others."""
    found: list[Mutant] = []
    for number, name in enumerate(names):
        part = PARTS[name]
        every = [
            Mutant(part, file, *each)
            for file in part.files()
            for each in mutants((ROOT / "src" / "tapeline" / file).read_text(encoding="utf-8"))
        ]
        share = count // len(names) + (number < count % len(names))
        found += random.Random(f"{SEED} {name}").sample(every, min(share, len(every)))
    return found


def survives(mutant: Mutant, folder: Path) -> bool:
    """Whether all tests of its part pass; one that runs too long counts as found."""
    path = folder / "src" / "tapeline" / mutant.file
    right = path.read_text(encoding="utf-8")
    path.write_text(mutant.source, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{folder / 'src'}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutant.part.tests]
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return False
    finally:
        path.write_text(right, encoding="utf-8")
    return done.returncode == 0


def main(count: int, names: list[str]) -> int:
    """Test the mutants in a copy of the project; return the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="tapeline-mutants-"))
    for name in ("src", "tests", "conf", "deploy", "notebooks", "workflows"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*ROOT.glob("*.toml"), *ROOT.glob("*.lock"), *ROOT.glob("*.md"), ROOT / "Makefile"):
        shutil.copy(path, folder)
    try:
        every = chosen(names, count)
        survivors = []
        for number, mutant in enumerate(every, 1):
            lives = survives(mutant, folder)
            survivors += [mutant] if lives else []
            print(f"{number}/{len(every)} {'SURVIVES' if lives else 'found'} {mutant}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = len(every) - len(survivors)
    print(f"{found} of {len(every)} mutants were found by a test", *survivors, sep="\n")
    return int(found < LEAST * len(every))


if __name__ == "__main__":
    wanted, *only = sys.argv[1:] or ["100"]
    sys.exit(main(int(wanted), only or list(PARTS)))
