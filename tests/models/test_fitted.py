"""fitted.json: read back as it was written, whatever the windows are of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tapeline import files
from tapeline.models import Point, fitted
from tapeline.models.fitted import Fitted
from tapeline.tables.windows import Period, Window


def period(first: str, last: str) -> Period:
    return Period(np.datetime64(first), np.datetime64(last))


WINDOWS = {
    "days": Window(
        "time",
        (period("2010-01-13", "2012-01-02"), period("2012-02-01", "2014-08-01")),
        (period("2014-08-04", "2014-08-11"),),
        (period("2014-08-12", "2015-10-01"),),
    ),
    "minutes": Window(
        "time", (period("2020-01-01T00:00", "2020-02-01T23:59"),), (), (period("2020-03-01T00:16", "2020-03-02T00:00"),)
    ),
    "rows": Window("row", (0, 2, 3), (4,), (1, 5)),
    "groups": Window("group", ("a", "c"), (), ("b",)),
}


def record(window: Window) -> Fitted:
    section = {"family": "flat", "steps": 30}
    return Fitted(
        dataset="indices",
        task="direction",
        family="flat",
        section=section,
        origin=dict.fromkeys(section, "configuration"),
        hw="cpu",
        seed=0,
        threads=2,
        device="cpu",
        tensorflow="2.20.0",
        windows=(window, window),
        rows=[{"train": 3, "validation": 1, "test": 2}] * 2,
        traces=[[Point(15, 0.5), Point(30, 0.6)], [Point(30, 0.7)]],
        last_label="2014-08-11" if window.by == "time" else None,
    )


@pytest.mark.parametrize("name", WINDOWS)
def test_it_is_read_back_from_the_folder_or_the_file(name: str, tmp_path: Path) -> None:
    written = record(WINDOWS[name])
    fitted.write(written, tmp_path)
    assert fitted.read(tmp_path) == written
    assert fitted.read(tmp_path / "fitted.json") == written
    content = files.read_json(tmp_path / "fitted.json")
    assert content["schema"] == 2
    assert fitted.of(content) == written


def test_metrics_list_periods_but_only_a_digest_of_drawn_rows() -> None:
    days = fitted.split_record(record(WINDOWS["days"]))
    assert days["by"] == "time"
    assert len(days["windows"]) == 2
    assert days["windows"][0] == {
        "train": [["2010-01-13", "2012-01-02"], ["2012-02-01", "2014-08-01"]],
        "validation": [["2014-08-04", "2014-08-11"]],
        "test": [["2014-08-12", "2015-10-01"]],
        "rows": {"train": 3, "validation": 1, "test": 2},
    }
    (first, _), (other, _) = (
        fitted.split_record(record(Window("row", sides, (), (9,))))["windows"] for sides in ((0, 2, 3), (0, 2, 4))
    )
    assert first["train"] != other["train"]
    assert (len(first["train"]), first["test"]) == (64, other["test"])
