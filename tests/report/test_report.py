"""The report: what it is made of, that its numbers are the run's, and that names do no harm."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tapeline import files
from tapeline.config.compose import flat
from tapeline.report import data_page
from tests.conftest import ROOT, Tapeline, without_pictures, without_run
from tests.report.conftest import HOSTILE, Run


class Page(HTMLParser):
    """What of a page the tests look at."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.numbers: list[tuple[str, str, str]] = []
        """Key, value and text of each number that stands in a file."""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag == "data":
            self.numbers.append((given["data-key"] or "", given["value"] or "", ""))

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.tags and self.tags[-1][0] == "data" and not self.numbers[-1][2]:
            self.numbers[-1] = (*self.numbers[-1][:2], data)


def at(pointer: str, whole: Any) -> Any:
    """What a JSON pointer names."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        whole = whole[int(key)] if isinstance(whole, list) else whole[key]
    return whole


def pointer(*path: str) -> str:
    return "/metrics/" + "/".join(path)


def keys_of(dotted: str, metrics: Iterable[str]) -> tuple[str, ...]:
    """The keys of a dotted path, in which names of metrics, as down.f1, may be keys."""
    first, _, rest = dotted.partition(".")
    if first == "intervals":
        name = next(each for each in metrics if rest.startswith(f"{each}."))
        return first, name, rest.removeprefix(f"{name}.")
    return tuple(dotted.split("."))


def is_shown(value: float | None, text: str) -> bool:
    """Whether the text is the value, rounded to the digits that it has."""
    if value is None:
        return text == "none"
    plain = text.replace(",", "").replace("\N{NO-BREAK SPACE}%", "")
    decimals = len(plain.partition(".")[2]) if "e" not in plain else None
    factor = 100 if "%" in text else 1
    if decimals is None:
        return float(plain) == pytest.approx(factor * value, rel=1e-3)
    return abs(float(plain) - factor * value) <= 0.5000001 * 0.1**decimals


def test_every_number_is_the_one_in_the_files(run: Run) -> None:
    page = Page(run.report())
    record = {"metrics": run.metrics, "scores": run.scores, "profile": run.profile}
    assert len(page.numbers) > 500
    for key, value, text in page.numbers:
        found = at(key, record)
        assert (repr(found), is_shown(found, text)) == (value, True), (key, value, text)


def test_every_number_of_the_metrics_is_shown(run: Run) -> None:
    shown = {key for key, _, _ in Page(run.report()).numbers}
    paths = [("test", "overall"), *(("baselines", name) for name in run.metrics["baselines"]), ("train",)]
    paths += [("validation", "overall")] if run.metrics["validation"] else []
    gate, constant = run.metrics["gate"]["metric"], "It is a constant" in run.report()
    missing = set()
    for path in paths:
        for key, value in flat(at("/" + "/".join(path), run.metrics)).items():
            if key.startswith("intervals."):
                ends = ("low", "high", "level") if gate in key else ("low", "high")
                wanted = path[0] == "test" and key.endswith(ends)
            elif key.startswith("confusion") and constant:
                wanted = False
            else:
                wanted = isinstance(value, float) or (path[0] == "test" and isinstance(value, int))
            if wanted:
                missing |= {pointer(*path, *keys_of(key, run.metrics["test"]["overall"]["intervals"]))} - shown
    assert missing <= {"/metrics/train/accuracy"}, "which is the trace's last"


def test_a_changed_number_is_seen_and_found(runs: dict[str, Run]) -> None:
    other = runs["flat rejected"].changed()
    other.metrics["test"]["overall"]["accuracy"] = 0.123456
    page = Page(other.undrawn())
    assert ("/metrics/test/overall/accuracy", "0.123456", "0.1235") in page.numbers
    assert ("/metrics/test/overall/accuracy", "0.123456", "12.3\N{NO-BREAK SPACE}%") in page.numbers
    assert not is_shown(0.123456, "0.1236")
    assert not is_shown(0.5, "51\N{NO-BREAK SPACE}%")


def test_it_opens_with_the_decision_and_what_it_rests_on(runs: dict[str, Run]) -> None:
    text = " ".join(Page(runs["flat rejected"].report()).text.split())
    assert "Will the S&P 500 close lower than on the day before?" in text
    assert "Decided at 17:00 Europe/London. Tested on 288 rows from 2014-08-12 to 2015-10-01." in text
    assert "Rejected Not live. Next: tapeline config group=gate, tapeline runs." in text
    assert f"Run {runs['flat rejected'].folder.resolve().name}, " in text
    assert "To go live it has to be above 99 %." in text
    assert "is not above 0.99" in text
    parts = ["Rejected", "The model", "Permutation importance", "Every market against every other", "Configuration"]
    places = [text.rindex(each) if each == "Configuration" else text.index(each) for each in parts]
    assert places == sorted(places)
    assert "gate.champion_margin=0 asks for that" in text
    accepted = " ".join(Page(runs["deep accepted"].report()).text.split())
    assert "Accepted Live as version 1 of indices-simulated. Next: tapeline serve, tapeline predict." in accepted
    assert "The gate did not compare it with naive baselines" in accepted
    assert "ftse_log_return_0: closes at 16:30 Europe/London the same day" in accepted
    assert "4 models, each tested on what came after" in Page(runs["lightgbm walk-forward"].report()).text


def test_simulated_data_is_named_as_such(runs: dict[str, Run]) -> None:
    run = runs["flat rejected"].changed()
    assert run.report().count('class="simulated"') == 2
    run.metrics["data"]["simulated"] = False
    assert 'class="simulated"' not in run.undrawn()


def test_the_same_run_gives_the_same_page_small_and_without_network(run: Run) -> None:
    html = run.html()
    assert html == without_run(run.report())
    assert len(html.encode()) < 1_500_000
    for tag, given in Page(html).tags:
        for name in ("src", "href", "xlink:href", "action"):
            assert (given.get(name) or "#").startswith(("#", "data:")), (tag, given)
    assert not re.findall(r"url\((?!#)|@import", html)


def test_no_two_elements_share_a_name(run: Run) -> None:
    names = [given["id"] for _, given in Page(run.report()).tags if "id" in given]
    assert len(names) == len(set(names))


def test_its_files_from_elsewhere_are_enough(runs: dict[str, Run], tapeline: Tapeline, folder: Path) -> None:
    run = runs["lightgbm walk-forward"]
    inputs = {name: f"{name}.json" for name in ("profile", "fitted", "scores", "metrics")}
    inputs["predictions"] = "predictions.parquet"
    for file in inputs.values():
        (folder / file).write_bytes((run.folder / file).read_bytes())
    arguments = [word for name, file in inputs.items() for word in ("--in", f"{name}={file}")]
    code, _, problem = tapeline("step", "report", *arguments, "--out", "report=r.html")
    assert (code, problem) == (0, "")
    assert (folder / "r.html").read_text() == without_run(run.report())


def test_hostile_names_are_text(hostile_page: str) -> None:
    page = Page(hostile_page)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [given for _, given in page.tags if any(name.startswith("on") for name in given)]
    assert not [tag for tag, _ in page.tags if tag == "img"]
    for name in HOSTILE:
        assert name in page.text or json.dumps(name) in page.text, name


def test_a_dataset_without_series_has_a_page(runs: dict[str, Run]) -> None:
    """Images, say: nothing is said of prices, or of when columns are known."""
    other = runs["flat rejected"].changed()
    other.profile["statistics"].pop("series")
    other.profile["notes"].clear()
    other.metrics["data"]["as_of"] = other.profile["as_of"] = None
    names = {given.get("id") for tag, given in Page(other.undrawn()).tags if tag == "figure"}
    assert "target" in names
    assert not names & {"prices", "scatter", "missing", "known"}


def test_the_gates_own_metric_opens_the_page(runs: dict[str, Run]) -> None:
    other = runs["flat rejected"].changed()
    other.metrics["config"]["gate"] |= {"metric": "log_loss", "threshold": 0.6}
    text = " ".join(Page(other.undrawn()).text.split())
    assert f"the model's log loss is {other.metrics['test']['overall']['log_loss']:.4f}" in text
    assert "has to be below 0.6" in text
    other.metrics["config"]["gate"] |= {"metric": "down.f1", "threshold": None}
    text = " ".join(Page(other.undrawn()).text.split())
    assert f"the model's down.f1 is {other.metrics['test']['overall']['down']['f1']:.4f}" in text
    assert "has to be" not in text


def test_a_champion_is_reported(runs: dict[str, Run]) -> None:
    other = runs["flat rejected"].changed()
    other.metrics["champion"] = {
        "model_version": "0123456789ab", "last_label": "2014-08-11", "rows": 288, "score": 0.71, "candidate": 0.7,
    }  # fmt: skip
    other.metrics["config"]["gate"]["champion_margin"] = 0.01
    assert ("/metrics/champion/score", "0.71", "0.710000") in Page(other.undrawn()).numbers


def test_the_data_part_stands_alone(runs: dict[str, Run]) -> None:
    profile = runs["deep accepted"].profile
    page = Page(data_page(profile))
    assert len(page.numbers) > 500
    assert all(is_shown(at(key, {"profile": profile}), text) for key, _, text in page.numbers)
    assert "Simulated data" in page.text
    assert "ROC" not in page.text
    with without_pictures():
        assert 'class="simulated"' not in data_page({**profile, "source": "csv", "simulated": False, "as_of": None})


def test_defects_stand_on_the_first_screen_and_unknown_hours_in_the_table(runs: dict[str, Run]) -> None:
    other = runs["flat rejected"].changed()
    spans = other.report().count("var(--bad)")
    record = {"kind": "frozen", "series": "dax", "first": "2013-01-02", "last": "2013-03-01", "size": 41}
    other.profile["quality"] = [{**record, "text": f"dax <{number}> is frozen"} for number in range(9)]
    known = other.profile["notes"]["known"]
    known["ftse_log_return_0"] = {"hours": None, "when": "closing time unknown before 1999-09-20"}
    html = other.html()
    assert html.count("var(--bad)") > spans, "charts mark it"
    page = Page(html)
    text = " ".join(page.text.split())
    assert (
        text.index("Rejected") < text.index("Data quality") < text.index("dax <0> is frozen") < text.index("The data ")
    )
    assert text.index("dax <5> is frozen") < text.index("3 more") < text.index("dax <6> is frozen")
    assert "closing time unknown before 1999-09-20" in page.text
    assert ("/profile/notes/known/ftse_log_return_0/hours", "None", "none") in page.numbers


def test_only_the_report_imports_plotting() -> None:
    source = ROOT / "src" / "tapeline"
    plotting, users = set(), set()
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            where = path.relative_to(source)
            plotting |= {where.parts[0] for name in names if name.split(".")[0] == "matplotlib"}
            users |= {str(where) for name in names if name.startswith("tapeline.report")}
    assert plotting == {"report"}
    assert {name for name in users if name.startswith("steps")} == {"steps/report.py"}


def test_a_profile_says_what_the_report_needs_in_little_room(runs: dict[str, Run]) -> None:
    assert len(json.dumps(runs["flat rejected"].profile)) < 100_000
    assert files.read_json(runs["flat rejected"].folder / "scores.json") == runs["flat rejected"].scores
