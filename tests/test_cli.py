"""What people type: every mistake ends in one sentence and exit code 2, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import yaml

from tapeline import files
from tapeline.cli import main as cli
from tapeline.datasets.indices.simulation import simulate
from tapeline.errors import Refused
from tests.conftest import Tapeline, little_room, subprocess_tapeline

WRONG = {
    "no such command": (["rnu"], "rnu: unknown command; did you mean run?"),
    "misspelt group": (["run", "modle=deep"], "modle: unknown key; did you mean model?"),
    "misspelt key": (["run", "model.stepz=1"], "model.stepz: unknown key; did you mean steps?"),
    "misspelt key with +": (["run", "+model.stpes=3"], "model.stpes: unknown key; did you mean steps?"),
    "misspelt key with ++": (["run", "++gate.treshold=3"], "gate.treshold: unknown key; did you mean threshold?"),
    "misspelt option": (["run", "model=dep"], "model=dep: model has no option dep; choose one of:"),
    "misspelt experiment": (["run", "experiment=snp"], "experiment=snp: experiment has no option snp"),
    "no key=value": (["run", "deep"], "deep: is not a key=value; write it as in model=deep"),
    "a sweep": (["run", "model=choice(flat,deep)"], "several values make a sweep, not a run"),
    "not Hydra's grammar": (["run", "dataset.path=it's"], "dataset.path=it's: Hydra cannot read this override"),
    "Hydra's own keys": (["run", "hydra.run.dir=x"], "hydra.run.dir=x: Hydra's own keys have no effect"),
    "no such interpolation": (["run", "seed=${nope}"], "Interpolation key 'nope' not found"),
    "a section taken away": (["run", "~gate"], "gate: the section is missing; choose one of: accuracy"),
    "a float for a whole number": (["run", "model.steps=1e3"], "model.steps=1000.0: must be a valid integer"),
    "below its range": (["run", "model.steps=0"], "model.steps=0: must be greater than or equal to 1"),
    "NaN": (["run", "model.learning_rate=nan"], "model.learning_rate=nan: must be a finite number"),
    "a bad own key": (["run", "why=maybe"], "why=maybe: is not a value of this option; choose one of: true, false"),
    "an option twice": (["run", "why=true", "why=false"], "why=false: why has two values"),
    "a misspelt option of the command": (["run", "pubish=false"], "unknown option of run; did you mean publish?"),
    "a flag": (["run", "--why=true"], "--why=true: options are key=value; did you mean why?"),
    "a key that is not read": (["versions", "model=flat"], "model=flat: versions does not read model; remove it"),
    "an option where none is": (["check", "chek=1"], "chek=1: unknown option of check"),
    "help for no command": (["help", "rnu"], "rnu: unknown command; did you mean run?"),
    "help behind no command": (["rnu", "--help"], "rnu: unknown command; did you mean run?"),
    "threshold out of range": (["run", "gate.threshold=70"], "gate.threshold=70: accuracy is never above it"),
    "metric of another task": (["run", "gate.metric=rmse"], "gate.metric=rmse: is not a metric of this dataset"),
    "margin without a baseline": (["run", "gate.metric=auc", "gate.baseline_margin=0"], "baselines have no auc"),
    "no such module": (["run", "dataset.name=0.5"], "dataset.name=0.5: conf/dataset has no file of that name"),
    "no family": (["run", "model.family=network"], "model.family=network: conf/model has no file of that name"),
    "no group": (["run", "+hw=null"], "correct the override or the file"),
    "no such moment": (["run", "dataset.as_of=9 am"], "must be a time and a zone"),
    "no such zone": (["run", "dataset.as_of=09:00 Europe/Lundon"], "there is no zone Europe/Lundon"),
    "no such hour": (["run", "dataset.as_of=25:00 Europe/London"], "25:00 or Europe/London is unknown"),
    "no such source": (["run", "dataset.source=cvs"], "dataset.source=cvs: unknown source; choose one of"),
    "no path": (["run", "dataset.source=csv"], "dataset.path: dataset.source=csv needs it"),
    "a path without its source": (["run", "dataset.path=a.csv"], "since dataset.source=simulated"),
    "a name that is not a folder": (["run", "serving.name=../x"], "serving.name='../x'"),
    "no code for the card": (["run", "hw=gpu", "hw.tensorflow=2.20.0"], "does not support nvidia-tesla-k80"),
    "a trainer later than servers": (["run", "hw.tensorflow=2.21.0"], "is later than TensorFlow 2.20 of the servers"),
    "nothing to test": (["run", "split.train=0.0001"], "leaves none to one side"),
    "missing file": (["run", "dataset.source=csv", "dataset.path=a.csv"], "dataset.path=a.csv: no such file"),
    "a folder": (["run", "dataset.source=csv", "dataset.path=."], "dataset.path=.: is a folder"),
    "no such URL": (["run", "dataset.source=csv", "dataset.path=nope://a/b.csv"], "cannot be read"),
    "no such step": (["step", "trian"], "step trian: there is no such step; choose one of:"),
    "a build for no cluster": (["build"], "target=local: is not a cluster; choose target=argo"),
    "pods and a file of a laptop": (
        ["build", "target=kfp", "dataset.source=csv", "dataset.path=a.csv"], "=a.csv: pods cannot read this"),
    "a step without its files": (["step", "features", "--out", "table=t"], "--in raw: features needs it; add --in"),
    "a cache below a file": (["run", "target.cache=/dev/null/x"], "a part of this path is a file"),
    "runs nowhere": (["run", "target.runs=/proc/x/y"], "does not exist and cannot be created"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_mistake_ends_in_one_sentence(tapeline: Tapeline, folder: Path, arguments: list[str], says: str) -> None:
    code, _, err = tapeline(*arguments)
    assert code == 2
    assert says in err
    assert len(err.splitlines()) == 1
    assert err.startswith("tapeline: ")
    assert ": " in err
    assert "; " in err
    assert left_behind(folder) == []


def left_behind(folder: Path) -> list[Path]:
    """Files that are neither the test's own nor of a step that finished."""
    cache = folder / ".tapeline" / "cache"
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("closes.")]
    return [path for path in files if not path.is_relative_to(cache) or ".partial" in str(path)]


