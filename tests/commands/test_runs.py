"""Past runs: what is listed, compared, repeated and removed, and what stays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tapeline import files
from tapeline.cli import main as cli
from tapeline.datasets.indices.simulation import simulate
from tapeline.pipeline import cache
from tapeline.steps import report
from tests.conftest import Tapeline
from tests.pipeline.test_kills import whole

SMALL = ["model=flat", "model.steps=40", "model.report_every=20", "gate.threshold=0", "gate.baseline_margin=null"]
HOSTILE = '<script>alert("1")</script>\'&' + "x" * 300


@pytest.fixture(scope="module", autouse=True)
def reported() -> Iterator[None]:
    """Reports are tested elsewhere, and drawing them takes most of a small run's time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "page", lambda *shown: "<p>a report")
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Runs a, b (more steps), c (other test rows) and d (a hostile column), the last one the latest."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        simulate(0).rename({"dax": HOSTILE}).write_parquet("closes.parquet")
        hostile = HOSTILE.replace("'", "\\'")
        data = ["dataset.source=parquet", "dataset.path=closes.parquet", f"dataset.columns={{dax: '{hostile}'}}"]
        for name, more in {"a": [], "b": ["model.steps=400"], "c": ["split.train=0.7"], "d": data}.items():
            assert cli.main(["run", *SMALL, *more]) == 0
            run = (folder / "runs" / "latest").resolve()
            run.rename(run.with_name(f"{run.name}_{name}"))
            files.point(folder / "runs" / "latest", f"{run.name}_{name}")
        yield folder


@pytest.fixture
def past(made: Path, folder: Path) -> Path:
    """A copy of these runs, of their cache and of the store, as the working folder."""
    for name in ("runs", ".tapeline", "store"):
        shutil.copytree(made / name, folder / name, symlinks=True)
    shutil.copy(made / "closes.parquet", folder)
    return folder


def run(folder: Path, letter: str) -> Path:
    (found,) = folder.glob(f"runs/*_{letter}")
    return found


def names(folder: Path) -> str:
    """The letters of the runs that are there."""
    return "".join(sorted(path.name[-1] for path in folder.glob("runs/2*")))


def entries(folder: Path) -> set[Path]:
    return {path.parent for path in folder.glob(".tapeline/cache/*/*/entry.json")}


def used(path: Path) -> set[Path]:
    return {Path.cwd() / ".tapeline" / "cache" / name for name in cache.named(path)}


def aged(path: Path, seconds: float = 3600) -> Path:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))
    return path


def test_runs_are_listed_the_newest_first(tapeline: Tapeline, past: Path) -> None:
    out = tapeline("runs")[1]
    head, *lines = out.splitlines()
    assert head.split() == ["run", "state", "score", "interval", "time"]
    assert max(map(len, out.splitlines())) <= 80
    rows = [line for line in lines if not line.startswith(" ")]
    test = json.loads((run(past, "b") / "metrics.json").read_text())["test"]["overall"]
    shown = "{low:.3g} to {high:.3g}".format(**test["intervals"]["accuracy"])
    assert f"{test['accuracy']:.4f} {shown}" in " ".join(rows[2].split())
    assert [row.split()[0][-1] + " live " * (" live " in row) for row in rows] == ["d live ", "c live ", "b", "a"]
    notes = " ".join(" ".join(lines[lines.index(rows[2]) + 1 : lines.index(rows[3])]).split())
    assert notes.startswith("accuracy on 288 test rows; simulated; version 2; model=flat model.steps=40")


