"""Imports point one way: every import of the package is read, those inside functions too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCE = ROOT / "src"
LAYERS = (
    "cli",
    "commands",
    "checks",
    "clusters",
    "pipeline",
    "steps",
    "report",
    "evaluation",
    "tuning",
    "lookup",
    "models datasets serving",
    "tasks",
    "tables",
    "features intervals",
    "config",
    "console tensorflow objects versions workers",
    "files",
    "errors",
    "redaction",
)
"""From the top; rooms of one line do not import each other."""
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms.split()}


def modules() -> dict[str, Path]:
    found = {}
    for path in (SOURCE / "tapeline").rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imported(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports, whether at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else str(node.module) for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in MODULES:
            yield node.value  # for importlib


GRAPH = {name: {each for each in imported(path) if each in MODULES and each != name} for name, path in MODULES.items()}


def room(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.count(".")))
def test_no_arrow_points_upwards(module: str) -> None:
    if module == "tapeline.__main__":
        return
    for other in GRAPH[module] - {"tapeline"}:
        same = room(module) == room(other)
        assert same or LAYER[room(module)] < LAYER[room(other)], f"{module} imports {other}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " > ".join((*path[path.index(module) :], module))
        if module not in done:
            for other in sorted(GRAPH[module]):
                walk(other, (*path, module))
            done.add(module)

    for module in sorted(MODULES):
        walk(module, ())
