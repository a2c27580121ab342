"""target.partitions=pods: on Argo a pod for each partition, and a step that puts the table together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tapeline import files, lookup
from tapeline.checks.emitted import emitted
from tapeline.cli import main as cli
from tapeline.clusters import emit as build
from tapeline.clusters.plan import plan
from tapeline.clusters.sweep import sweep
from tapeline.errors import Refused
from tapeline.pipeline.execution import execute
from tapeline.pipeline.graph import TABLE, TABLE_PARTS, pipeline, until
from tapeline.tables.table import open_table
from tests.clusters.emitting import lines, templates, texts

PLAIN = ("target=argo", "experiment=gresearch_sample")
PODS = (*PLAIN, "target.partitions=pods")
EACH = "features-part-each"
KEY = f"artifacts/{{{{workflow.namespace}}}}/{{{{workflow.name}}}}/{TABLE_PARTS.file}"


def nodes(*typed: str) -> dict[str, Any]:
    return {each["name"]: each for each in templates(*typed)["graph"]["dag"]["tasks"]}


def by_name(values: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["name"]: each for each in values}


def test_every_rule_about_emitted_files_holds() -> None:
    assert [str(each) for each in emitted(texts(*PODS))] == []
    assert lines(*PODS) == []


def test_null_is_what_there_was_without_the_key() -> None:
    (plain, *_), (null, *_) = (list(texts(*typed).values()) for typed in (PLAIN, (*PLAIN, "target.partitions=null")))
    assert null.splitlines()[1:] == plain.splitlines()[1:]
    assert "features-part" not in nodes(*PLAIN)
    assert "parameters" not in templates(*PLAIN)["ingest"]["outputs"]


def test_a_pod_for_each_id_that_ingest_says() -> None:
    assert set(nodes(*PODS)) - set(nodes(*PLAIN)) == {"features-part"}
    (said,) = templates(*PODS)["ingest"]["outputs"]["parameters"]
    assert said == {"name": "partitions", "valueFrom": {"path": "/workspace/out/partitions"}}
    node = nodes(*PODS)["features-part"]
    assert node["depends"] == "ingest"
    given = by_name(node["arguments"]["parameters"])
    assert given["partitions"]["value"] == "{{tasks.ingest.outputs.parameters.partitions}}"
    loop = templates(*PODS)["features-part"]
    assert loop["parallelism"] == 4
    (each,) = loop["dag"]["tasks"]
    assert (each["template"], each["withParam"]) == (EACH, "{{inputs.parameters.partitions}}")
    assert by_name(each["arguments"]["parameters"])["partition"]["value"] == "{{item}}"
    assert "continueOn" not in each, "a part that is missing must end the run"


def test_each_writes_below_one_key_that_the_next_step_takes_as_one_artifact() -> None:
    pod, collector = (templates(*PODS)[name] for name in (EACH, "features"))
    (made,) = pod["outputs"]["artifacts"]
    path = f"/workspace/out/{TABLE_PARTS.file}"
    assert made == {"name": TABLE_PARTS.name, "path": path, "archive": {"none": {}}, "s3": {"key": KEY}}
    taken = by_name(collector["inputs"]["artifacts"])[TABLE_PARTS.name]
    assert taken == {"name": TABLE_PARTS.name, "path": f"/workspace/in/{TABLE_PARTS.file}", "s3": {"key": KEY}}
    assert f"{TABLE_PARTS.name}={taken['path']}" in collector["container"]["args"]
    node = nodes(*PODS)["features"]
    assert node["depends"] == "ingest && features-part"
    assert [each["name"] for each in node["arguments"]["artifacts"]] == ["raw"]
    table = by_name(collector["outputs"]["artifacts"])[TABLE.name]
    assert table == by_name(templates(*PLAIN)["features"]["outputs"]["artifacts"])[TABLE.name]


def test_the_pod_of_a_part_is_as_that_of_the_step_and_is_retried_as_it_is() -> None:
    pod, step = templates(*PODS)[EACH], templates(*PLAIN)["features"]
    same = [key for key in step if key not in ("name", "inputs", "outputs", "container", "metadata")]
    assert {"retryStrategy", "volumes"} <= set(same)
    assert {key: pod[key] for key in same} == {key: step[key] for key in same}
    words = pod["container"]["args"]
    assert words[:2] == ["step", "features_part"]
    assert words[words.index("--part") + 1] == "{{inputs.parameters.partition}}"
    own, theirs = ({word for word in each["container"]["args"] if "built" in word} for each in (pod, step))
    assert own == theirs


def _run(template: dict[str, Any], taken: Path, made: Path, partition: str = "") -> None:
    """Run the container of a pod here: its inputs lie in a folder, its outputs go to another one."""
    given = {each["name"]: "" for each in template["inputs"]["parameters"]} | {"partition": partition}
    texts = {f"{{{{inputs.parameters.{name}}}}}": value for name, value in given.items()}
    texts |= {"/workspace/in": str(taken), "/workspace/out": str(made), "$$": "$"}
    words = template["container"]["args"]
    for text, value in texts.items():
        words = [word.replace(text, value) for word in words]
    assert cli.main(words) == 0, words


def test_the_pods_make_the_artifacts_of_a_run_without_them(folder: Path) -> None:
    rows = "dataset.rows=20000"
    pods, inputs = templates(*PODS, rows), folder / "inputs"
    _run(pods["ingest"], inputs, inputs)
    for partition in json.loads((inputs / "partitions").read_text()):
        _run(pods[EACH], inputs, folder / partition, partition)
        shutil.copytree(folder / partition, inputs, dirs_exist_ok=True)
    _run(pods["features"], inputs, folder / "theirs")

    config, ours = lookup.configure((PLAIN[1], rows)), dict[str, Path]()
    for step in until(TABLE, pipeline(config)):
        outputs = {each.name: folder / "ours" / each.file for each in step.makes}
        execute(step, config, {name: ours[name] for name in step.inputs}, outputs)
        ours |= outputs
    there, here = (open_table(folder / each / TABLE.file).manifest for each in ("theirs", "ours"))
    assert len(here.parts) == 14
    assert {each.id: each.digest for each in there.parts} == {each.id: each.digest for each in here.parts}
    for made in (folder / "theirs").iterdir():
        assert files.digest_path(made) == files.digest_path(ours[made.stem]), made


def test_parts_are_not_in_the_cache_and_their_pods_have_no_key_of_it() -> None:
    typed = (*PODS, "target.cache=s3://cache/prices", "target.cache_secret=cache")
    tasks = {task.name: task for task in plan(lookup.configure(typed), typed).tasks}
    assert not tasks["features-part"].secrets
    assert not [each for each in tasks["features-part"].overrides if "cache" in each]
    assert tasks["features"].secrets


@pytest.mark.parametrize(
    ("typed", "wrong", "fix"),
    [
        (("target=argo", "experiment=snp_deep"), "dataset=indices has one partition", "target.partitions=null"),
        ((*PLAIN, "target.granularity=fused"), "starts one pod for all steps", "target.granularity=step"),
        (("target=kfp", "experiment=gresearch_sample"), "unknown key", ""),
        (("target=tfjob", "experiment=gresearch_sample"), "unknown key", ""),
        ((*PLAIN, "target.parameters=[target.partitions]"), "changes the steps or partitions", "build with"),
    ],
    ids=str,
)
def test_where_there_would_be_one_pod_it_is_refused(typed: tuple[str, ...], wrong: str, fix: str) -> None:
    (line,) = lines(*typed, "target.partitions=pods")
    assert "target.partitions" in line
    assert wrong in line
    assert fix in line.partition("; ")[2]


def test_a_sweeps_job_is_one_pod() -> None:
    typed = (*PLAIN, "target.cache=s3://cache/prices")
    assert sweep([(typed, lookup.configure(typed))]).jobs
    more = (*typed, "target.partitions=pods")
    with pytest.raises(Refused, match=r"target\.partitions=pods: .*sweep.*; set target\.partitions=null"):
        sweep([(more, lookup.configure(more))])


@pytest.mark.parametrize("target", ["kfp", "tfjob"])
def test_a_build_says_that_one_pod_makes_all_partitions(target: str) -> None:
    typed = (f"target={target}", "experiment=gresearch_sample")
    (sentence,) = (each for each in build.limits(lookup.configure(typed), typed) if "target.partitions" in each)
    assert sentence.startswith(f"target={target}: one pod for all partitions; ")
    other = (f"target={target}", "experiment=snp_deep")
    assert "target.partitions" not in json.dumps(build.limits(lookup.configure(other), other))