def test_all_mistakes_are_reported_at_once(tapeline: Tapeline) -> None:
    code, _, err = tapeline("run", "model.stepz=1", "seed=-1", "gate.threshold=x", "dataset.seeds=2", "nope=1")
    assert code == 2
    assert len(err.splitlines()) == 5


def test_mistakes_of_all_kinds_are_reported_at_once(tapeline: Tapeline) -> None:
    code, out, err = tapeline("run", "model.stepz=5", "gate.threshold=70", "pubish=false", "foo")
    assert (code, out) == (2, "")
    assert [line.split(":")[1] for line in err.splitlines()] == [
        " pubish=false", " foo", " model.stepz", " gate.threshold=70",
    ]  # fmt: skip
    for first, second in (("model=dep", "split.trian=1"), ("hw.threads=0", "gate.threshold=70")):
        code, _, err = tapeline("run", first, second)
        assert (code, len(err.splitlines())) == (2, 2)


def test_a_mistake_that_decides_about_others_is_reported_alone(tapeline: Tapeline) -> None:
    """A rule about the path would be wrong where only the source is misspelt."""
    for line in (["dataset.source=cvs", "dataset.path=a.csv"], ["dataset=indizes", "gate.metric=rmse"]):
        code, _, err = tapeline("run", *line)
        assert (code, len(err.splitlines())) == (2, 1)


def text_table() -> pl.DataFrame:
    return simulate(0).head(300).with_columns(pl.all().cast(pl.String))


def truncated(path: Path) -> None:
    simulate(0).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-500])


def with_price(value: str) -> Callable[[Path], None]:
    changed = pl.when(pl.int_range(300) == 8).then(pl.lit(value)).otherwise("dax")
    return lambda path: text_table().with_columns(dax=changed).write_csv(path)


def ambiguous(path: Path) -> None:
    days = simulate(0).filter(pl.col("date").dt.day() <= 12).head(200)
    days.with_columns(pl.col("date").dt.strftime("%d/%m/%Y")).write_csv(path)


def two_forms(path: Path) -> None:
    second = pl.col("date").str.to_date().dt.strftime("%d/%m/%Y")
    text_table().with_columns(pl.when(pl.int_range(300) < 150).then("date").otherwise(second)).write_csv(path)


def day_twice(path: Path) -> None:
    pl.concat([text_table(), text_table().head(1)]).write_csv(path)


def empty_market(path: Path) -> None:
    text_table().with_columns(dax=pl.lit("")).write_csv(path)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_text(""), "the file is empty"),
    "a header alone": (lambda path: text_table().head(0).write_csv(path), "has a header and no rows"),
    "not text": (lambda path: path.write_bytes(b"\xff\xfe\x00d\x00a"), "is not UTF-8 text"),
    "a web page": (lambda path: path.write_text("<html>\n<p>503"), "is an HTML page"),
    "uneven rows": (lambda path: path.write_text("date,snp\n2010-01-04,1,2,3\n"), "has 4 values, and the header has 2"),
    "text for a price": (with_price("n.a. yet"), "column dax, row 9: 'n.a. yet' is not a price"),
    "a negative price": (with_price("-1.5"), "column dax, row 9: '-1.5' is not a price above zero"),
    "ambiguous dates": (ambiguous, "the dates can be read as %d/%m/%Y and as %m/%d/%Y"),
    "two forms of dates": (two_forms, "is not a date written as"),
    "a day twice": (day_twice, "2010-01-04 is in rows 1 and 301"),
    "an empty market": (empty_market, "column dax: every value is missing"),
    "too few rows": (lambda path: text_table().head(20).write_csv(path), "days of snp, too few; use 60 or more"),
}  # fmt: skip


