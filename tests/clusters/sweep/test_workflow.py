"""The workflow of a sweep: its kinds of pods, what they know, and the rules for emitted YAML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tapeline import files
from tapeline.checks.emitted import emitted
from tapeline.clusters import sweep as sweeps
from tapeline.clusters.argo import sweep as argo
from tapeline.commands.sweep import jobs
from tapeline.errors import Refused
from tapeline.lookup import configure

CACHE = ("target=argo", "target.cache=s3://cache/x")


def laid_out(*typed: str) -> sweeps.Sweep:
    return sweeps.sweep([(each, configure(each)) for each in jobs.expanded([*CACHE, *typed])])


def templates(sweep: sweeps.Sweep) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in argo.workflow(sweep, {})["spec"]["templates"]}


@pytest.mark.parametrize("typed", [("model=flat,deep",), ("experiment=bitcoin_lightgbm", "seed=1,2"), ("tune=optuna",)])
def test_no_rule_finds_anything(typed: tuple[str, ...]) -> None:
    made = argo.workflow(laid_out(*typed), {"tapeline.dev/overrides": "[]"})
    assert list(map(str, emitted({"sweep.yaml": json.dumps(made)}))) == []


def test_each_distinct_data_configuration_is_made_once() -> None:
    sweep = laid_out("model=flat,deep,lightgbm", "dataset.cutoff_year=2010,2011", "seed=1,2")
    assert (len(sweep.definition.jobs), len(sweep.definition.data)) == (12, 2)
    assert {job.data for job in sweep.definition.jobs} == set(sweep.definition.data)
    [kind] = sweep.data
    assert templates(sweep)["graph"]["dag"]["tasks"][0]["withItems"] == list(kind.names)
    assert {each.steps for each in sweep.definition.data.values()} == {"ingest,features"}


def test_jobs_with_other_pods_have_a_template_of_their_own() -> None:
    sweep = laid_out("model=flat", "hw=cpu,gpu", "seed=1,2")
    made = templates(sweep)
    assert [len(kind.names) for kind in sweep.jobs] == [2, 2]
    assert "synchronization" not in made["jobs"]
    [lock] = made["jobs-2"]["synchronization"]["semaphores"]
    assert lock["configMapKeyRef"] == {"name": "gpu-limits", "key": "gpu"}
    tasks = {each["name"]: each for each in made["graph"]["dag"]["tasks"]}
    assert tasks["jobs-2"]["withParam"] == "{{tasks.find.outputs.parameters.jobs-2}}"
    assert "jobs-2.Failed" in tasks["leaderboard"]["depends"]


def test_the_definition_comes_whole_to_the_pods(tmp_path: Path) -> None:
    """Values that all jobs share stand there once; no brace is taken for a template variable."""
    sweep = laid_out("model=flat,lightgbm", "seed=1,2")
    text = sweep.definition.encode()
    (tmp_path / "sweep.json").write_text(text)
    assert sweeps.Definition.read(tmp_path / "sweep.json") == sweep.definition
    assert "{{" not in text
    assert "}}" not in text
    assert text.count('"split.train"') == 1


def test_the_name_follows_from_all_that_the_pods_are_made_of() -> None:
    name = laid_out("model=flat,deep").name
    assert laid_out("model=flat,deep", "target.parallelism=3").name == name
    for other in ("seed=5", "target.namespace=other", "hw.image=mine:1", "model.steps=7"):
        assert laid_out("model=flat,deep", other).name != name


def test_the_digest_of_a_job_is_that_of_a_sweep_on_this_machine() -> None:
    names = [job.name for job in laid_out("model=flat", "seed=1,2", "serving.store=s3://a/b").definition.jobs]
    assert names == [files.digest(sorted(["model=flat", f"seed={seed}"]))[:12] for seed in (1, 2)]


def test_a_job_that_the_sweep_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="the sweep has no such job"):
        laid_out("model=flat").definition.job("nope")


def test_a_key_with_a_parameter_that_is_no_item_is_found() -> None:
    """Items are names that we made; what a user submits could lead out of the folder."""
    made = argo.workflow(laid_out("model=flat,deep"), {})
    tasks = {each["name"]: each for each in made["spec"]["templates"][0]["dag"]["tasks"]}
    tasks["jobs"]["arguments"]["parameters"][0]["value"] = "{{workflow.parameters.name}}"
    made["spec"]["arguments"] = {"parameters": [{"name": "name", "description": "x", "value": ""}]}
    lines = list(map(str, emitted({"sweep.yaml": json.dumps(made)})))
    assert lines
    assert {"templates[jobs]" in line and "can be outside the folder" in line for line in lines} == {True}
