"""tune.workers on clusters: pods of Argo that share a study with the step itself; elsewhere it is refused."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
import yaml

from tapeline import lookup
from tapeline.checks.emitted import emitted
from tapeline.clusters import emit as build
from tapeline.clusters.plan import plan
from tapeline.clusters.sweep import sweep
from tapeline.errors import Refused
from tapeline.pipeline.graph import pipeline
from tests.clusters.emitting import lines

STUDY = ("model=lightgbm", "tune=optuna", "tune.storage=postgresql://me@study-database/studies")
PASSWORD = ("tune.password_env=STUDY_PASSWORD", "target.data_secret=study-database")
ALONE, THREE = (("target=argo", *STUDY, *PASSWORD, f"tune.workers={number}") for number in (1, 3))


@cache
def texts(*typed: str) -> dict[str, str]:
    return build.emit(lookup.configure(typed), typed)


def spec(*typed: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(next(iter(texts(*typed).values())))["spec"]
    return found


def templates(*typed: str) -> dict[str, Any]:
    return {each["name"]: each for each in spec(*typed)["templates"]}


def nodes(*typed: str) -> dict[str, Any]:
    return {each["name"]: each for each in templates(*typed)["graph"]["dag"]["tasks"]}


def shared() -> str:
    """The step that several pods share."""
    (step,) = [each for each in pipeline(lookup.configure(THREE)) if each.workers and not each.joint]
    return step.name


def test_every_rule_about_emitted_files_holds() -> None:
    assert [str(each) for each in emitted(texts(*THREE))] == []
    assert lines(*THREE) == []


def test_beside_the_step_there_is_a_task_with_the_other_workers() -> None:
    name = f"{shared()}-workers"
    assert set(nodes(*THREE)) - set(nodes(*ALONE)) == {name}
    step, others = nodes(*THREE)[shared()], nodes(*THREE)[name]
    assert {**others, "name": shared(), "template": shared()} == step
    (each,) = templates(*THREE)[others["template"]]["dag"]["tasks"]
    assert each["withSequence"] == {"count": "2"}
    given = {kind: {one["name"] for one in step["arguments"][kind]} for kind in ("artifacts", "parameters")}
    for kind, names in given.items():
        assert {one["name"] for one in each["arguments"][kind]} == names
        assert {one["name"] for one in templates(*THREE)[each["template"]]["inputs"][kind]} == names


def test_a_worker_that_ends_badly_fails_nothing_and_nothing_waits_for_it() -> None:
    name = f"{shared()}-workers"
    graph = templates(*THREE)[name]["dag"]["tasks"]
    assert all(each["continueOn"] == {"failed": True, "error": True} for each in graph)
    assert not any("depends" in each for each in graph), "Argo refuses continueOn beside depends"
    assert not any("continueOn" in each for each in nodes(*THREE).values())
    assert not [each["name"] for each in nodes(*THREE).values() if name in json.dumps(each) and each["name"] != name]


def test_a_worker_is_the_steps_pod_without_outputs() -> None:
    step, other = (templates(*THREE)[name] for name in (shared(), f"{shared()}-worker"))
    assert step["outputs"]["artifacts"]
    assert "outputs" not in other
    words = step["container"]["args"]
    assert other["container"]["args"] == words[: words.index("--out")]
    same = [key for key in step if key not in ("name", "outputs", "container", "metadata")]
    assert {key: other[key] for key in same} == {key: step[key] for key in same}
    assert {"inputs", "retryStrategy", "volumes"} <= set(same)
    own = {key: value for key, value in step["container"].items() if key != "args"}
    assert {key: value for key, value in other["container"].items() if key != "args"} == own
    assert "STUDY_PASSWORD" in [each["name"] for each in own["env"]]


def test_workers_with_a_card_wait_for_their_turn_as_the_step_does() -> None:
    step, other = (templates(*THREE, "hw=gpu-t4")[name] for name in (shared(), f"{shared()}-worker"))
    assert other["synchronization"] == step["synchronization"]
    assert other["nodeSelector"] == step["nodeSelector"]


def test_one_worker_is_what_there_was_without_the_key() -> None:
    (plain, *_), (alone, *_) = (list(texts(*typed).values()) for typed in (ALONE[:-1], ALONE))
    assert [each for each in alone.splitlines()[1:] if "tune.workers=1" not in each] == plain.splitlines()[1:]


def test_the_number_is_no_part_of_what_pods_are_built_with() -> None:
    def built(typed: tuple[str, ...]) -> dict[str, str]:
        return {task.name: task.built for task in plan(lookup.configure(typed), typed, fused=False).tasks}

    assert built(ALONE) == built(THREE)
    assert built(ALONE) != built((*ALONE, "tune.trials=3"))


@pytest.mark.parametrize(
    ("typed", "fix"),
    [
        (("target=argo", "target.granularity=fused"), "target.granularity=step"),
        (("target=kfp",), "target=argo"),
        (("target=kfp", "target.granularity=fused"), "target=argo"),
        (("target=tfjob",), "target=argo"),
        (("target=argo", "tune.storage=null"), "tune.storage=postgresql://"),
        (("target=argo", "tune.storage=sqlite:////tmp/study.db"), "tune.storage=postgresql://"),
    ],
    ids=str,
)
def test_where_the_workers_would_be_lost_it_is_refused(typed: tuple[str, ...], fix: str) -> None:
    (line,) = lines(*STUDY, "tune.workers=2", *typed)
    where, _, said = line.partition("; ")
    assert where.startswith(("tune.workers=2: ", "tune.storage=sqlite: "))
    assert fix in said
    assert not [each for each in lines(*STUDY, *typed) if "tune.workers" in each]


def test_a_sweeps_job_is_one_pod() -> None:
    typed = ("target=argo", "target.cache=s3://cache/prices", *STUDY)
    assert sweep([(typed, lookup.configure(typed))]).jobs
    more = (*typed, "tune.workers=2")
    with pytest.raises(Refused, match=r"tune\.workers=2: .*sweep.*; set tune\.workers=1"):
        sweep([(more, lookup.configure(more))])