@pytest.mark.parametrize(("write", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_ends_in_one_sentence(
    tapeline: Tapeline, folder: Path, write: Callable[[Path], object], says: str
) -> None:
    write(folder / "closes.csv")
    code, _, err = tapeline("run", "dataset.source=csv", "dataset.path=closes.csv")
    assert code == 2
    assert err.startswith("tapeline: closes.csv")
    assert says in err
    assert len(err.splitlines()) == 1
    assert left_behind(folder) == []


def test_a_truncated_parquet_file_ends_in_one_sentence(tapeline: Tapeline, folder: Path) -> None:
    truncated(folder / "closes.parquet")
    code, _, err = tapeline("run", "dataset.source=parquet", "dataset.path=closes.parquet")
    assert (code, err) == (2, "tapeline: closes.parquet: is not a complete Parquet file; write or download it again\n")
    assert left_behind(folder) == []


def test_a_diverging_training_ends_in_one_sentence(tapeline: Tapeline, folder: Path) -> None:
    code, _, err = tapeline(
        "run", "model=flat", "model.steps=200", "model.report_every=100", "model.learning_rate=1e38"
    )
    assert code == 2
    assert "model.learning_rate=1e+38: the training diverged by step 100" in err
    assert not list(folder.glob("runs/*"))


def test_a_metric_that_is_not_defined_is_refused(tapeline: Tapeline, folder: Path) -> None:
    rising = simulate(0).filter(pl.col("snp").is_not_null())
    climb = pl.when(pl.int_range(len(rising)) > 1000).then(1000.0 + pl.int_range(len(rising))).otherwise("snp")
    rising.with_columns(snp=climb).write_csv(folder / "closes.csv")
    data = ["dataset.source=csv", "dataset.path=closes.csv"]
    code, _, err = tapeline(
        "run",
        "model=flat",
        "model.steps=10",
        "model.report_every=5",
        "gate.metric=auc",
        "gate.baseline_margin=null",
        *data,
    )
    assert code == 2
    assert "gate.metric=auc: is not defined on these test rows" in err


def test_a_lock_in_use_is_named(tapeline: Tapeline, folder: Path) -> None:
    small = [
        "model=flat",
        "model.steps=10",
        "model.report_every=5",
        "gate.threshold=0",
        "gate.baseline_margin=null",
        "serving.lock_seconds=0.1",
    ]
    with files.locked(folder / "store" / ".lock", seconds=0, what="the store"):
        code, _, err = tapeline("run", *small)
    assert code == 2
    assert "store/.lock: another process has held the lock of the store for 0.1 s" in err
    assert not list(folder.glob("store/*/*"))
    assert tapeline("run", *small)[0] == 0


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/sys").is_dir(), reason="needs a folder that root cannot write")
def test_an_unwritable_folder_is_named(tapeline: Tapeline) -> None:
    code, _, err = tapeline("run", "target.runs=/sys/runs")
    assert code == 2
    assert "/sys/runs" in err
    assert "choose another" in err


def test_a_full_disk_is_named(folder: Path) -> None:
    done = subprocess_tapeline("run", "model=flat", cwd=folder, **little_room(20_000))
    assert done.returncode == 2
    assert "the file would exceed the maximum file size; free some" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(folder.glob("runs/*/metrics.json"))


def test_only_pythons_that_tensorflow_has_packages_for() -> None:
    with pytest.raises(Refused, match=r"Python 3\.14: TensorFlow 2\.20 has no packages for it; use Python 3\.11"):
        cli.check_python((3, 14))
    with pytest.raises(Refused, match=r"Python 3\.10"):
        cli.check_python((3, 10))
    cli.check_python((3, 11))
    cli.check_python((3, 13))


def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    command = f"{sys.executable} -m tapeline config | true"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_config_prints_what_overrides_make(tapeline: Tapeline) -> None:
    code, out, _ = tapeline("config", "experiment=snp_flat", "model.steps=", "seed=3", "dataset.path=a b.csv")
    record = yaml.safe_load(out)
    assert code == 0
    assert record["experiment"] == "snp_flat"
    assert record["model"]["family"] == "flat"
    assert record["model"]["steps"] == 30000
    assert record["seed"] == 3
    assert record["dataset"]["path"] == "a b.csv"
    assert record["serving"]["name"] == "indices-simulated"
