"""Reports of small runs, made once."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tapeline import files
from tapeline.cli import main as cli
from tapeline.models import fitted as fits
from tapeline.models.fitted import Fitted
from tapeline.report import page
from tapeline.tables import predictions as forecasts
from tapeline.tables.predictions import Predictions
from tapeline.tasks import best, direction, metric
from tests.conftest import without_pictures

SMALL = ["model.steps=40", "model.report_every=20"]
RUNS = {
    "flat rejected": ["model=flat", *SMALL, "gate.threshold=0.99"],
    "deep accepted": [
        "model=deep",
        *SMALL,
        "gate.threshold=0",
        "gate.baseline_margin=null",
        "dataset.as_of=09:00 America/New_York",
    ],
    "lightgbm walk-forward": [
        "model=lightgbm",
        "split=walk_forward",
        "model.steps=60",
        "gate.threshold=0",
        "gate.baseline_margin=null",
    ],
}


FILES = ("metrics", "scores", "profile")


@dataclass(frozen=True)
class Run:
    """The files that a report is made of, and the folder that holds them."""

    folder: Path
    metrics: Any
    scores: Any
    profile: Any
    fitted: Fitted
    predictions: Predictions

    def html(self) -> str:
        """The page of these files as they are now; report.html holds the step's own."""
        return page(self.metrics, self.scores, self.profile, self.fitted, self.predictions)

    def undrawn(self) -> str:
        """As html, with an empty picture in the place of each chart: drawing takes nearly all of a page's time."""
        with without_pictures():
            return self.html()

    def report(self) -> str:
        return (self.folder / "report.html").read_text()

    def changed(self) -> Run:
        """A copy that a test may change."""
        return copy.deepcopy(self)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A finished run by each of RUNS' names."""
    made = {}
    for name, overrides in RUNS.items():
        folder = tmp_path_factory.mktemp("run")
        places = [f"target.runs={folder}/runs", f"target.cache={folder}/cache", f"serving.store={folder}/store"]
        assert cli.main(["run", *overrides, *places]) == 0
        latest = folder / "runs" / "latest"
        metrics, scores, profile = (files.read_json(latest / f"{file}.json") for file in FILES)
        fitted, predictions = fits.read(latest / "fitted.json"), forecasts.read(latest / "predictions.parquet")
        made[name] = Run(latest, metrics, scores, profile, fitted, predictions)
    return made


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest, runs: dict[str, Run]) -> Run:
    return runs[request.param]


HOSTILE = ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(2)>", "$\\frac{", "a" * 300, "two\nlines & more"]


@pytest.fixture(scope="session")
def hostile(runs: dict[str, Run]) -> Run:
    """A run whose dataset, experiment, markets, columns and baselines have names that do harm where they can."""
    record = runs["lightgbm walk-forward"].changed()
    record.metrics["ran"] |= {"dataset": HOSTILE[0], "experiment": HOSTILE[1], "model": HOSTILE[3]}
    record.metrics["config"]["dataset"]["name"] = HOSTILE[0]
    record.metrics["data"] |= {"source": HOSTILE[1], "as_of": HOSTILE[3]}
    record.profile.update(dataset=HOSTILE[0], as_of=HOSTILE[3])
    record.profile["notes"]["late"] = {HOSTILE[3]: HOSTILE[0]}
    names = dict(zip(record.profile["statistics"]["series"]["names"], HOSTILE, strict=False))
    names |= dict(zip(record.scores["importance"]["columns"], HOSTILE, strict=False))
    names |= dict(zip(record.metrics["baselines"], HOSTILE, strict=False))
    rival = best(metric(direction, direction.PRIMARY), record.metrics["baselines"])
    assert rival is not None
    names[rival[0]] = HOSTILE[3]
    metrics, scores, profile = (_renamed(each, names) for each in (record.metrics, record.scores, record.profile))
    baselines = _renamed(dict(record.predictions.baselines), names)
    return Run(record.folder, metrics, scores, profile, record.fitted, replace(record.predictions, baselines=baselines))


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, names) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value


@pytest.fixture(scope="session")
def hostile_page(hostile: Run) -> str:
    return hostile.html()
