"""hw.workers on clusters: pods of Argo that train one model together; elsewhere it is refused."""

from __future__ import annotations

import pytest

from tapeline import lookup, workers
from tapeline.checks.emitted import emitted
from tapeline.clusters.plan import plan
from tapeline.clusters.sweep import sweep
from tapeline.errors import Refused
from tapeline.pipeline.graph import STEPS
from tests.clusters.emitting import lines, templates, texts
from tests.deploy.rendering import TREE, one, render

LINE = ("target=argo", "experiment=gresearch_sample")
ALONE, THREE = LINE, (*LINE, "hw.workers=3")
(STEP,) = (each for each in STEPS if each.joint)


def test_every_rule_about_emitted_files_holds() -> None:
    assert [str(each) for each in emitted(texts(*THREE))] == []
    assert lines(*THREE) == []


def test_two_more_pods_get_what_the_step_gets_and_make_nothing() -> None:
    step, others, worker = (templates(*THREE)[f"{STEP.name}{end}"] for end in ("", "-workers", "-worker"))
    (each,) = others["dag"]["tasks"]
    assert each["withSequence"] == {"count": "2"}
    assert "outputs" not in worker
    words = step["container"]["args"]
    assert worker["container"]["args"] == words[: words.index("--out")]
    assert worker["retryStrategy"] == step["retryStrategy"]
    assert worker["container"]["securityContext"] == step["container"]["securityContext"]


def test_pods_know_their_run_and_who_leads() -> None:
    step, worker = (templates(*THREE)[f"{STEP.name}{end}"] for end in ("", "-worker"))
    variables = [
        {one["name"]: one["value"] for one in each["container"]["env"] if "value" in one} for each in (step, worker)
    ]
    assert variables[0][workers.JOB] == variables[1][workers.JOB] == "{{workflow.uid}}"
    assert [each.get(workers.ROLE) for each in variables] == [None, "worker"]
    assert [each["metadata"]["labels"]["tapeline.dev/workers"] for each in (step, worker)] == ["leads", "joins"]


def test_the_base_opens_what_they_use_and_only_among_them() -> None:
    documents = render(TREE / "base")
    service = one(documents, "Service", workers.HOST)["spec"]
    labels = templates(*THREE)[STEP.name]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert (service["clusterIP"], service["ports"][0]["port"]) == ("None", workers.PORT)
    policy = one(documents, "NetworkPolicy", "workers-of-training")["spec"]
    ((inward,), (outward,)) = policy["ingress"], policy["egress"]
    assert inward["from"] == outward["to"] == [{"podSelector": policy["podSelector"]}]
    (opened,) = inward["ports"]
    assert inward["ports"] == outward["ports"]
    assert {*range(opened["port"], opened["endPort"] + 1)} == {workers.PORT, *workers.DATA_PORTS}
    (rule,) = policy["podSelector"]["matchExpressions"]
    assert rule["key"] == "tapeline.dev/workers"


def test_one_worker_is_what_there_was_without_the_key() -> None:
    (plain, *_), (alone, *_) = (list(texts(*typed).values()) for typed in (ALONE, (*ALONE, "hw.workers=1")))
    assert [each for each in alone.splitlines()[1:] if "hw.workers=1" not in each] == plain.splitlines()[1:]


def test_the_number_is_no_part_of_what_pods_are_built_with() -> None:
    def built(typed: tuple[str, ...]) -> dict[str, str]:
        return {task.name: task.built for task in plan(lookup.configure(typed), typed, fused=False).tasks}

    assert built(ALONE) == built(THREE)


@pytest.mark.parametrize(
    ("typed", "fix"),
    [
        (("target=argo", "target.granularity=fused"), "target.granularity=step"),
        (("target=kfp",), "target=argo"),
        (("target=tfjob",), "target=argo"),
        (("target=argo", "model=deep"), "model=lightgbm"),
        (("target=argo", "hw=gpu-t4"), "hw=cpu"),
    ],
    ids=str,
)
def test_where_the_workers_would_be_lost_it_is_refused(typed: tuple[str, ...], fix: str) -> None:
    line = ("model=lightgbm", *typed)
    (said,) = lines(*line, "hw.workers=2")
    where, _, rest = said.partition("; ")
    assert where.startswith("hw.workers=2: ")
    assert fix in rest
    assert lines(*line) == []


def test_a_network_of_images_can_be_trained_by_workers() -> None:
    assert lines("target=argo", "dataset=faces", "model=conv", "hw.workers=2") == []


def test_a_sweeps_job_is_one_pod() -> None:
    typed = ("target=argo", "target.cache=s3://cache/prices", "model=lightgbm", "hw.workers=2")
    with pytest.raises(Refused, match=r"hw\.workers=2: .*sweep.*; set hw\.workers=1"):
        sweep([(typed, lookup.configure(typed))])


def test_no_run_can_set_the_number() -> None:
    typed = (*THREE, "target.parameters=[hw.workers]")
    assert [each for each in lines(*typed) if "hw.workers" in each and "pod" in each]
