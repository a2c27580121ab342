"""Runs on this machine: what is cached, what makes a step run again, and what a run leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tapeline import files, lookup
from tapeline.cli import main as cli
from tapeline.datasets.indices.simulation import simulate
from tapeline.pipeline import cache_key
from tapeline.pipeline.graph import pipeline
from tapeline.steps import train
from tests.conftest import ROOT, Ran, Tapeline, metrics, steps, subprocess_tapeline

SMALL = ["model=flat", "model.steps=40", "model.report_every=20", "gate.threshold=0", "gate.baseline_margin=null"]
GRAPH = pipeline(lookup.configure(SMALL))
CACHED = ["ingest", "features", "train", "export", "evaluate", "report"]


def test_a_second_run_computes_nothing_and_writes_nothing(tapeline: Tapeline, folder: Path, ran: Ran) -> None:
    ran(*SMALL)
    first = (folder / "runs" / "latest" / "metrics.json").read_bytes()
    assert set(steps(folder).values()) == {"ran"}
    store = {path: path.stat().st_mtime_ns for path in (folder / "store").rglob("*")}
    code, out, _ = tapeline("run", *SMALL)
    assert code == 0
    assert {name for name, how in steps(folder).items() if how == "cached"} == set(CACHED)
    assert "is live already; nothing was written" in out
    assert (folder / "runs" / "latest" / "metrics.json").read_bytes() == first
    assert {path: path.stat().st_mtime_ns for path in (folder / "store").rglob("*")} == store
    assert not list(folder.rglob("*.partial"))


def test_a_second_run_does_not_import_tensorflow(folder: Path, ran: Ran) -> None:
    ran(*SMALL)
    script = (
        "import sys; from tapeline.cli.main import main; "
        f"assert main(['run', *{SMALL}]) == 0; print('tensorflow' in sys.modules, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"


def test_what_a_change_runs_again_and_why(tapeline: Tapeline, folder: Path, ran: Ran) -> None:
    ran(*SMALL)
    code, out, _ = tapeline("run", *SMALL, "model.steps=60", "why=true")
    assert code == 0
    again = [name for name, how in steps(folder).items() if how == "ran"]
    assert again == ["train", "export", "evaluate", "gate", "report", "publish"]
    assert "train      runs because model.steps 40 -> 60\n" in out
    assert "export     runs because input fitted\n" in out
    assert tapeline("run", *SMALL, "hw.limits.memory=8Gi", "target.runs=elsewhere")[0] == 0
    shown = json.loads((folder / "elsewhere" / "latest" / "run.json").read_text())
    assert [each["step"] for each in shown["steps"] if each["how"] == "ran"] == ["gate", "report", "publish"]


def test_a_price_runs_all_again_and_a_touch_nothing(tapeline: Tapeline, folder: Path) -> None:
    path = folder / "closes.csv"
    frame = simulate(0)
    frame.write_csv(path)
    data = ["dataset.source=csv", "dataset.path=closes.csv"]
    assert tapeline("run", *SMALL, *data)[0] == 0
    os.utime(path)
    path.rename(folder / "moved.csv")
    assert tapeline("run", *SMALL, "dataset.source=csv", "dataset.path=moved.csv")[0] == 0
    assert [name for name, how in steps(folder).items() if how == "ran"] == ["gate", "publish"]
    changed = pl.when(pl.int_range(len(frame)) == 500).then(pl.col("dax") * 1.01).otherwise("dax")
    frame.with_columns(dax=changed).write_csv(path)
    code, out, _ = tapeline("run", *SMALL, *data, "why=true")
    assert code == 0
    assert [name for name, how in steps(folder).items() if how == "cached"] == []
    assert "ingest     runs because data outside\n" in out


@pytest.mark.parametrize(
    ("file", "matters"),
    [
        ("report/report.html", True),
        ("report/charts.py", True),
        ("steps/train.py", True),
        ("commands/sweep/leaderboard.html", False),
        ("cli/main.py", False),
        ("pipeline/run_locally.py", False),
    ],
)
def test_a_change_of_our_source_makes_steps_run_again_if_it_can_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, matters: bool
) -> None:
    package = tmp_path / "src" / "tapeline"
    shutil.copytree(ROOT / "src" / "tapeline", package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(cache_key, "__file__", str(package / "pipeline" / "cache_key.py"))
    config = lookup.configure(SMALL)
    report = next(step for step in pipeline(config) if step.name == "report")

    def parts() -> cache_key.Parts | None:
        cache_key.digest_of_source.cache_clear()
        return cache_key.parts(report, config, dict.fromkeys(report.inputs, "digest"))

    try:
        before = parts()
        with open(package / file, "a") as text:
            text.write("\n")
        assert (parts() != before) == matters
    finally:
        cache_key.digest_of_source.cache_clear()


def test_a_damaged_entry_of_the_cache_is_made_again(tapeline: Tapeline, folder: Path, ran: Ran) -> None:
    ran(*SMALL)
    (table,) = folder.glob(".tapeline/cache/features/*/table/all.parquet")
    table.chmod(0o644)
    table.write_bytes(table.read_bytes()[:-1] + b"x")
    first = (folder / "runs" / "latest" / "metrics.json").read_bytes()
    assert tapeline("run", *SMALL)[0] == 0
    assert steps(folder)["features"] == "ran"
    assert (folder / "runs" / "latest" / "metrics.json").read_bytes() == first


def test_what_a_run_leaves(folder: Path, ran: Ran) -> None:
    ran(*SMALL)
    latest = folder / "runs" / "latest"
    assert latest.is_symlink()
    made = [each for step in GRAPH for each in step.makes if each.kept is not None and not each.optional]
    kept = {each.kept or each.file for each in made}
    inside = {path.name: path for path in latest.iterdir() if "tfevents" not in path.name}
    assert set(inside) == {"config.yaml", "log.txt", "run.json", *kept}
    assert not [name for name, path in inside.items() if path.is_symlink()]
    shown = metrics(folder)
    assert list(shown) == [
        "schema", "ran", "config", "data", "trained", "tune", "train", "validation", "test", "baselines", "split",
        "gate", "champion", "model_version",
    ]  # fmt: skip
    assert shown["ran"] == {
        "experiment": None, "dataset": "indices", "task": "direction", "model": "flat", "hw": "cpu", "seed": 0,
    }  # fmt: skip
    assert shown["data"]["simulated"] is True
    assert str(folder) not in (latest / "metrics.json").read_text()
    run = json.loads((latest / "run.json").read_text())
    assert run["published"]["number"] == 1
    assert run["published"]["model_version"] == shown["model_version"]
    assert "step 40 of 40: accuracy" in (latest / "log.txt").read_text()


def test_runs_compare_in_tensorboard(folder: Path, ran: Ran) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    ran(*SMALL)
    events = EventAccumulator(str((folder / "runs" / "latest").resolve()))
    events.Reload()
    shown = metrics(folder)
    curve = [(each.step, each.value) for each in events.Scalars("train/score")]
    assert curve == [(point["step"], pytest.approx(point["score"])) for point in shown["train"]["trace"]]
    assert events.Scalars("test/accuracy")[0].value == pytest.approx(shown["test"]["overall"]["accuracy"])


def test_a_run_opens_without_the_cache_and_elsewhere(tapeline: Tapeline, folder: Path, ran: Ran) -> None:
    ran(*SMALL)
    shutil.rmtree(folder / ".tapeline")
    (run,) = folder.glob("runs/2*")
    shutil.copytree(run, folder / "elsewhere" / run.name)
    for place in (run, folder / "elsewhere" / run.name):
        assert "<html" in (place / "report.html").read_text()
        assert files.read_json(place / "scores.json")["test"] == files.read_json(place / "metrics.json")["test"]
        assert (place / "servable" / "saved_model.pb").is_file()
    shutil.rmtree(folder / "store")
    assert tapeline("publish")[0] == 0


def test_run_json_is_there_from_the_start_and_names_entries_before_they_exist(
    tapeline: Tapeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    def stopped(*_: object, **__: object) -> None:
        (record,) = folder.glob("runs/2*/run.json")
        seen.append(files.read_json(record))
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "run", stopped)
    assert tapeline("run", *SMALL)[0] == 130
    assert seen[0]["state"] == "running"
    assert [name.partition("/")[0] for name in seen[0]["entries"]] == ["ingest", "features", "train"]
    assert not list(folder.glob(".tapeline/cache/train/*/entry.json"))
    code, out, _ = tapeline("runs")
    assert (code, "stopped" in out) == (0, True)


def test_a_rejected_model_is_a_result(tapeline: Tapeline, folder: Path) -> None:
    code, out, _ = tapeline("run", *SMALL, "gate.threshold=0.99")
    assert code == 0
    assert steps(folder)["publish"] == "skipped"
    assert "is not above 0.99" in out
    assert not (folder / "store").exists()


def test_a_run_can_be_asked_not_to_publish(tapeline: Tapeline, folder: Path) -> None:
    assert tapeline("run", *SMALL, "publish=false")[0] == 0
    assert metrics(folder)["gate"]["accepted"] is True
    assert steps(folder)["publish"] == "skipped"
    assert not (folder / "store").exists()


def test_what_does_not_apply_here_is_said(tapeline: Tapeline) -> None:
    code, out, _ = tapeline("run", *SMALL, "hw=gpu")
    assert code == 0
    assert "local: node selector, toleration, requests and limits, the image with TensorFlow 2.14.1 do not apply" in out
    assert "hw=gpu: clouds withdrew this card on 2024-05-01" in out
    assert "finds no GPU: training runs on the CPU" in out


def test_a_gpu_that_is_required_and_missing_is_refused(tapeline: Tapeline) -> None:
    code, _, err = tapeline("run", *SMALL, "hw=gpu", "hw.required=true")
    assert code == 2
    assert "hw.required=true: TensorFlow" in err
    assert "finds no GPU, which needs NVIDIA's driver 450 to 470" in err


def test_steps_as_programs_give_the_same_bytes(tapeline: Tapeline, folder: Path, ran: Ran) -> None:
    ran(*SMALL)
    made: dict[str, str] = {}
    for step in GRAPH:
        arguments = ["step", step.name, *SMALL, "serving.store=other"]
        for name in step.inputs:
            arguments += ["--in" if name in step.needs else "--in-optional", f"{name}={made[name]}"]
        for artifact in step.makes:
            made[artifact.name] = f"alone/{artifact.file}"
            arguments += ["--out", f"{artifact.name}={made[artifact.name]}"]
        arguments += [word for name in step.parameters for word in ("--out", f"{name}={name}.txt")]
        if step.name == "train":
            done = subprocess_tapeline(*arguments, cwd=folder)
            assert (done.returncode, done.stderr) == (0, "")
        else:
            assert cli.main(arguments) == 0
    assert (folder / "accepted.txt").read_text() == "true"
    digests = json.loads((folder / "runs" / "latest" / "run.json").read_text())["digests"]
    kept = {name for name in digests if name not in ("published", "servable")}
    for made_ in (each for step in GRAPH for each in step.makes if each.name in kept):
        assert files.digest_path(folder / "alone" / made_.file) == digests[made_.name], made_.name
    assert (folder / "other" / "indices-simulated" / "1" / "saved_model.pb").is_file()


@pytest.mark.long
def test_steps_in_one_program_give_the_same_bytes(tapeline: Tapeline, folder: Path, ran: Ran) -> None:
    ran(*SMALL)
    these = [step for step in GRAPH if not step.when and step.name != "report"]
    arguments = ["step", ",".join(step.name for step in these), *SMALL, "serving.store=other"]
    for artifact in (made for step in these for made in step.makes):
        arguments += ["--out", f"{artifact.name}=alone/{artifact.file}"]
    done = subprocess_tapeline(*arguments, "--out", "accepted=accepted.txt", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "accepted.txt").read_text() == "true"
    assert (folder / "alone" / "metrics.json").read_bytes() == (
        folder / "runs" / "latest" / "metrics.json"
    ).read_bytes()


@pytest.mark.parametrize("name", ["experiment=snp_flat", "model=flat"])
def test_a_run_is_named_by_its_experiment_or_by_dataset_and_model(tapeline: Tapeline, folder: Path, name: str) -> None:
    assert tapeline("run", name, *SMALL[1:])[0] == 0
    ending = "snp_flat" if name.startswith("experiment") else "indices_flat"
    assert (folder / "runs" / "latest").resolve().name.endswith(ending)
