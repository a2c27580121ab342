"""The LightGBM family: what it learns, keeps, and says of it."""

import logging
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm as library
import numpy as np
import polars as pl
import pytest

from tapeline import lookup
from tapeline.errors import Refused
from tapeline.models import Array, Rows, Training, fitted
from tapeline.models.lightgbm import family as lightgbm
from tapeline.models.lightgbm import matrix
from tapeline.pipeline.execution import view
from tapeline.serving import saved_model as servable
from tapeline.steps import train
from tapeline.tables.spec import Column, Manifest
from tapeline.tables.writing import write

RANDOM = np.random.default_rng(3)
FEATURES = RANDOM.standard_normal((600, 5)).astype(np.float32)
SCORE = FEATURES[:, 0] - FEATURES[:, 3] + RANDOM.standard_normal(600)
DOWN = (SCORE > 0).astype(np.int64)
ROWS = Rows(FEATURES, DOWN)
TRAIN, VALIDATION = Rows(FEATURES[:510], DOWN[:510]), Rows(FEATURES[510:], DOWN[510:])


def section(*overrides: str) -> lightgbm.Section:
    few = ["model=lightgbm", "model.steps=60", "model.report_every=10", "model.learning_rate=0.1"]
    model = lookup.configure([*few, *overrides]).model
    assert isinstance(model, lightgbm.Section)
    return model


def training(task: str = "direction", seed: int = 0, threads: int = 2) -> Training:
    return Training(lookup.task(task), seed, lambda step, score: None, threads)


@pytest.mark.parametrize("seed", [0, 2**40])
def test_same_rows_and_seed_give_the_same_bytes(seed: int, tmp_path: Path) -> None:
    texts = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        lightgbm.save(lightgbm.fit(section(), TRAIN, VALIDATION, training(seed=seed))[0], folder)
        texts.append((folder / "model.txt").read_bytes())
    assert texts[0] == texts[1]
    assert texts[0] != lightgbm.fit(section(), TRAIN, VALIDATION, training(seed=seed + 1))[0].text.encode()


def test_threads_are_no_part_of_the_model() -> None:
    one, two = (lightgbm.fit(section(), TRAIN, VALIDATION, training(threads=threads))[0] for threads in (1, 2))
    assert one == two


@pytest.mark.parametrize("boosting", ["gbdt", "rf", "dart"])
@pytest.mark.parametrize("task", ["direction", "regression"])
def test_servable_equals_the_model_from_disk(boosting: str, task: str, tmp_path: Path) -> None:
    rows = ROWS if task == "direction" else Rows(FEATURES, SCORE[:, None].astype(np.float64))
    model, _ = lightgbm.fit(section(f"model.boosting={boosting}", *ALL_ROUNDS), rows, None, training(task))
    lightgbm.save(model, tmp_path)
    model = lightgbm.load(tmp_path, lookup.task(task))
    servable.write(
        lightgbm.servable(model), {"name": "n", "model_version": "1", "features": "12345"}, FEATURES[:3], tmp_path / "s"
    )
    servable.verify(tmp_path / "s")
    answer = servable.load(tmp_path / "s")(FEATURES)
    outputs = lightgbm.predict(model, FEATURES)
    assert {*answer} == {*outputs, "model_version"}
    for name, values in outputs.items():
        assert answer[name].dtype == values.dtype
        np.testing.assert_allclose(answer[name], values, rtol=0, atol=0 if name != "probability" else 1e-15)
    assert outputs["prediction"].shape == ((600,) if task == "direction" else (600, 1))
    flat = outputs["prediction"].reshape(-1)
    better = np.mean(flat == DOWN) > 0.7 if task == "direction" else np.std(flat - SCORE) < 0.95 * np.std(SCORE)
    assert better


ALL_ROUNDS = ("model.early_stopping_rounds=null",)


@pytest.mark.parametrize("boosting", ["gbdt", "rf", "dart"])
def test_the_trace_ends_with_the_model_that_is_kept(boosting: str) -> None:
    calls: list[tuple[int, float]] = []
    reported = Training(lookup.task("direction"), 0, lambda step, score: calls.append((step, score)), 1)
    model, trace = lightgbm.fit(section(f"model.boosting={boosting}", *ALL_ROUNDS), ROWS, None, reported)
    assert [point.step for point in trace] == [10, 20, 30, 40, 50, 60]
    assert trace[-1].score == np.mean(lightgbm.predict(model, FEATURES)["prediction"] == DOWN)
    assert calls[-1] == (60, trace[-1].score), "the callback's score is the kept model's"
    assert [step for step, _ in calls] == [*range(1, 61)]
    if boosting != "dart":  # which changes its earlier trees
        parts = library.Booster(model_str=model.text).predict(FEATURES, raw_score=True, num_iteration=20)
        assert trace[1].score == np.mean((parts > 0) == DOWN)


