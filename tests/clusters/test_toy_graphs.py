"""What the builders make of a graph that no dataset has yet: mapped steps, and artifacts that may be missing."""

from __future__ import annotations

from typing import Any

import pytest

from tapeline import files, lookup
from tapeline.clusters import emit
from tapeline.clusters import plan as planning
from tapeline.commands.step import program
from tapeline.pipeline import graph
from tapeline.pipeline.graph import Step
from tests.pipeline.test_partitions import GRAPH, OPTIONAL

TOYS = (*GRAPH, *OPTIONAL)


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let these be the graph of every configuration."""

    def pipeline(_: object) -> tuple[Step, ...]:
        return TOYS

    monkeypatch.setattr(planning, "pipeline", pipeline)
    monkeypatch.setattr(program, "present", pipeline)
    monkeypatch.setattr("tapeline.clusters.step_arguments.STEPS", TOYS)


def _emitted(target: str) -> dict[str, Any]:
    overrides = [f"target={target}", "seed=2"]
    texts = emit.emit(lookup.configure(overrides), overrides)
    return dict(files.yaml_documents(next(iter(texts.values())))[0])


def test_argo_may_find_the_artifact_missing() -> None:
    templates = {each["name"]: each for each in _emitted("argo")["spec"]["templates"]}
    made = {each["name"]: each.get("optional") for each in templates["choose"]["outputs"]["artifacts"]}
    taken = {each["name"]: each.get("optional") for each in templates["show"]["inputs"]["artifacts"]}
    assert made == taken == {"scores": None, "examples": True}
    (task,) = (each for each in templates["graph"]["dag"]["tasks"] if each["name"] == "show")
    assert {each["name"]: each.get("optional") for each in task["arguments"]["artifacts"]} == taken
    words = templates["show"]["container"]["args"]
    assert [words[at + 1].partition("=")[0] for at, word in enumerate(words) if word == "--in-optional"] == ["examples"]


@pytest.mark.parametrize("seed", [0, 2])
def test_a_pod_runs_with_and_without_the_artifact(seed: int, folder: Any) -> None:
    overrides = [f"seed={seed}"]
    outputs = ["--out", "scores=scores.txt", "--out", "examples=examples.txt"]
    program.run(["choose", *overrides, *outputs])
    assert (folder / "examples.txt").exists() == bool(seed)
    inputs = ["--in", "scores=scores.txt", "--in-optional", "examples=examples.txt"]
    program.run(["show", *inputs, "--out", "page=page.txt"])
    assert (folder / "page.txt").read_text() == ("2: row 7" if seed else "0: no examples")


def test_a_pod_makes_the_parts_and_the_manifest(folder: Any) -> None:
    program.run(["split_up,collect", "experiment=snp_flat", "--out", "table=table"])
    assert {path.name for path in (folder / "table").iterdir()} == {"manifest.json", "snp_flat.parquet"}
    assert not (folder / "parts").exists()


@pytest.mark.parametrize("target", ["argo", "kfp", "tfjob"])
def test_a_build_says_what_a_target_cannot_do_of_the_graph(target: str) -> None:
    overrides = [f"target={target}"]
    sentences = emit.limits(lookup.configure(overrides), overrides)
    assert any("split_up" in each and "one pod" in each for each in sentences)
    assert not any("collect" in each for each in sentences)
    assert all(each.startswith(f"target={target}: ") for each in sentences)


def test_a_key_that_decides_about_partitions_is_known() -> None:
    assert graph.shaping(TOYS) == {"experiment"}
