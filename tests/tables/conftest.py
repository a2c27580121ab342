"""Tables with row groups so small that blocks have edges."""

from __future__ import annotations

import pytest

from tapeline.tables import table as tables
from tapeline.tables.table import Table
from tests.tables.tables import of


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Small row groups, so that blocks have edges."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "ROW_GROUP_ROWS", 16)
        return of(tmp_path_factory.mktemp("tables") / "table", {"BTC": 100, "ADA": 37})


@pytest.fixture(autouse=True)
def small_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 16)
