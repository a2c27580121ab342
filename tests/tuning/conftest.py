from __future__ import annotations

from pathlib import Path

import pytest

from tapeline.tuning.trials import Problem
from tests.tuning import problems


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of simulated indices."""
    return problems.make_table(tmp_path_factory.mktemp("table"))


@pytest.fixture
def problem(table: Path) -> Problem:
    """A small search of eight trials on it."""
    return problems.problem(table, "tune.trials=8")
