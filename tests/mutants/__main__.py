"""Plant mistakes in the gate, splits, the store, the cache and overrides; most must make a test fail.

make test-mutants                  100 mutants, always the same ones
python -m tests.mutants 10         10 of them
python -m tests.mutants 20 splits  20 of one part
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.mutants.mutations import mutants

SEED, LEAST = 7, 0.9
SECONDS, LOADED = 100, 20
"""That a test may take at least, and how much longer than without a mutant: the machine may be busy."""


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
        (
            *("tests/serving/test_store.py", "tests/serving/test_store_faults.py", "tests/serving/test_sync.py"),
            "tests/serving/test_object_storage.py",
        ),
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
        ("config/overrides.py",),
        ("tests/test_overrides.py", "tests/test_config.py", "tests/test_cli.py", "tests/clusters/test_built.py"),
    ),
}


@dataclass(frozen=True)
class Mutant:
    """A changed module."""

    file: Path
    line: int
    change: str
    source: str

    def __str__(self) -> str:
        return f"src/tapeline/{self.file}:{self.line}: {' '.join(self.change.split())[:150]}"


@dataclass(frozen=True)
class Traced:
    """What the tests of a part do without any mistake in the code."""

    lines: dict[str, dict[str, list[str]]]
    """Tests by file and line."""
    took: dict[str, float]
    """Seconds of each test."""


def chosen(names: list[str], count: int) -> dict[str, list[Mutant]]:
    """Mutants by part with a fixed seed, as many of each part as of the others."""
    found = {}
    for number, name in enumerate(names):
        every = [
            Mutant(file, *each)
            for file in PARTS[name].files()
            for each in mutants((ROOT / "src" / "tapeline" / file).read_text(encoding="utf-8"))
        ]
        share = count // len(names) + (number < count % len(names))
        found[name] = random.Random(f"{SEED} {name}").sample(every, min(share, len(every)))
    return found


class Tests:
    """Runs tests in a copy of the project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, "tests/mutants/forking.py"]
        self._process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, tests: Sequence[str], seconds: float = SECONDS, trace: Sequence[str] = ()) -> dict[str, Any]:
        """The answer of `forking.py`."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps({"tests": tests, "seconds": seconds, "trace": trace}), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def trace(self, part: Part) -> Traced:
        """Which tests of a part run each of its lines.

        Raises:
            RuntimeError: a test fails without any mistake in the code.
        """
        paths = [str(self.folder / "src" / "tapeline" / each) for each in part.files()]
        found = self.run(part.tests, 4 * SECONDS, paths)
        if found["code"] != 0:
            raise RuntimeError(f"the tests {', '.join(part.tests)} fail without a mutant")
        return Traced(found["lines"], found["took"])

    def survives(self, mutant: Mutant, traced: Traced) -> bool:
        """Whether all tests that run its line pass, the fast ones first; one that runs too long counts as found."""
        path = self.folder / "src" / "tapeline" / mutant.file
        right = path.read_text(encoding="utf-8")
        path.write_text(mutant.source, encoding="utf-8")
        tests = traced.lines[str(path)].get(str(mutant.line)) or list(traced.took)
        tests = sorted(tests, key=lambda name: traced.took[name])
        try:
            done = self.run(tests, LOADED * max(traced.took[name] for name in tests) + SECONDS)
        finally:
            path.write_text(right, encoding="utf-8")
        return bool(done["code"] == 0)


def main(count: int, names: list[str]) -> int:
    """Test the mutants in a copy of the project; return the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="tapeline-mutants-"))
    for name in ("src", "tests", "conf", "deploy", "notebooks", "workflows"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*ROOT.glob("*.toml"), *ROOT.glob("*.lock"), *ROOT.glob("*.md"), ROOT / "Makefile"):
        shutil.copy(path, folder)
    tests = Tests(folder)
    try:
        survivors, total = [], 0
        for name, mutants_of_part in chosen(names, count).items():
            traced = tests.trace(PARTS[name])
            print(f"{name}: {len(traced.took)} tests, {sum(traced.took.values()):.0f} s", flush=True)
            for mutant in mutants_of_part:
                lives = tests.survives(mutant, traced)
                survivors += [mutant] if lives else []
                total += 1
                print(f"{total}/{count} {'SURVIVES' if lives else 'found'} {mutant}", flush=True)
    finally:
        tests.close()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{total - len(survivors)} of {total} mutants were found by a test", *survivors, sep="\n")
    return int(total - len(survivors) < LEAST * total)


if __name__ == "__main__":
    wanted, *only = sys.argv[1:] or ["100"]
    sys.exit(main(int(wanted), only or list(PARTS)))
