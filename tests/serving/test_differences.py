from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "guide" / "tf-serving.md"
ROWS = re.findall(r"`(test_\w+\.py)::(test_\w+)` \|", PAGE.read_text())


def test_the_page_has_a_test_for_each_row() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    assert len(rows) - 1 == len(ROWS) > 10


@pytest.mark.parametrize(("file", "name"), sorted(set(ROWS)))
def test_the_test_of_a_row_exists(file: str, name: str) -> None:
    assert f"\ndef {name}(" in (ROOT / "tests" / "serving" / file).read_text()
