"""Benchmarks that run small: what they measure still works."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import conv, data, parsing, tuning
from tests.tuning.problems import make_table


def test_tables_are_measured_at_any_size(capsys: pytest.CaptureFixture[str]) -> None:
    data.main(["rows=3000", "parts=3", "images=100"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(data.MEASUREMENTS)
    assert all(": " in line for line in lines)


@pytest.mark.long
def test_parsing_is_measured_at_any_size(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, small in (("ROWS", 1000), ("ROUNDS", 1), ("BYTES", 2_000_000), ("OTHERS", 10)):
        monkeypatch.setattr(parsing, name, small)
    parsing.main()
    lines = [line.split(":")[0].strip() for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == len(parsing.FORMATS) + 2 + 2


def test_faces_are_read_at_any_size(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv, "ROWS", 30)
    conv.reading()
    assert "ingest of 30 rows" in capsys.readouterr().out


def test_each_way_of_a_search_runs(tmp_path: Path) -> None:
    table = make_table(tmp_path)
    assert all(tuning.run(way, table, steps=3, trials=2) > 0 for way in ("plain", "one"))
