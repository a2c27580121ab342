"""Files of at most 350 lines, functions of at most 50; half of the functions are far shorter."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.conftest import ROOT

FOLDERS = ("src", "tests", "benchmarks")
FILE, FUNCTION, MOST = 350, 50, 35
"""Lines; MOST holds for nine functions of ten."""


def python_files() -> list[Path]:
    found = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if not path.stem.endswith("_pb2"))


def functions(path: Path) -> dict[str, int]:
    """Lines of each function, from `def` to its end, by `file:line name`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, kinds)
    }


def test_files_are_short() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert {name: count for name, count in lines.items() if count > FILE} == {}


def test_functions_are_short() -> None:
    sizes = {name: count for path in python_files() for name, count in functions(path).items()}
    assert {name: count for name, count in sizes.items() if count > FUNCTION} == {}
    own = sorted(count for name, count in sizes.items() if name.startswith("src"))
    assert own[len(own) * 9 // 10] <= MOST
