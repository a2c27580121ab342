"""Windows: every test row once, training before testing, purge and embargo; and what a shuffled target scores."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeline.checks.configuration import purge_covers_the_label
from tapeline.cli import main as cli
from tapeline.datasets import indices
from tapeline.errors import Refused
from tapeline.evaluation import metrics
from tapeline.lookup import configure as compose
from tapeline.lookup import dataset as kind
from tapeline.lookup import source
from tapeline.tables import splits
from tapeline.tables.splits import Chronological, Dates, WalkForward, windows
from tapeline.tables.table import Table

DATA = Path(os.environ.get("TAPELINE_DATA") or Path(__file__).parents[3] / "shared" / "data")
CLOSING = DATA / "indices" / "closing_data.csv"
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Of the original closes."""
    if not CLOSING.is_file():
        pytest.skip(f"no real data at {CLOSING}; set TAPELINE_DATA")
    dataset = compose(["dataset.source=csv", f"dataset.path={CLOSING}"]).dataset
    frame, where = source(dataset).read(dataset, kind(dataset).simulate, tmp_path_factory.mktemp("source"))
    return kind(dataset).table(dataset, kind(dataset).ingest(dataset, frame, where))


def walk(**keys: Any) -> WalkForward:
    given = {"windows": 4, "train": 0.6, "train_rows": None, "test_rows": None, "purge": 0, "embargo": 0, **keys}
    return WalkForward(name="walk_forward", **given)


def days(count: int) -> Array:
    return np.datetime64("2020-01-01") + np.arange(count)


def test_chronological_is_the_original_split(table: Table) -> None:
    (window,) = windows(Chronological(name="chronological", train=0.8), table.time)
    assert (len(window.train), len(window.test)) == (1152, 288)
    assert str(table.time[window.train[-1]])[:10] == "2014-08-11"
    assert (np.concatenate([window.train, window.test]) == np.arange(1440)).all()


def test_dates_with_the_originals_last_day_are_the_same_split(table: Table) -> None:
    (by_share,) = windows(Chronological(name="chronological", train=0.8), table.time)
    (by_date,) = windows(compose(["split=dates"]).split, table.time)
    assert (by_share.train == by_date.train).all()
    assert (by_share.test == by_date.test).all()


def test_dates_leave_out_what_lies_between_and_after() -> None:
    split = Dates(name="dates", train_until="2020-01-03", test_from="2020-01-06", test_until="2020-01-07")
    minutes = np.repeat(days(10).astype("datetime64[s]"), 2) + np.tile([0, 60], 10)
    (window,) = windows(split, minutes)
    assert window.train.tolist() == [0, 1, 2, 3, 4, 5]
    assert window.test.tolist() == [10, 11, 12, 13]


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["split=dates", "split.test_from=2014-08-11"], "must be later than split.train_until=2014-08-11"),
        (["split=dates", "split.train_until=11.8.2014"], "must be a date"),
        (["split=dates", "split.train=0.8"], "split.train: unknown key"),
        (["split=walk_forward", "split.window=3"], "did you mean windows?"),
        (["split.name=walkforward"], "did you mean walk_forward?"),
        (["split=walk_forward", "split.purge=-1"], "split.purge=-1"),
    ],
)
def test_a_split_that_cannot_be_is_refused_when_composed(overrides: list[str], says: str) -> None:
    with pytest.raises(Refused, match=says.replace("?", r"\?")):
        compose(overrides)


@pytest.mark.parametrize(
    ("split", "says"),
    [
        (Dates(name="dates", train_until="2019-01-01", test_from=None, test_until=None), "2020-01-01 to 2020-01-20"),
        (Dates(name="dates", train_until="2020-01-20", test_from=None, test_until=None), "no rows to test"),
        (Chronological(name="chronological", train=0.01), "none to one side"),
        (walk(train=0.01), "none to train"),
        (walk(windows=9), "8 rows are too few for 9 folds"),
        (walk(test_rows=3), "8 rows are too few for 4 folds of 3"),
        (walk(purge=12), "window 1 has no rows left to train"),
    ],
)
def test_a_side_without_rows_is_refused(split: Any, says: str) -> None:
    with pytest.raises(Refused, match=says):
        windows(split, days(20))


def test_rows_that_are_out_of_order_are_our_bug() -> None:
    with pytest.raises(ValueError, match="order of time"):
        windows(walk(), days(20)[::-1])


def test_walk_forward_pools_every_test_row_once(table: Table) -> None:
    made = windows(compose(["split=walk_forward", "split.windows=7", "split.train=0.5"]).split, table.time)
    assert len(made) == 7
    assert np.concatenate([window.test for window in made]).tolist() == list(range(720, 1440))
    assert [len(window.train) for window in made] == [window.test[0] for window in made]


def test_folds_of_a_given_length_begin_behind_the_first_training_rows() -> None:
    made = windows(walk(train=0.5, test_rows=2, windows=3, train_rows=5), days(20))
    assert [window.test.tolist() for window in made] == [[10, 11], [12, 13], [14, 15]]
    assert [window.train.tolist() for window in made] == [list(range(first, first + 5)) for first in (5, 7, 9)]


