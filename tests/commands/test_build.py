from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EMITTERS = {"argo": "hera", "kfp": "kfp", "tfjob": None}
HEAVY = ("hera", "kfp", "kubernetes", "tensorflow", "lightgbm", "polars", "matplotlib", "sklearn")
CODE = """
import json, sys
from tapeline.cli import main as cli
code = cli.main(["build", "target={target}"])
print(json.dumps([code, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""


@pytest.mark.parametrize("target", ["argo", "tfjob"])
def test_a_build_imports_its_own_emitter_and_nothing_else_that_is_heavy(target: str, folder: Path) -> None:
    command = [sys.executable, "-c", CODE.format(target=target)]
    record = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    *paths, last = record.stdout.splitlines()
    code, modules = json.loads(last)
    assert code == 0
    assert all((folder / path).is_file() for path in paths)
    assert [name for name in HEAVY if name in modules] == [name for name in [EMITTERS[target]] if name]
