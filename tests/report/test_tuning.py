"""The part of the report about a search, from study.json alone, with real charts."""

from __future__ import annotations

from typing import Any

import pytest
from markupsafe import escape

from tapeline.report.page import numbers
from tapeline.report.sections import tuning

RATE, HIDDEN = "model.learning_rate", "model.hidden"


def study(better: str = "higher", **more: Any) -> dict[str, Any]:
    """Four trials: two complete, one pruned, one failed."""
    space = {
        RATE: {"low": 1e-3, "high": 0.1, "log": True, "points": None, "choices": None},
        HIDDEN: {"low": None, "high": None, "log": False, "points": None, "choices": [[25], [50, 25]]},
    }
    trial = {"state": "complete", "steps": 20, "trace": [[10, 0.4], [20, 0.5]], "problem": None}
    trials = [
        {**trial, "number": 0, "params": {RATE: 0.01, HIDDEN: [25]}, "value": 0.5},
        {**trial, "number": 1, "params": {RATE: 0.02, HIDDEN: [50, 25]}, "value": 0.625},
        {**trial, "number": 2, "params": {RATE: 0.03, HIDDEN: [25]}, "value": None, "state": "pruned", "steps": 10},
        {
            **trial, "number": 3, "params": {RATE: 0.1, HIDDEN: [25]}, "value": None, "state": "failed", "trace": [],
            "steps": None, "problem": "<diverged>",
        },
    ]  # fmt: skip
    return {
        "metric": {"name": "accuracy", "better": better, "form": ".4f"},
        "space": space,
        "rows": {"train": 1000, "validation": 150},
        "counts": {"complete": 2, "pruned": 1, "failed": 1},
        "stopped_by": "trials",
        "best": {"trial": 1, "value": 0.625, "params": trials[1]["params"], "steps": 20},
        "importances": {HIDDEN: 0.75, RATE: 0.25},
        "trials": trials,
        **more,
    }


def test_it_has_history_importances_slices_and_a_table_of_trials() -> None:
    content = study()
    number = numbers({"study": content})
    shown = tuning.figures(content, number)
    assert [each.name for each in shown] == ["tuning-history", "tuning-importances", "tuning-slices"]
    assert all("<svg" in each.svg and escape(each.caption) in each.svg for each in shown)
    assert "pruned" in shown[0].svg
    assert "[50,…" in shown[2].svg or "[50, 25]" in shown[2].svg
    table = tuning.trials(content, number)
    assert list(table.head) == ["trial", "state", "accuracy", "steps", "learning_rate", "hidden"]
    assert [row[0] for row in table.rows] == ["1", "0", "2", "3"]
    assert table.rows[3][1] == "failed: <diverged>"
    assert 'data-key="/study/trials/1/params/model.learning_rate" value="0.02"' in str(table.rows[0][4])


def test_where_less_is_better_the_least_is_first() -> None:
    content = study("lower")
    assert [row[0] for row in tuning.trials(content, numbers({"study": content})).rows][:2] == ["0", "1"]


def test_without_importances_there_is_no_picture_of_them() -> None:
    content = study(importances={})
    shown = tuning.figures(content, numbers({"study": content}))
    assert [each.name for each in shown] == ["tuning-history", "tuning-slices"]


@pytest.mark.parametrize(("stopped", "limited"), [("trials", False), ("timeout", True)])
def test_the_sentence_has_the_numbers_of_the_study(stopped: str, limited: bool) -> None:
    sentence = tuning.sentence(study(stopped_by=stopped))
    assert "4 trials (1 pruned, 1 failed)" in sentence
    assert ("1,000" in sentence, "150" in sentence) == (True, True)
    assert ("time limit" in sentence) == limited
