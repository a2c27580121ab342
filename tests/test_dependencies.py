"""What is imported is declared: a package that another happens to bring along may be gone tomorrow."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

DISTRIBUTIONS = {
    "google": "protobuf",
    "grpc": "grpcio",
    "hydra": "hydra-core",
    "mlflow": "mlflow-skinny",
    "PIL": "pillow",
    "pydantic_core": "pydantic",  # which needs exactly one release of it
    "sklearn": "scikit-learn",
    "talib": "ta-lib",
    "tensorflow_serving": "tensorflow-serving-api",
    "yaml": "pyyaml",
}
"""Where the import and the distribution have two names."""
BY_HAND = {"exchange-calendars", "keras-tuner", "pandas"}
"""Of benchmarks and the script that makes holidays.json: those who run them install these packages."""
CALLS = ("import_module", "importorskip", "find_spec")
FOLDERS = [folder for folder in ("src", "tests", "benchmarks") if (ROOT / folder).is_dir()]


def names(requirements: Iterable[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", each)[0].lower().replace("_", "-") for each in requirements}


def declared() -> tuple[set[str], set[str]]:
    """The distributions that tapeline may import, with its extras, and those that tests may in addition."""
    record: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = record["project"]["optional-dependencies"].values()
    ours = names([*record["project"]["dependencies"], *(each for extra in extras for each in extra)])
    return ours, names(record["dependency-groups"]["dev"])


def imported(path: Path) -> set[str]:
    """The distributions of the modules that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            found |= {str(node.args[0].value)} if called in CALLS else set()
    tops = (
        {name.split(".")[0] for name in found if not name.startswith("_")}
        - {"tapeline", "tests", "benchmarks"}
        - sys.stdlib_module_names
    )
    return {DISTRIBUTIONS.get(top, top.lower().replace("_", "-")) for top in tops}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_import_is_declared(folder: str) -> None:
    ours, development = declared()
    allowed = ours if folder == "src" else ours | development | BY_HAND
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / folder).rglob("*.py")
        for name in imported(path) - allowed
    }
    assert missing == set()


def test_an_undeclared_import_is_found(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "import os, yaml.nodes\ndef f():\n    from sklearn.metrics import auc\n    import_module('attrs.x')\n"
    )
    assert imported(path) == {"pyyaml", "scikit-learn", "attrs"}
    assert "attrs" not in set.union(*declared())


def test_lock_files_hold_what_is_declared() -> None:
    ours, development = declared()
    locked = names(line for line in (ROOT / "requirements-dev.lock").read_text().splitlines() if re.match(r"\w", line))
    drivers = names(
        each
        for extra in ("k80", "cuda", "cuda11", "joblib", "bigquery", "postgres")
        for each in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
    )
    assert (ours - drivers) | development <= locked
