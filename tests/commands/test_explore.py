"""A look at the data before any training."""

from __future__ import annotations

import re
from pathlib import Path

from tapeline.datasets.indices.simulation import simulate
from tests.conftest import Tapeline, steps

SMALL = ["model=flat", "model.steps=20", "model.report_every=20", "gate.threshold=0.99"]


def test_explore_writes_a_page_says_where_and_fills_the_cache(tapeline: Tapeline, folder: Path) -> None:
    code, out, err = tapeline("explore", "dataset.as_of=09:00 America/New_York")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "data: explore/indices_simulated.html"
    html = (folder / "explore" / "indices_simulated.html").read_text()
    assert "Simulated data" in html
    assert "ftse_log_return_0: closes at 16:30 Europe/London the same day" in html
    assert {path.name for path in folder.iterdir()} == {"explore", ".tapeline"}
    assert not list(folder.rglob("*.partial"))
    assert tapeline("run", *SMALL, "dataset.as_of=09:00 America/New_York")[0] == 0
    assert [name for name, how in steps(folder).items() if how == "cached"] == ["ingest", "features"]
    latest = folder / "runs" / "latest"
    shown, report = (re.findall('<figure id="([^"]+)"', each) for each in (html, (latest / "report.html").read_text()))
    assert shown == [name for name in report if name in shown]
    assert {"prices", "known", "target"} <= set(shown)
    assert not {"training", "breakdown"} & set(shown)


def test_explore_takes_any_source_and_the_same_data_gives_the_same_page(tapeline: Tapeline, folder: Path) -> None:
    simulate(0).write_csv(folder / "closes.csv")
    assert tapeline("explore", "dataset.source=csv", "dataset.path=closes.csv")[0] == 0
    page = folder / "explore" / "indices_csv.html"
    first = page.read_bytes()
    assert b'class="simulated"' not in first
    code, out, _ = tapeline("explore", "dataset.source=csv", "dataset.path=closes.csv")
    assert code == 0
    assert out.count("cached") == 2
    assert page.read_bytes() == first


def test_a_mistake_ends_in_one_sentence_and_leaves_no_page(tapeline: Tapeline, folder: Path) -> None:
    code, _, err = tapeline("explore", "dataset.source=csv", "dataset.path=nope.csv")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "nope.csv: no such file" in err
    code, _, err = tapeline("explore", "modle=flat")
    assert (code, err) == (2, "tapeline: modle: unknown key; did you mean model?\n")
    assert not (folder / "explore").exists()