def test_purge_and_embargo_in_numbers() -> None:
    last = windows(walk(train=0.25, windows=3, purge=2, embargo=3), days(40))[-1]
    assert last.test.tolist() == list(range(30, 40))
    assert last.train.tolist() == [*range(20), *range(23, 28)]  # embargo behind the fold 10 to 19, purge before 30
    without = windows(walk(train=0.25, windows=3), days(40))[-1]
    assert without.train.tolist() == list(range(30))


@st.composite
def walks(draw: st.DrawFn) -> tuple[WalkForward, Array]:
    """A split, and times of which each has one to three rows."""
    counts = draw(st.lists(st.integers(1, 3), min_size=1, max_size=60))
    split = walk(
        windows=draw(st.integers(1, 6)),
        train=draw(st.floats(0.05, 0.95)),
        train_rows=draw(st.none() | st.integers(1, 40)),
        test_rows=draw(st.none() | st.integers(1, 8)),
        purge=draw(st.integers(0, 6)),
        embargo=draw(st.integers(0, 12)),
    )
    return split, np.repeat(days(len(counts)), counts)


@given(walks())
def test_windows_hold_what_their_words_say(case: tuple[WalkForward, Array]) -> None:
    """Against the definitions, time by time."""
    split, time = case
    try:
        made = windows(split, time)
    except Refused:
        return
    moments = np.unique(time)
    pooled = np.concatenate([window.test for window in made])
    assert pooled.tolist() == list(range(pooled[0], pooled[0] + len(pooled)))
    if split.test_rows is None:
        assert pooled[-1] == len(time) - 1
    ends: list[int] = []
    for window in made:
        assert len(window.train)
        assert len(window.test)
        assert time[window.train].max() < time[window.test].min()
        first, last = np.searchsorted(moments, time[window.test[[0, -1]]])
        embargoed = {moment for end in ends for moment in range(end + 1, end + 1 + split.embargo)}
        reach = range(first - split.purge - (split.train_rows or first), first - split.purge)
        allowed = [moment for moment in reach if moment >= 0 and moment not in embargoed]
        assert window.train.tolist() == np.flatnonzero(np.isin(time, moments[allowed])).tolist()
        ends.append(int(last))


@given(st.integers(1, 5), st.integers(20, 60))
def test_no_training_label_reaches_into_the_test_fold(horizon: int, rows: int) -> None:
    for window in windows(walk(purge=horizon), days(rows)):
        assert window.train[-1] + horizon < window.test[0]


def test_a_purge_that_is_shorter_than_the_label_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose(["split=walk_forward", "split.purge=1"])
    assert not list(purge_covers_the_label(config))
    monkeypatch.setattr(indices, "HORIZON", 2)
    (finding,) = purge_covers_the_label(config)
    assert "set split.purge=2" in finding.fix


def scores(table: Table, target: Array) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of a logistic regression walked forward, and of the majority of each window's training rows."""
    from sklearn.linear_model import LogisticRegression

    model, naive, test = [], [], []
    for window in windows(walk(windows=5, train=0.5), table.time):
        fitted = LogisticRegression(C=100, max_iter=500).fit(table.features[window.train], target[window.train])
        model.append(fitted.predict(table.features[window.test]))
        naive.append(metrics.majority("direction", target[window.train], len(window.test)))
        test.append(target[window.test])
    truth = np.concatenate(test)
    both = [metrics.score("direction", truth, {"prediction": np.concatenate(each)}) for each in (model, naive)]
    return both[0], both[1]


@pytest.mark.parametrize("seed", range(3))
def test_a_target_shuffled_in_time_scores_as_the_baseline(table: Table, seed: int) -> None:
    shuffled, baseline = scores(table, np.random.default_rng(seed).permutation(table.target))
    assert shuffled["interval"]["low"] <= baseline["accuracy"] <= shuffled["interval"]["high"]


def test_the_real_target_scores_above_the_baseline(table: Table) -> None:
    real, baseline = scores(table, table.target)
    assert real["interval"]["low"] > baseline["accuracy"]


def test_a_run_walks_forward_and_exports_the_last_window(table: Table, tmp_path: Path) -> None:
    places = [f"target.runs={tmp_path}/runs", f"target.cache={tmp_path}/cache", f"serving.store={tmp_path}/store"]
    split = ["split=walk_forward", "split.windows=3", "split.train=0.75", "split.purge=1", "split.embargo=5"]
    data = ["dataset.source=csv", f"dataset.path={CLOSING}", "model=flat", "model.steps=3"]
    assert cli.main(["run", "publish=false", *data, *split, *places]) == 0
    run = tmp_path / "runs" / "latest"
    written = json.loads((run / "metrics.json").read_text())
    last = windows(compose(split).split, table.time)[-1]
    assert written["data"]["rows"] == {"train": len(last.train), "validation": 0, "test": 360}
    fitted = json.loads((run / "fitted" / "fitted.json").read_text())
    assert len(fitted["traces"]) == 3
    assert fitted["last_label"] == str(table.time[last.train[-1]])
    assert json.loads((run / "scores.json").read_text())["predictions"]["time"] == [str(t) for t in table.time[1080:]]


def test_every_split_has_its_file() -> None:
    conf = Path(__file__).parents[2] / "conf" / "split"
    assert sorted(path.stem for path in conf.glob("*.yaml")) == sorted(splits.SPLITS)