def test_what_is_broken_has_a_row_and_the_reason(tapeline: Tapeline, past: Path) -> None:
    (past / "runs" / "20200101-000000_killed_e").mkdir()
    aged(past / "runs" / "20200101-000000_killed_e")
    (past / "runs" / "notes").mkdir()
    (run(past, "a") / "metrics.json").write_text('{"test": [], "gate": 1')
    (run(past, "b") / "run.json").write_text("[]")
    metrics = json.loads((run(past, "d") / "metrics.json").read_text())
    metrics["test"]["overall"]["intervals"] = "wide"
    (run(past, "d") / "metrics.json").write_text(json.dumps(metrics))
    code, out, err = tapeline("runs")
    assert (code, err) == (0, "")
    rows, last = dict[str, str](), ""
    for line in out.splitlines()[1:]:
        last = last if line.startswith(" ") else line.split()[0][-1]
        rows[last] = " ".join([rows.get(last, ""), *line.split()])
    assert len(rows) == 5
    assert rows["e"].endswith("stopped")
    assert "damaged: metrics.json cannot be read" in rows["a"]
    assert "accuracy on 288 test rows" in rows["b"]
    assert "damaged: run.json cannot be read" in rows["b"]
    assert "notes" not in out
    assert " latest; " in rows["d"]
    assert rows["d"].endswith("damaged: metrics.json cannot be read")


@pytest.mark.pictures
def test_two_runs_that_differ_in_a_key_show_it_and_the_change_with_its_interval(tapeline: Tapeline, past: Path) -> None:
    code, out, err = tapeline("runs", "compare=flat_a,flat_b")
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    start = lines.index("configuration a b")
    assert lines[start + 1 : start + 3] == ["model.steps 40 400", ""]
    first, second = (json.loads((run(past, each) / "metrics.json").read_text())["test"]["overall"] for each in "ab")
    at = next(number for number, line in enumerate(lines) if line.startswith("auc a"))
    moved = second["auc"] - first["auc"]
    assert lines[at + 1].startswith(f"b {second['auc']:.6f} {moved:+.6f} ")
    low, high = lines[at + 1].split()[3], lines[at + 1].split()[5]
    assert float(low) <= moved <= float(high)
    assert "paired, Newcombe's method 10" in out
    page = Path(out.splitlines()[-1].removeprefix("with curves: ")).read_text()
    assert "model.steps" in page
    assert f"{moved:+.6f}" in page
    assert page.count('<svg class="plot"') == 1
    assert "Simulated data" in page


def test_other_test_rows_are_compared_as_such_and_three_runs_at_once(tapeline: Tapeline, past: Path) -> None:
    code, out, _ = tapeline("runs", f"compare={run(past, 'a')},_b,latest,_c")
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    accuracy = next(number for number, line in enumerate(lines) if line.startswith("accuracy a"))
    methods = [line.rpartition(" chance ")[2] for line in lines[accuracy + 1 : accuracy + 4]]
    assert [method.split(",")[0] for method in methods] == ["paired", "paired", "unpaired"]
    assert "split.train 0.8 0.8 0.8 0.7" in lines
    assert "dataset.path null null closes.parquet null" in lines


@pytest.mark.parametrize(
    ("words", "says"),
    {
        "one run": (["compare=_a"], "has 1 runs; give 2 to 8"),
        "no such run": (["compare=_a,nope"], "compare=nope: no run in runs has this in its name"),
        "nearly latest": (["compare=_a,latset"], "did you mean latest?"),
        "several": (["compare=_a,flat"], "compare=flat: matches 4 runs ("),
        "nothing": (["compare=_a,"], "compare=: no run in runs"),
        "two things": (["compare=_a", "keep=3"], "give one of: query, compare, predictions, repeat"),
        "yes to nothing": (["yes=true"], "give one of: query, compare, predictions, repeat"),
        "no number": (["keep=ten"], "keep=ten: is not a number of runs; write keep=10"),
        "no age": (["older=30"], "older=30: is not an age"),
        "no key": (["kep=3"], "did you mean keep?"),
        "a key that is not read": (["model=flat"], "has no effect without repeat"),
        "repeat with an experiment": (["repeat=_a", "experiment=snp_flat"], "sets keys of all sections"),
        "repeat with a typo": (["repeat=_a", "model.stepz=3"], "model.stepz: unknown key; did you mean steps?"),
        "repeat with a bad value": (
            ["repeat=_a", "gate.threshold=70"],
            "gate.threshold=70: accuracy is never above it",
        ),
    }.values(),
)
def test_what_cannot_be_done_is_refused(tapeline: Tapeline, past: Path, words: list[str], says: str) -> None:
    before = sorted(past.rglob("*"))
    code, _, err = tapeline("runs", *words)
    assert (code, len(err.splitlines())) == (2, 1)
    assert says in err
    assert sorted(past.rglob("*")) == before


