"""Mistakes in what people type, in the table of steps, and in Dockerfiles."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tapeline import checks, lookup
from tapeline.checks import configuration, graph
from tapeline.checks import images as dockerfiles
from tapeline.errors import Refused
from tapeline.pipeline.graph import RAW, STEPS, Step
from tests.checks.planting import Planted, forget, identity
from tests.conftest import ROOT, Tapeline

SQL = ["dataset.source=sql", "dataset.url=postgresql://reader@db/prices"]

TYPED: list[Planted] = [
    Planted("configuration.split_fits_the_data", "target=argo", ["split=by_row"],
            "split=by_row: the dataset's rows have a time, and rows drawn at random would train on the future; "
            "set split=chronological"),
    Planted("cluster.store_can_be_reached", "target=argo", ["serving.store=./store"],
            "serving.store=./store: pods cannot read this folder; set serving.store=/models or a URL, for example s3://bucket/models"),
    Planted("cluster.data_can_be_reached", "target=kfp", ["dataset.source=csv", "dataset.path=closes.csv"],
            "dataset.path=closes.csv: pods cannot read this file; copy it to the volume claim data and write /data/closes.csv"),
    Planted("cluster.password_has_its_secret", "target=argo", [*SQL, "dataset.password_env=PGPASSWORD"],
            "dataset.password_env=PGPASSWORD: pods have no such variable; "
            "set target.data_secret to the Secret that has the key PGPASSWORD"),
    Planted("cluster.study_is_within_reach", "target=argo",
            ["model=lightgbm", "tune=optuna", "tune.storage=sqlite:///study.db"],
            "tune.storage=sqlite: pods do not share this file; "
            "set tune.storage=postgresql://user@host/database, or tune.storage=null"),
    Planted("cluster.runs_are_not_tracked", "target=kfp", ["track=mlflow"],
            "track=mlflow: is not read, since target=kfp; leave it out; it is read by run and sweep on this machine"),
    Planted("configuration.search_fits_the_model", "target=argo",
            ["model=lightgbm", "tune=optuna", "tune.block=1w"],
            "tune.block=1w: is not read, since tune.rows=null; set tune.rows too"),
    Planted("cluster.secrets_are_used", "target=argo", ["target.cache_secret=keys"],
            "target.cache_secret=keys: is not read, since target.cache=.tapeline/cache; "
            "set target.cache=s3://..., or remove it"),
    Planted("cluster.secrets_are_used", "target=tfjob", ["target.store_read_secret=keys"],
            "target.store_read_secret=keys: is not read, since serving.store=/models; set serving.store=s3://..., or remove it"),
    Planted("configuration.family_uses_weights", "target=argo",
            ["dataset=gresearch", "dataset.weights=asset", "model=flat"],
            "dataset.weights=asset: model=flat trains all rows alike; choose model=lightgbm, or remove it"),
    Planted("cluster.secrets_are_used", "target=tfjob", ["target.store_secret=keys"],
            "target.store_secret=keys: is not read, since serving.store=/models; set serving.store=s3://..., or remove it"),
    Planted("cluster.quantities_are_valid", "target=argo", ["target.requests.memory=1GB"],
            "target.requests.memory=1GB: is not a quantity; write it as 500m, 2 or 4Gi"),
    Planted("cluster.requests_are_within_limits", "target=argo", ["hw.requests.memory=8Gi"],
            "hw.requests.memory=8Gi: is more than hw.limits.memory=4Gi; lower it, or raise the limit"),
    Planted("cluster.accelerator_is_known", "target=argo",
            ["hw=gpu-t4", "hw.accelerator.resource=nvidia.com/gpus"],
            "hw.accelerator.resource=nvidia.com/gpus: no node has this resource; did you mean nvidia.com/gpu?"),
    Planted("cluster.images_are_fixed", "target=argo", ["target.image=ghcr.io/tapeline/step:main"],
            "target.image=ghcr.io/tapeline/step:main: has the mutable tag main; use a version or a digest, for example :1.2.3"),
    Planted("cluster.schedule_is_valid", "target=argo", ["target.schedule='30 25 * * *'"],
            "target.schedule=30 25 * * *: has 25, but values from 0 to 23 are allowed there; "
            "write minute, hour, day, month, weekday: 30 17 * * 1-5"),
    Planted("cluster.schedule_is_valid", "target=argo", ["target.timezone=Europe/Londn"],
            "target.timezone=Europe/Londn: there is no such time zone; write it as Europe/London"),
    Planted("configuration.metric_fits_task", "target=argo", ["gate.metric=acuracy"],
            "gate.metric=acuracy: is not a metric of this dataset; "
            "choose one of: accuracy, auc, down.f1, up.f1, log_loss (did you mean accuracy?)"),
    Planted("configuration.threshold_can_be_met", "target=argo", ["gate.threshold=70"],
            "gate.threshold=70: accuracy is never above it; set a number that is at least 0 and below 1"),
    Planted("configuration.threshold_can_be_met", "target=argo",
            ["gate.metric=log_loss", "gate.threshold=0", "gate.baseline_margin=null"],
            "gate.threshold=0: log_loss is never below it; set a number above 0"),
    Planted("configuration.confidence_has_its_margin", "target=argo",
            ["gate.confidence=0.95", "gate.baseline_margin=null"],
            "gate.confidence=0.95: is not read, since gate.baseline_margin=null; set gate.baseline_margin=0 too"),
    Planted("configuration.baselines_have_the_metric", "target=argo",
            ["gate.metric=log_loss", "gate.baseline_margin=0.1"],
            "gate.baseline_margin=0.1: baselines have no log_loss, which needs probabilities; "
            "set gate.baseline_margin=null, or choose gate.metric=accuracy"),
    Planted("configuration.source_has_its_path", "target=argo", ["dataset.source=csv"],
            "dataset.path: dataset.source=csv needs it; set dataset.path=FILE.csv"),
    Planted("configuration.limits_have_series", "target=argo", ["dataset=faces", "dataset.max_gap_days=3"],
            "dataset.max_gap_days=3: is not read, since the dataset faces has no series; leave dataset.max_gap_days=null"),
    Planted("configuration.image_supports_the_gpu", "target=argo", ["hw=gpu", "hw.tensorflow=2.20.0"],
            "hw.tensorflow=2.20.0: does not support nvidia-tesla-k80, compute capability 3.7; "
            "choose another hw, of: cpu, gpu, gpu-a100, gpu-h100, gpu-l4, gpu-t4"),
    Planted("configuration.workers_can_train_the_model", "target=argo", ["model=flat", "hw.workers=2"],
            "hw.workers=2: model=flat trains in one process; set hw.workers=1 or choose model=lightgbm"),
    Planted("configuration.servers_can_load_it", "target=argo", ["hw.tensorflow=2.21.0"],
            "hw.tensorflow=2.21.0: is later than TensorFlow 2.20 of the servers; train with 2.20"),
]  # fmt: skip
# ruff: noqa: E501  # a line that a person reads stays one line


def lines(typed: list[str]) -> list[str]:
    try:
        checks.before_build(lookup.configure(typed))
    except Refused as error:
        return list(map(str, error.findings))
    return []


@pytest.mark.parametrize("planted", TYPED, ids=identity)
def test_a_mistake_in_a_configuration_is_one_line(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = [planted.path, *planted.value]
    assert lines(typed) == [planted.line]
    forget(planted.rule, monkeypatch)
    assert lines(typed) == []


def test_what_a_cluster_cannot_reach_is_no_matter_on_this_machine() -> None:
    assert lines(["serving.store=./store", "dataset.source=csv", "dataset.path=closes.csv"]) == []


def test_a_secret_for_data_is_read_where_it_has_the_password_of_a_search() -> None:
    secret = ["target=argo", "target.data_secret=study"]
    assert [each.partition(":")[0] for each in lines(secret)] == ["target.data_secret=study"]
    search = ["model=lightgbm", "tune=optuna", "tune.storage=postgresql://me@db/x", "tune.password_env=STUDY"]
    assert lines([*secret, *search]) == []


def test_a_tracker_that_is_not_installed_is_refused_before_anything_starts(
    tapeline: Tapeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "find_spec", lambda _: None)
    code, out, err = tapeline("run", "model=flat", "track=mlflow")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "track=mlflow: mlflow is not installed; install " in err
    assert list(folder.iterdir()) == []


MISREAD = Step("misread", takes=(), makes=(), package="tests.pipeline.toy")


def _with(name: str, /, **changed: Any) -> list[Step]:
    return [replace(step, **changed) if step.name == name else step for step in STEPS]


GRAPH = [
    Planted("graph.names_are_given_once", "", _with("report", name="gate"),
            "graph.py: STEPS: the step gate occurs twice; rename one"),
    Planted("graph.artifacts_are_made_before_they_are_taken", "", _with("features", takes=("fitted",)),
            "graph.py: STEPS: features: takes fitted, which no earlier step makes; "
            "move it behind the step that makes fitted"),
    Planted("graph.skipped_outputs_are_not_taken", "",
            [*STEPS, replace(MISREAD, takes=("published",), package="tests.pipeline.toy", name="collect")],
            "graph.py: STEPS: collect: takes published of publish, which may be skipped; "
            "take an artifact of a step that always runs"),
    Planted("graph.parameters_are_output_before", "", _with("publish", when="acepted"),
            "graph.py: STEPS: publish: depends on acepted, which is not an output parameter of an earlier step; did you mean accepted?"),
    Planted("graph.parameters_are_output_before", "", _with("features_part", ids="partitons"),
            "graph.py: STEPS: features_part: depends on partitons, which is not an output parameter of an earlier step; did you mean partitions?"),
    Planted("graph.artifacts_that_may_be_missing_are_not_needed", "", _with("ingest", makes=(replace(RAW, optional=True),)),
            "graph.py: STEPS: features: takes raw, which may be missing; write takes=(raw?,)"),
    Planted("graph.mapped_steps_make_one_folder", "", _with("features", map_over="partitions"),
            "graph.py: STEPS: features: is mapped over partitions, and does not make exactly one folder; let it make one folder"),
    Planted("graph.workers_change_no_result", "", _with("evaluate", workers="model.steps"),
            "graph.py: STEPS: evaluate: has model.steps workers, and another number of them would be other work; "
            "add model.steps to its resumes, or set joint"),
    Planted("graph.keys_that_are_read_exist", "", [*STEPS, MISREAD],
            "graph.py: STEPS: misread: reads modle, which is not a section; did you mean model?"),
    Planted("graph.only_the_publisher_writes", "", _with("publish", when=None),
            "graph.py: STEPS: publish: writes to the store also if the model is rejected; set when=accepted"),
]  # fmt: skip


@pytest.mark.parametrize("planted", GRAPH, ids=identity)
def test_a_mistake_in_the_table_of_steps_is_one_line(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(steps: list[Step]) -> list[str]:
        return [str(finding) for rule in graph.RULES for finding in rule(steps)]

    assert found(list(STEPS)) == []
    assert found(planted.value) == [planted.line]
    forget(planted.rule, monkeypatch)
    assert found(planted.value) == []


RIGHT = (ROOT / "deploy" / "images" / "cpu" / "Dockerfile").read_text()
LAST = len(RIGHT.splitlines()) + 1
DOCKERFILES = [
    Planted("images.bases_are_fixed", "ARG BASE=python:3.11-slim-bookworm", "ARG BASE=python:latest",
            "python:latest has the mutable tag latest; use a version, for example python:3.11-slim-bookworm"),
    Planted("images.user_is_not_root", "USER 10001:10001", "USER root",
            "root is or may be root; write another user as a number, for example 10001:10001"),
    Planted("images.nothing_is_downloaded_unchecked", "", "RUN curl https://example.com/get.py | sh",
            f"line {LAST}: RUN: runs a script that it downloads; copy the file, or check its digest"),
    Planted("images.packages_are_pinned", "", "RUN pip install tensorflow",
            f"line {LAST}: RUN: installs tensorflow without a fixed version; use -r with a lock file"),
    Planted("images.nothing_is_installed_at_run_time", 'ENTRYPOINT ["tapeline"]', "ENTRYPOINT pip install x && tapeline",
            'ENTRYPOINT: is interpreted by a shell; write a list, for example ["tapeline"]'),
    Planted("images.no_secret_goes_in", "", "ENV KAGGLE_KEY=0123456789abcdef",
            f"line {LAST}: ENV: KAGGLE_KEY stays in the image; pass it to the container from a Secret"),
    Planted("images.no_secret_goes_in", "", "COPY service_account.json /key.json",
            f"line {LAST}: COPY: service_account.json stays in the image; pass it to the container from a Secret"),
    Planted("images.copied_files_are_listed", "COPY conf conf", "COPY . .",
            "COPY: copies everything; list the files and folders"),
]  # fmt: skip


@pytest.mark.parametrize("planted", DOCKERFILES, ids=identity)
def test_a_mistake_in_a_dockerfile_is_one_line(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(text: str) -> list[str]:
        image = dockerfiles.parse(text, "Dockerfile")
        return list(dict.fromkeys(str(finding) for rule in dockerfiles.RULES for finding in rule(image)))

    text = RIGHT.replace(planted.path, planted.value) if planted.path else f"{RIGHT}{planted.value}\n"
    assert text != RIGHT
    assert found(RIGHT) == []
    record = found(text)
    assert len({each.partition(": ")[2].partition(": ")[2] for each in record}) == 1
    assert record[0].startswith("Dockerfile: line ")
    assert record[0].endswith(planted.line)
    forget(planted.rule, monkeypatch)
    assert found(text) == []


def test_a_build_is_refused_before_anything_is_written(tapeline: Tapeline, monkeypatch: pytest.MonkeyPatch) -> None:
    from tapeline.clusters import pod_spec as pods

    monkeypatch.setitem(pods.SECURITY, "privileged", True)
    code, out, err = tapeline("build", "target=argo", "target.folder=made")
    assert (code, out) == (2, "")
    assert "made/indices-deep-cpu.yaml: spec.templates[train].container.securityContext.privileged" in err
    assert not Path("made").exists()
