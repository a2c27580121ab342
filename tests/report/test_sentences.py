"""Sentences of the report against numbers computed here: constant, inverted, perfect and random models."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tapeline import files
from tapeline.cli import main as cli
from tapeline.evaluation import comparison
from tapeline.intervals import paired_shares
from tapeline.models import fitted as fits
from tapeline.report import page
from tapeline.tables import predictions as forecasts
from tapeline.tables.predictions import Predictions
from tapeline.tasks import direction
from tests.conftest import without_pictures
from tests.datasets.closes import Rows, frozen, hole, rows, table, times_100

Array = np.ndarray[Any, Any]
RIVAL = re.compile(
    r"It (leads|is behind|is as good as) the (?:simplest|best) rule, “([^”]+)” \(([\d.]+) %\)"
    r"(?: by ([\d.]+) points)? \(95 %: ([+-][\d.]+) to ([+-][\d.]+)(; may be chance)?\)"
)
CHARTS = {"confusion", "over-time", "signal", "confidence", "roc", "calibration"}


FILES: dict[str, Callable[[Rows], Rows] | None] = {"simulated": None} | {
    each.__name__: each for each in (times_100, frozen, hole)
}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.long] * bool(change)) for name, change in FILES.items()],
)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files of a small run, drawn without pictures, as the tests' pages are; of simulated data, or a bad file."""
    folder = tmp_path_factory.mktemp("run")
    change = FILES[request.param]
    data = ["dataset.source=csv", f"dataset.path={table(folder, change(rows(1000)))}"] if change else []
    places = [f"target.runs={folder}/runs", f"target.cache={folder}/cache", f"serving.store={folder}/store"]
    with without_pictures():
        assert cli.main(["run", "model=flat", "model.steps=20", "model.report_every=10", *data, *places]) == 0
        yield folder / "runs" / "latest"


def rewritten(folder: Path, down: Array, accepted: bool) -> tuple[str, Predictions, dict[str, Any]]:
    """The page of the run as if its model had stated these probabilities of down; its predictions and test scores."""
    metrics, scores, profile = (files.read_json(folder / f"{name}.json") for name in ("metrics", "scores", "profile"))
    before = forecasts.read(folder / "predictions.parquet")
    answered = {"prediction": (down > 0.5).astype(np.int64), "probability": np.stack([1 - down, down], axis=1)}
    after = replace(before, scored={**before.scored, **answered})
    answers = comparison.answers(direction, after, timedelta(0))
    found = comparison.scores(answers)
    metrics["test"]["overall"] = scores["test"]["overall"] = found
    metrics["gate"]["accepted"] = accepted
    text = page(metrics, scores, profile, fits.read(folder / "fitted.json"), after)
    return text, after, found


MODELS = st.one_of(
    st.sampled_from(["always up", "always down", "perfect", "inverted", "half sure"]), st.integers(0, 10**6)
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MODELS, st.booleans())
def test_no_sentence_contradicts_the_numbers(made: Path, model: str | int, accepted: bool) -> None:
    target = forecasts.read(made / "predictions.parquet").scored["target"]
    random = np.random.default_rng(model if isinstance(model, int) else 0)
    down = {
        "always up": np.full(len(target), 0.2),
        "always down": np.full(len(target), 0.9),
        "perfect": 0.05 + 0.9 * target,
        "inverted": 0.95 - 0.9 * target,
        "half sure": np.where(random.random(len(target)) < 0.5, 0.4, 0.6),
    }.get(str(model), random.random(len(target)))
    with without_pictures():
        code, predicted, scores = rewritten(made, down, accepted)
    text = " ".join(html.unescape(re.sub(r"<style.*?</style>|<[^>]+>", " ", code, flags=re.DOTALL)).split())
    ours = predicted.scored["prediction"]
    check_score(text, ours, target)
    check_rivals(text, predicted, ours, target)
    constant = len(np.unique(ours)) == 1
    assert ("It is a constant" in text) == constant
    if constant:
        word = "down" if ours[0] else "up or flat"
        assert f"said “{word}” on all {len(ours)} test rows" in text
    absent = CHARTS - set(re.findall(r'<figure id="([\w-]+)"', code))
    assert absent == (CHARTS if constant else set())
    if not constant:
        check_captions(text, predicted, scores, down)
    assert ("Accepted" in text, "Rejected" in text) == (accepted, not accepted)
    for claim in ("nearly all", "most of the", "says nothing", "part of the accuracy"):
        assert claim not in text.lower()