class Scripts(HTMLParser):
    """Counts scripts, and keeps the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_names_show_as_text(tapeline: Tapeline, past: Path) -> None:
    hostile = past / "runs" / ("20260101-000000_" + HOSTILE.replace("/", "_")[:200] + "\x1b[31m")
    run(past, "d").rename(hostile)
    code, out, err = tapeline("runs", "compare=_a,20260101")
    assert (code, err) == (0, "")
    assert HOSTILE in out
    assert "\x1b" not in out
    assert "\\x1b[31m" in out
    assert "\x1b" not in tapeline("runs")[1]
    page = Scripts(Path(out.splitlines()[-1].removeprefix("with curves: ")).read_text())
    assert page.tags.count("script") == 1
    assert HOSTILE in page.text
    assert HOSTILE.replace("/", "_")[:200] in page.text


def test_a_run_repeated_comes_out_the_same(tapeline: Tapeline, past: Path) -> None:
    store = (past / "store" / "models.config").read_bytes()
    code, out, _ = tapeline("runs", "repeat=_a")
    assert code == 0
    assert f"metrics.json is the same as that of {run(past, 'a').name}, byte for byte" in out
    assert "train, export, evaluate, report came from the cache" in out
    code, out, _ = tapeline("runs", "repeat=_a", "target.cache=fresh")
    assert out.splitlines()[-1] == f"metrics.json is the same as that of {run(past, 'a').name}, byte for byte"
    assert (past / "store" / "models.config").read_bytes() == store


def test_a_run_repeated_with_overrides_says_which_keys_differ(tapeline: Tapeline, past: Path) -> None:
    code, out, _ = tapeline("runs", "repeat=_a", "seed=7", "model.steps=60")
    assert code == 0
    shown = out[out.index("metrics.json differs from that of") :]
    assert "\n  config.seed: 0 -> 7\n" in shown
    assert "\n  config.model.steps: 40 -> 60\n" in shown
    assert "data.digest" not in shown
    config = json.loads((past / "runs" / "latest" / "metrics.json").read_text())["config"]
    assert (config["seed"], config["model"]["report_every"]) == (7, 20)


def test_a_group_replaces_its_section_and_the_served_name_follows_the_data(tapeline: Tapeline, past: Path) -> None:
    overrides = ["model=lightgbm", "model.steps=5", "dataset.source=parquet", "dataset.path=closes.parquet"]
    columns = "dataset.columns={dax: '" + HOSTILE.replace("'", "\\'") + "'}"
    assert tapeline("runs", "repeat=_a", *overrides, columns)[0] == 0
    config = json.loads((past / "runs" / "latest" / "metrics.json").read_text())["config"]
    assert (config["model"]["family"], config["model"]["num_leaves"]) == ("lightgbm", 15)
    assert config["serving"]["name"] == "indices"


def test_nothing_is_removed_before_yes(tapeline: Tapeline, past: Path) -> None:
    before = sorted(past.rglob("*"))
    code, out, _ = tapeline("runs", "keep=1")
    assert code == 0
    assert "would go: 3 of 4 runs" in out
    assert out.splitlines()[-1] == "nothing is removed yet: add yes=true"
    assert sorted(past.rglob("*")) == before


def test_what_only_the_removed_runs_had_of_the_cache_goes_with_them(tapeline: Tapeline, past: Path) -> None:
    staying = used(run(past, "a")) | used(run(past, "c")) | used(run(past, "d"))
    only = used(run(past, "b")) - staying
    assert len(only) == 4
    _, out, _ = tapeline("runs", "remove=_b", "yes=true")
    assert names(past) == "acd"
    assert "removed: 1 of 4 runs, and 4 steps in the cache that no other run uses" in out
    assert entries(past) == staying
    assert not list(past.rglob("*.partial"))
    whole(past)
    assert tapeline("runs", "compare=_a,_c")[0] == 0


def test_the_latest_stays_unless_it_is_named(tapeline: Tapeline, past: Path) -> None:
    assert tapeline("runs", "keep=0", "yes=true")[0] == 0
    assert names(past) == "d"
    assert entries(past) == used(run(past, "d"))
    assert tapeline("runs", "remove=latest", "yes=true")[0] == 0
    assert names(past) == ""
    assert not (past / "runs" / "latest").is_symlink()
    assert entries(past) == set()


def test_latest_names_the_newest_that_is_left(tapeline: Tapeline, past: Path) -> None:
    assert tapeline("runs", "remove=latest", "yes=true")[0] == 0
    assert (past / "runs" / "latest").resolve() == run(past, "c").resolve()


def test_age_and_number_both_keep(tapeline: Tapeline, past: Path) -> None:
    for letter, days in (("a", 40), ("b", 20), ("c", 40)):
        path = run(past, letter) / "run.json"
        record = json.loads(path.read_text())
        record["started"] = record["started"].replace(record["started"][:4], str(int(record["started"][:4]) - days))
        path.write_text(json.dumps(record))
    assert "would go: 0 of 4" in tapeline("runs", "older=30d", "keep=4")[1]
    assert "would go: 3 of 4" in tapeline("runs", "older=30d")[1]
    assert "would go: 2 of 4" in tapeline("runs", "older=30d", "keep=2")[1]
    assert "would go: 0 of 4" in tapeline("runs", "older=99999w")[1]


def test_runs_in_another_folder_keep_what_they_have(tapeline: Tapeline, past: Path) -> None:
    assert tapeline("run", *SMALL, "model.steps=400", "target.runs=elsewhere", "publish=false")[0] == 0
    assert tapeline("runs", "remove=_b", "yes=true")[0] == 0
    latest = past / "elsewhere" / "latest"
    assert used(latest) <= entries(past)


def test_what_no_run_has_goes_when_nobody_wanted_it_for_a_day(tapeline: Tapeline, past: Path) -> None:
    shutil.rmtree(run(past, "b"))
    assert "0 steps in the cache" in tapeline("runs", "keep=9")[1]
    for entry in entries(past):
        aged(entry, 100_000)
    assert "4 steps in the cache" in tapeline("runs", "keep=9", "yes=true")[1]
    assert names(past) == "acd"
    whole(past)


def test_a_run_at_work_is_left_alone(tapeline: Tapeline, past: Path) -> None:
    killed = run(past, "a")
    files.write_json(killed / "run.json", {**files.read_json(killed / "run.json"), "state": "running"})
    with files.owned(killed):
        assert "running" in tapeline("runs")[1]
        code, _, err = tapeline("runs", "remove=_a", "yes=true")
        assert code == 2
        assert "a process is running it" in err
        assert tapeline("runs", "keep=0", "yes=true")[0] == 0
        assert names(past) == "ad"
        assert used(killed) <= entries(past)
    assert "stopped" in tapeline("runs")[1]
    assert tapeline("runs", "keep=0", "yes=true")[0] == 0
    assert names(past) == "d"


@pytest.mark.long
def test_runs_go_on_while_others_are_removed(tapeline: Tapeline, past: Path) -> None:
    script = (
        "import pathlib; from tapeline.cli.main import main; from tapeline.steps import report\n"
        "report.page = lambda *_: '<p>a report'\n"
        f"while not pathlib.Path('enough').exists(): assert main(['run', *{SMALL}, 'publish=false']) == 0"
    )
    running = subprocess.Popen([sys.executable, "-c", script], cwd=past, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    removed = 0
    while removed < 3 and running.poll() is None:
        code, out, err = tapeline("runs", "keep=0", "yes=true")
        assert (code, err) == (0, "")
        removed += "removed: 0" not in out
        time.sleep(0.2)
    (past / "enough").touch()
    _, said = running.communicate()
    assert (running.returncode, said.decode(), removed) == (0, "", 3)
    assert all(path.exists() for path in (past / "runs" / "latest").iterdir())
    whole(past)
