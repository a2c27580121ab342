"""Lists of versions and runs, and the names of runs that every command takes, on two small runs that were published."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tapeline import files
from tapeline.cli import main as cli
from tests.conftest import Tapeline

SMALL = ["model=flat", "model.report_every=10", "gate.threshold=0", "gate.baseline_margin=null"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two runs, published one after the other."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for steps in (10, 20):
            assert cli.main(["run", *SMALL, f"model.steps={steps}"]) == 0
        yield folder


@pytest.fixture
def past(made: Path, folder: Path) -> Path:
    for name in ("runs", ".tapeline", "store"):
        shutil.copytree(made / name, folder / name, symlinks=True)
    return folder


def test_versions_say_which_run_and_since_when(tapeline: Tapeline, past: Path) -> None:
    assert tapeline("rollback")[0] == 0
    code, out, err = tapeline("versions")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    name, head, first, second = out.splitlines()
    assert name == "indices-simulated"
    assert head.split() == ["published", "run", "accuracy", "live", "since"]
    names = sorted(path.name for path in (past / "runs").glob("2*"))
    assert [line.split()[2] for line in (first, second)] == names
    assert re.search(r"0\.\d{4}  +\d{4}-\d\d-\d\d \d\d:\d\d$", first)
    assert second.endswith("rolled back")
    details = tapeline("versions", "details=true")[1]
    assert "24 features: snp_log_return_1" in details
    assert max(map(len, details.splitlines())) <= 80


def test_a_part_of_its_name_names_a_run_in_every_command(tapeline: Tapeline, past: Path) -> None:
    first, last = sorted(path.name for path in (past / "runs").glob("2*"))
    part = next(first[start:] for start in range(len(first), -1, -1) if first[start:] not in last)
    assert tapeline("runs", f"compare={part},latest")[0] == 0
    assert tapeline("runs", f"predictions={part}")[1] == f"runs/{first}/predictions.csv\n"
    assert tapeline("canary", f"run={part}")[0] == 0
    assert tapeline("publish", f"run={part}")[0] == 0
    assert tapeline("runs", f"repeat={part}")[0] == 0
    others = [path.name for path in (past / "runs").glob("2*") if path.name != first]
    part = next(first[at:] for at in range(len(first), -1, -1) if not any(first[at:] in name for name in others))
    assert f"{first}  accepted" in tapeline("runs", f"remove={part}")[1]
    for line in (["runs", "compare=latst,latest"], ["publish", "run=latst"], ["canary", "run=latst"]):
        code, _, err = tapeline(*line)
        assert (code, "did you mean latest?" in err) == (2, True), line


def test_runs_are_whole_without_the_cache_and_elsewhere(tapeline: Tapeline, past: Path) -> None:
    shutil.rmtree(past / ".tapeline")
    shutil.copytree(past / "runs", past / "elsewhere", symlinks=True)
    for runs in ("runs", "elsewhere"):
        first, last = sorted(path.name for path in (past / runs).glob("2*"))
        code, out, _ = tapeline("runs", f"target.runs={runs}")
        assert (code, out.count("accuracy on 288 test rows")) == (0, 2)
        assert tapeline("runs", f"compare={first},{last}", f"target.runs={runs}")[0] == 0
        assert tapeline("runs", f"predictions={first}", f"target.runs={runs}")[0] == 0
        for name in ("report.html", "scores.json", "metrics.json", "predictions.parquet"):
            assert (past / runs / first / name).is_file()
            assert not (past / runs / first / name).is_symlink()


def test_a_query_filters(tapeline: Tapeline, past: Path) -> None:
    first, last = sorted(path.name for path in (past / "runs").glob("2*"))
    accuracy = files.read_json(past / "runs" / last / "metrics.json")["test"]["overall"]["accuracy"]

    def found(query: str) -> list[str]:
        code, out, _ = tapeline("runs", f"query={query}")
        assert code == 0
        return sorted(line.split()[0] for line in out.splitlines()[1:] if line.startswith("2") and "_" in line)

    assert found("model.steps=20") == [last]
    assert found(f"accuracy>{accuracy - 1e-9} accuracy<{accuracy + 1e-9} model.steps>15") == [last]
    assert found(f"model.steps<15 simulated=true seed=0 {first}") == [first]
    assert found("dataset.cutoff_year=null dataset.source=simulated") == [first, last]
    assert tapeline("runs", "query=nothing-like-that")[1] == "none of 2 runs fits\n"
    for query, says in (("acuracy>0.6", "did you mean accuracy?"), ("accuracy>high", "'high' is not a number")):
        code, _, err = tapeline("runs", f"query={query}")
        assert (code, len(err.splitlines())) == (2, 1)
        assert says in err


def test_predictions_as_csv(tapeline: Tapeline, past: Path) -> None:
    code, out, _ = tapeline("runs", "predictions=latest")
    assert (code, len(out.splitlines())) == (0, 1)
    frame = pl.read_csv(out.splitlines()[0], try_parse_dates=True)
    own = pl.read_parquet(past / "runs" / "latest" / "predictions.parquet")
    assert frame.columns == own.columns
    assert {"time", "move", "volatility", "target", "prediction", "baseline:majority"} <= set(frame.columns)
    assert frame["time"].to_list() == own["time"].to_list()
    assert frame["probability.1"].to_list() == pytest.approx(own["probability.1"].to_list(), abs=1e-12)


def test_an_empty_folder_says_so(tapeline: Tapeline) -> None:
    assert tapeline("runs") == (0, "runs has no runs yet; tapeline run makes one\n", "")
    assert tapeline("runs", "keep=3", "yes=true")[0] == 0