def test_early_stopping_looks_at_the_validation_rows_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tapeline")
    # what is learnt is wrong there, and more so with each round
    flipped = Rows(VALIDATION.features, 1 - VALIDATION.target)
    model, trace = lightgbm.fit(section("model.early_stopping_rounds=5"), TRAIN, flipped, training())
    rounds = library.Booster(model_str=model.text).current_iteration()
    assert trace[-1].step == rounds < 5
    assert "keeps 1 rounds: the loss on the 90 validation rows is least there" in caplog.text
    same, _ = lightgbm.fit(section(f"model.steps={rounds}", *ALL_ROUNDS), TRAIN, None, training())
    assert same.text.partition("Tree=0")[2] == model.text.partition("Tree=0")[2], "validation rows train nothing"
    assert lightgbm.fit(section("model.early_stopping_rounds=5"), TRAIN, VALIDATION, training())[1][-1].step > 5


def test_validation_rows_are_of_no_use_to_every_round() -> None:
    with_, without = (lightgbm.fit(section(*ALL_ROUNDS), TRAIN, rows, training())[0] for rows in (VALIDATION, None))
    assert with_ == without


def test_a_share_of_the_train_rows_is_kept_only_to_stop_early() -> None:
    assert section().validation_share == 0.15
    assert section(*ALL_ROUNDS).validation_share == 0


def test_rows_without_a_label_are_left_out() -> None:
    target = SCORE.copy()
    target[::3] = np.nan
    known = np.isfinite(target)
    first, last = known.copy(), known.copy()
    first[-90:], last[:-90] = False, False
    stopping, regression = section("model.early_stopping_rounds=5"), training("regression")
    whole, labelled = (
        lightgbm.fit(stopping, Rows(FEATURES[rows], target[rows]), Rows(FEATURES[held], target[held]), regression)[0]
        for rows, held in ((slice(0, -90), slice(-90, None)), (first, last))
    )
    assert whole == labelled


