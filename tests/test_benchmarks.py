"""Benchmarks that run small: what they measure still works."""

from __future__ import annotations

import pytest

from benchmarks import data


def test_tables_are_measured_at_any_size(capsys: pytest.CaptureFixture[str]) -> None:
    data.main(["rows=3000", "parts=3", "images=100"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(data.MEASUREMENTS)
    assert all("NOT" not in line for line in lines)
