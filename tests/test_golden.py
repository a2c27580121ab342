"""Five runs whose metrics.json of schema 1 is kept: their numbers, decisions and weights stay the same.

Weights depend on the processor type, as all of metrics.json does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tapeline import files
from tapeline.evaluation import metrics_file
from tests.conftest import ROOT, Tapeline, metrics

GOLDEN = {
    "default": ["model=deep"],
    "snp_flat": ["experiment=snp_flat"],
    "snp_deep": ["experiment=snp_deep"],
    "snp_lightgbm": ["experiment=snp_lightgbm"],
    "snp_deep_walk_forward": ["experiment=snp_deep", "split=walk_forward"],
}


def golden(name: str) -> dict[str, Any]:
    """A kept metrics.json in the layout of schema 2."""
    return metrics_file.current(files.read_json(ROOT / "tests" / "golden" / "schema1" / f"{name}.json"))


def numbers(scores: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Scores without the intervals, of which some have another method now."""
    return None if scores is None else {key: value for key, value in scores.items() if key != "intervals"}


def test_each_golden_file_has_a_run() -> None:
    assert {path.stem for path in (ROOT / "tests" / "golden" / "schema1").glob("*.json")} == set(GOLDEN)


@pytest.mark.results
@pytest.mark.parametrize("name", GOLDEN)
def test_a_run_gives_the_numbers_of_its_golden_file(
    name: str, tapeline: Tapeline, folder: Path, without_report: None, request: pytest.FixtureRequest
) -> None:
    data = []
    if name != "default":
        data = ["dataset.source=csv", f"dataset.path={request.getfixturevalue('closing_data')}"]
    assert tapeline("run", *GOLDEN[name], *data)[0] == 0
    made, kept = metrics(folder), golden(name)
    assert made["train"] == kept["train"]
    assert made["data"]["digest"] == kept["data"]["digest"]
    assert kept["data"]["rows"].items() <= made["data"]["rows"].items()
    for side in ("validation", "test"):
        ours, theirs = (each[side] or {"overall": None} for each in (made, kept))
        assert numbers(ours["overall"]) == numbers(theirs["overall"])
    interval = kept["test"]["overall"]["intervals"]["accuracy"]
    assert interval.items() <= made["test"]["overall"]["intervals"]["accuracy"].items()
    assert made["baselines"].keys() == kept["baselines"].keys()
    for baseline, scores in kept["baselines"].items():
        assert numbers(made["baselines"][baseline]) == numbers(scores)
    assert made["gate"]["accepted"] == kept["gate"]["accepted"]
    assert made["gate"]["reasons"][0] == kept["gate"]["reasons"][0]
    assert made["model_version"] == kept["model_version"]
