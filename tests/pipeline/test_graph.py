"""The table of steps, and what a configuration makes of it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tapeline import lookup
from tapeline.pipeline.execution import view
from tapeline.pipeline.graph import METRICS, STEPS, TABLE, Artifact, Step, artifacts, pipeline, shaping, until
from tests.conftest import ROOT


@pytest.mark.parametrize("each", STEPS, ids=lambda each: each.name)
def test_a_program_takes_what_its_declaration_says(each: Step) -> None:
    signature = inspect.signature(each.program())
    store = ["store"] if each.store != "none" else []
    work = ["work"] if each.resumes else []
    made = ["partition", "part"] if each.map_over else [artifact.name for artifact in each.makes]
    expected = ["config", *each.inputs, *made, *store, *work]
    assert sorted(signature.parameters) == sorted(expected)
    assert signature.parameters["config"].annotation == "Reads"
    assert hasattr(each.module(), "seen") == (each.world == "watched")


@pytest.mark.parametrize("each", STEPS, ids=lambda each: each.name)
def test_a_program_sees_what_it_declares_and_nothing_else(each: Step) -> None:
    config = lookup.configure([])
    seen = view(config, each.view)
    assert isinstance(seen, each.view)
    for path in each.reads:
        value: object = seen
        whole: object = config
        for part in path.split("."):
            value, whole = getattr(value, part), getattr(whole, part)
        assert value is whole
    for section in {"model", "gate", "target"} - {path.partition(".")[0] for path in each.reads}:
        assert not hasattr(seen, section)


def test_single_keys_are_read_by_nested_dataclasses() -> None:
    train = next(each for each in STEPS if each.trains)
    assert {"model", "split", "seed", "hw.threads", "hw.accelerator"} <= set(train.reads)
    assert not hasattr(view(lookup.configure([]), train.view).hw, "image")


BEST, STUDY = Artifact("best", "best.json"), Artifact("study", "study.json")
TOY = (
    Step("first", takes=(), makes=(Artifact("raw", "raw.parquet"),)),
    Step("tune", takes=("raw",), makes=(BEST, STUDY), only_with="tune"),
    Step("last", takes=("raw", "best?"), makes=(Artifact("fitted", "fitted"),)),
)


def test_a_step_without_its_section_is_absent_and_its_artifacts_are_taken_by_none() -> None:
    steps = pipeline(lookup.configure(["tune=none"]), TOY)
    assert [each.name for each in steps] == ["first", "last"]
    assert steps[-1].takes == ("raw",)


def test_a_step_with_its_section_is_there_and_its_artifacts_are_taken() -> None:
    steps = pipeline(lookup.configure(["tune=optuna"]), TOY)
    assert [each.name for each in steps] == ["first", "tune", "last"]
    assert (steps[-1].inputs, steps[-1].needs) == (("raw", "best"), ("raw",))
    assert shaping(TOY) == {"tune"}


def test_an_artifact_that_a_step_needs_is_not_dropped_where_no_step_makes_it() -> None:
    """The rules of checks then name it."""
    broken = [replace(TOY[0], takes=("nothing",))]
    assert pipeline(lookup.configure([]), broken)[0].takes == ("nothing",)


def test_the_steps_that_an_artifact_needs() -> None:
    steps = pipeline(lookup.configure([]))
    assert artifacts(until(TABLE, steps))[TABLE.name] == TABLE
    needed = until(METRICS, steps)
    assert needed == steps[: steps.index(needed[-1]) + 1]
    assert all(set(each.needs) <= artifacts(until(METRICS, steps)).keys() for each in needed)


ROOMS = ("cli", "commands", "checks", "clusters", "pipeline")
MEANS_ELSE = {
    # sections of metrics.json and of the configuration, commands, keys of records
    "gate": "a section of the configuration, and of metrics.json",
    "train": "a section of metrics.json",
    "tune": "a section of the configuration, and of metrics.json",
    "publish": "a command, and an option of run",
    "accepted": "a key of metrics.json, and a word for its value",
    "features": "a key of a servable's description",
    "report": "a line's label",
    "examples": "examples of a command",
}
RECORDS = {
    ("commands/sweep/sweep.py", "metrics"): "a job's record",
    ("commands/sweep/leaderboard.py", "metrics"): "a job's record",
    ("commands/runs/list.py", "published"): "run.json",
    ("pipeline/run_locally.py", "published"): "run.json",
    ("pipeline/mlflow_runs.py", "published"): "run.json",
    ("checks/api.py", "metrics"): "a key of a HorizontalPodAutoscaler",
    ("commands/runs/__init__.py", "predictions"): "an option",
    ("commands/versions.py", "published"): "run.json, and a column",
    ("pipeline/stamp.py", "predictions"): "an option of runs",
    ("checks/argo.py", "raw"): "a key of Argo's artifacts",
    ("clusters/argo/sweep.py", "raw"): "a key of Argo's artifacts",
    ("commands/sweep_pod/program.py", "metrics"): "a key of a job's record",
    ("commands/summary.py", "metrics"): "an option",
    ("commands/predict/rows.py", "partitions"): "a note of a table's manifest",
}
"""Literals that look like the name of an artifact, and what they are."""


def _literals(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_other_module_contains_the_name_of_a_step_or_an_artifact() -> None:
    made = artifacts(STEPS).values()
    names = {each.name for each in STEPS} | {each.name for each in made} | {each.file for each in made}
    names |= {name for each in STEPS for name in each.parameters}
    package = ROOT / "src" / "tapeline"
    found = {
        (path.relative_to(package).as_posix(), literal)
        for room in ROOMS
        for path in (package / room).rglob("*.py")
        for literal in _literals(path)
        if literal in names - MEANS_ELSE.keys()
    }
    assert {each for each in found if each[0] != "pipeline/graph.py"} - RECORDS.keys() == set()
    assert ("pipeline/graph.py", "scores.json") in found
