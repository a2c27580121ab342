"""Keys of splits: what is refused, when composed, with a dataset, or with the rows at hand."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tapeline.config.schema import Split
from tapeline.errors import Refused
from tapeline.lookup import configure
from tapeline.tables import splits
from tapeline.tables.spec import Spec
from tapeline.tables.splits import periods
from tapeline.tables.splits.by_group import Section as ByGroup
from tapeline.tables.splits.by_row import Section as ByRow
from tests.tables.sections import chronological, dates, days, drawn, rolling, walk

NONE = timedelta(0)
CONF = Path(__file__).parents[2] / "conf" / "split"


@pytest.mark.parametrize(
    ("split", "says"),
    [
        (dates(train_until="2019-01-01"), "2020-01-01 to 2020-01-20"),
        (dates(train_until="2020-01-20"), "no rows to test"),
        (chronological(train=0.01), "none to one side"),
        (walk(train=0.01), "none to train"),
        (walk(windows=9), "8 rows are too few for 9 folds"),
        (walk(test_rows=3), "8 rows are too few for 4 folds of 3"),
        (walk(purge="12d"), "window 1 has no rows left to train"),
        (chronological(validation=0.01), "no rows left to validate"),
    ],
)
def test_a_side_without_rows_is_refused(split: Split, says: str) -> None:
    with pytest.raises(Refused, match=says):
        periods(split, days(20), NONE)


@pytest.mark.parametrize("value", [1, "1", "3 d", "d", "-1d", "1.5h", "1M", True, 2.0])
def test_a_purge_without_a_unit_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="must be a duration"):
        chronological(purge=value)


def test_a_number_is_refused_with_the_duration_to_write() -> None:
    with pytest.raises(ValidationError, match=r"\b3d\b.*\b3m\b"):
        walk(embargo=3)


@pytest.mark.parametrize(("key", "value"), [("train", "0d"), ("test", "0s"), ("step", "4d")])
def test_a_rolling_that_cannot_be_is_refused(key: str, value: str) -> None:
    with pytest.raises(ValidationError):
        rolling(**{key: value})


SPEC = Spec(task="regression", outputs=("close",), horizon=timedelta(minutes=16))


@pytest.mark.parametrize(
    ("split", "spec", "fix"),
    [
        (chronological(purge="15m"), SPEC, "split.purge=16m"),
        (drawn(ByRow), SPEC, "split=chronological"),
        (walk(), Spec(task="keypoints", outputs=("x",)), "split=by_group"),
    ],
)
def test_a_split_that_cannot_go_with_a_dataset_is_found(split: Split, spec: Spec, fix: str) -> None:
    (finding,) = splits.findings(split, spec)
    assert fix in finding.fix


def test_a_split_that_goes_with_a_dataset_has_no_finding() -> None:
    assert not [*splits.findings(chronological(), SPEC), *splits.findings(chronological(purge="16m"), SPEC)]
    assert not list(splits.findings(drawn(ByGroup), Spec(task="keypoints", outputs=("x",))))


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["split=dates", "split.test_from=2014-08-11"], "must be later than split.train_until=2014-08-11"),
        (["split=dates", "split.train_until=11.8.2014"], "must be a date"),
        (["split=dates", "split.train=0.8"], "split.train: unknown key"),
        (["split=walk_forward", "split.window=3"], "did you mean windows?"),
        (["split.name=walkforward"], "did you mean walk_forward?"),
        (["split=walk_forward", "split.purge=1"], "split.purge=1: .*1d"),
        (["split=by_group", "split.purge=1d"], "split.purge: unknown key"),
        (["split=rolling", "split.test=4w", "split.step=3w"], "split.step='3w'.*split.test=4w"),
    ],
)
def test_a_split_that_cannot_be_is_refused_when_composed(overrides: list[str], says: str) -> None:
    with pytest.raises(Refused, match=says.replace("?", r"\?")):
        configure(overrides)


def test_every_split_has_its_file_and_every_key_its_place_there() -> None:
    import yaml

    files = {path.stem: yaml.safe_load(path.read_text()) for path in CONF.glob("*.yaml")}
    variants = [name for name, keys in files.items() if "defaults" in keys]
    assert files.keys() - set(variants) == splits.modules().keys()
    for name in files.keys() - set(variants):
        splits.section(name).model_validate(files[name])
    for name in variants:
        assert configure([f"split={name}"]).split.name in files[name]["defaults"]
    with pytest.raises(Refused, match="walk_forward"):
        splits.section("walkforward")