def check_score(text: str, ours: Array, target: Array) -> None:
    share = re.search(r"The model was right on ([\d.]+) % of (\d+)", text)
    assert share is not None
    assert float(share[1]) == pytest.approx(100 * np.mean(ours == target), abs=0.051)
    assert int(share[2]) == len(target)


def check_rivals(text: str, predicted: Predictions, ours: Array, target: Array) -> None:
    said = RIVAL.findall(text)
    naive = {name: values == target for name, values in predicted.baselines.items()}
    best = max(naive, key=lambda name: naive[name].mean())
    assert {"majority"} <= {name for _, name, *_ in said}
    assert naive[said[-1][1]].mean() == naive[best].mean()
    for verb, name, score, lead, low, high, chance in said:
        gap = np.mean(ours == target) - naive[name].mean()
        ends = paired_shares(naive[name], ours == target)
        assert verb == ("leads" if gap > 0 else "is behind" if gap < 0 else "is as good as")
        assert float(score) == pytest.approx(100 * naive[name].mean(), abs=0.051)
        assert float(lead or 0) == pytest.approx(100 * abs(gap), abs=0.051)
        assert (float(low), float(high)) == pytest.approx((100 * ends[0], 100 * ends[1]), abs=0.051)
        assert bool(chance) == (ends[0] <= 0 <= ends[1] and gap != 0)
    gap, ends = np.mean(ours == target) - naive[best].mean(), paired_shares(naive[best], ours == target)
    assert ("is at least as good on these test rows" in text) == (gap <= 0)
    assert ("Its lead over the best rule without training may be chance" in text) == (gap > 0 and ends[0] <= 0)


def check_captions(text: str, predicted: Predictions, scores: dict[str, Any], down: Array) -> None:
    word = "better than" if scores["auc"] > 0.5 else "worse than" if scores["auc"] < 0.5 else "the same as"
    assert f"AUC {scores['auc']:.3f}: {word} guessing" in text
    right = predicted.scored["prediction"] == predicted.scored["target"]
    sure = np.argsort(-np.maximum(down, 1 - down), kind="stable")[: round(len(down) / 10)]
    record = re.search(r"it was (right more|right less|about as) often .*?: ([\d.]+) % of (\d+)", text)
    assert record is not None
    assert float(record[2]) == pytest.approx(100 * right[sure].mean(), abs=0.051)
    assert int(record[3]) == len(sure)
    if record[1] != "about as":
        assert (record[1] == "right more") == (right[sure].mean() > right.mean())
    move, says_down = predicted.scored["move"], predicted.scored["prediction"] == 1
    held = 100 * np.expm1(move.sum())
    followed = 100 * (np.prod(np.where(says_down, 2 - np.exp(move), np.exp(move))) - 1)
    record = re.search(r"short where it says down: ([+-][\d.]+) %.*?, (more|less|the same) .*?\(([+-][\d.]+) %\)", text)
    assert record is not None
    assert (float(record[1]), float(record[3])) == pytest.approx((followed, held), abs=0.06)
    assert record[2] == ("more" if followed > held else "less")
    worst, best = (re.search(rf"{word}: [\w ]+ \(([\d.]+) on", text) for word in ("Worst", "best"))
    assert worst is not None
    assert best is not None
    assert float(worst[1]) <= right.mean() + 5e-5
    assert float(best[1]) >= right.mean() - 5e-5