def test_one_class_still_makes_a_model() -> None:
    rows = Rows(FEATURES, np.ones(600, np.int64))
    model, trace = lightgbm.fit(section(), rows, rows, training())
    assert (lightgbm.predict(model, FEATURES)["prediction"] == 1).all()
    assert trace[-1].score == 1


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (["model.boosting=dart"], "model.early_stopping_rounds=null"),
        (["model.boosting=rf", "model.bagging_fraction=1.0"], "model.bagging_fraction=0.7"),
        (["model.validation=0.2"], "model.validation: unknown key"),
        (["split.validation=1.0"], "less than 1"),
        (["model.num_leaf=7"], "did you mean num_leaves"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(overrides: list[str], what: str) -> None:
    with pytest.raises(Refused, match=what):
        section(*overrides)


def test_what_cannot_be_learnt_is_refused() -> None:
    with pytest.raises(Refused, match="forecasts one number, and the target has 2"):
        lightgbm.fit(section(), Rows(FEATURES, np.zeros((600, 2))), None, training("regression"))
    unlabelled = Rows(FEATURES[:6], np.full(6, np.nan))
    for rows in (None, unlabelled):
        with pytest.raises(Refused, match=r"model\.early_stopping_rounds=50: no validation row has a label"):
            lightgbm.fit(section(), TRAIN, rows, training())


def small_table(folder: Path) -> Path:
    names = [f"x{at}" for at in range(5)]
    columns = [Column("time", "time", "datetime64[D]"), Column("target", "target", "int64")]
    columns += [Column(name, "feature", "float32") for name in names]
    time = np.datetime64("2020-01-01") + np.arange(600)
    frame = pl.DataFrame({"time": time, "target": DOWN, **dict(zip(names, FEATURES.T, strict=True))})
    write(folder / "t", Manifest("direction", "indices", tuple(columns), ("down",)), [("all", frame)])
    return folder / "t"


def reads(*overrides: str) -> train.Reads:
    return view(lookup.configure(["model=lightgbm", "model.steps=3", *overrides]), train.Reads)


def test_training_says_that_it_uses_no_gpu(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tapeline")
    train.run(reads("hw=gpu"), table=small_table(tmp_path), fitted=tmp_path / "fitted")
    assert "lightgbm trains on the CPU" in caplog.text
    record = fitted.read(tmp_path / "fitted")
    assert (record.device, record.tensorflow) == ("cpu", None)
    assert record.rows == [{"train": 408, "validation": 72, "test": 120}]
    assert record.last_label == "2021-04-24", "a validation row chose the rounds, and so counts as learnt"
    with pytest.raises(Refused, match=r"set hw\.required=false"):
        train.run(reads("hw=gpu", "hw.required=true"), table=tmp_path / "t", fitted=tmp_path / "never")


def test_training_needs_no_tensorflow_and_composing_no_lightgbm(tmp_path: Path) -> None:
    program = """
import sys
from dataclasses import replace
from pathlib import Path
from tapeline import lookup
composed = lookup.configure(["model=lightgbm", "model.steps=3"])
assert "lightgbm" not in sys.modules
from tapeline.pipeline.execution import view
from tapeline.steps import train
train.run(view(composed, train.Reads), table=Path(sys.argv[1]), fitted=Path(sys.argv[2]))
assert "lightgbm" in sys.modules
assert "tensorflow" not in sys.modules
"""
    paths: list[Any] = [small_table(tmp_path), tmp_path / "fitted"]
    subprocess.run([sys.executable, "-c", program, *paths], check=True)


def test_predictions_agree_with_the_sign_of_the_score() -> None:
    outputs = lightgbm.predict(lightgbm.fit(section(), TRAIN, VALIDATION, training())[0], FEATURES)
    raw: Array = outputs["raw_score"]
    np.testing.assert_array_equal(outputs["prediction"], raw > 0)
    np.testing.assert_allclose(outputs["probability"][:, 1], 1 / (1 + np.exp(-raw)), rtol=1e-14)
    np.testing.assert_allclose(outputs["probability"].sum(axis=1), 1, rtol=1e-15)


def _many(rows: int = 3000) -> Rows:
    """Features with missing values and a category, and labels of which some are missing."""
    random = np.random.default_rng(5)
    features = random.normal(size=(rows, 4)).astype(np.float32)
    features[:, 3] = random.integers(0, 14, rows)
    features[random.random((rows, 4)) < 0.1] = np.nan
    features[:, 3] = np.nan_to_num(features[:, 3])
    target = np.nan_to_num(features[:, 0]) + np.isin(features[:, 3], (2, 5, 11)) + random.normal(scale=0.1, size=rows)
    target[::9] = np.nan
    return Rows(features, target, random.uniform(1, 5, rows))


def _fit_returns(rows: Rows, **more: Any) -> lightgbm.Model:
    given = Training(lookup.task("returns"), 1, lambda *_: None, 1, **more)
    return lightgbm.fit(section("model.steps=30", "model.early_stopping_rounds=null"), rows, None, given)[0]


def test_rows_in_a_file_give_the_model_of_rows_in_memory(tmp_path: Path) -> None:
    rows = _many()
    known = np.isfinite(rows.target)
    assert rows.weight is not None
    labelled = Rows(rows.features[known], rows.target[known], rows.weight[known])
    labelled.features.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=labelled.features.shape)
    models = [
        _fit_returns(each, categorical=(3,)).text for each in (rows, labelled, replace(labelled, features=mapped))
    ]
    assert models[0] == models[1] == models[2]


def test_a_category_is_split_by_its_members() -> None:
    rows = _many()
    assert "cat_threshold" in _fit_returns(rows, categorical=(3,)).text
    assert "cat_threshold" not in _fit_returns(rows).text


def test_weights_count_and_missing_features_have_an_answer() -> None:
    rows = _many()
    model, plain = _fit_returns(rows), _fit_returns(replace(rows, weight=None))
    assert model.text != plain.text
    nothing = np.full((2, 4), np.nan, np.float32)
    assert np.isfinite(lightgbm.predict(model, nothing)["prediction"]).all()


def test_the_trace_of_many_rows_scores_some_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _many()
    whole = _traced(rows)
    monkeypatch.setattr("tapeline.models.lightgbm.matrix.SCORED", 500)
    some = _traced(rows)
    assert [step for step, _ in some] == [step for step, _ in whole] == [10, 20, 30]
    assert [score for _, score in some] == pytest.approx([score for _, score in whole], rel=0.2)


@pytest.mark.parametrize(("block", "scored"), [(7, 10), (64, 33), (100, 1000), (1, 3)])
def test_the_same_rows_of_a_file_and_of_memory_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, scored: int
) -> None:
    monkeypatch.setattr(matrix, "BLOCK", block)
    monkeypatch.setattr(matrix, "SCORED", scored)
    array = np.arange(200, dtype=np.float32).reshape(100, 2)
    array.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=array.shape)
    target = array[:, 0]
    features, targets = matrix.sample(Rows(mapped, target))
    np.testing.assert_array_equal(features, matrix.sample(Rows(array, target))[0])
    np.testing.assert_array_equal(features[:, 0], targets)
    assert len(features) <= scored


def test_the_rows_that_are_scored_do_not_bring_the_others_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix, "BLOCK", 1000)
    monkeypatch.setattr(matrix, "SCORED", 100)
    array = np.zeros((100_000, 8), np.float32)
    array.tofile(tmp_path / "rows")
    rows = Rows(np.memmap(tmp_path / "rows", np.float32, "r", shape=array.shape), array[:, 0])
    tracemalloc.start()
    try:
        matrix.sample(rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < array.nbytes / 10


def test_histograms_by_column_give_the_model_of_those_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _many()
    by_row = lightgbm.predict(_fit_returns(rows), rows.features)["prediction"]
    monkeypatch.setattr(lightgbm, "COLUMN_WISE", 1)
    by_column = lightgbm.predict(_fit_returns(rows), rows.features)["prediction"]
    np.testing.assert_allclose(by_column, by_row, rtol=1e-6, atol=1e-9)


def _traced(rows: Rows) -> list[tuple[int, float]]:
    given = Training(lookup.task("returns"), 1, lambda *_: None, 1)
    trace = lightgbm.fit(section("model.steps=30", "model.early_stopping_rounds=null"), rows, None, given)[1]
    return [(point.step, point.score) for point in trace]
