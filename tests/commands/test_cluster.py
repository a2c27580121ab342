from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml

from tapeline.clusters import providers
from tapeline.clusters.argo import stored
from tapeline.clusters.pod_spec import USER
from tapeline.clusters.releases import KFP
from tapeline.config import compose as conf
from tapeline.lookup import configure as compose
from tests.conftest import ROOT, Tapeline

GKE = ("cluster", "provider=gke", "project=my-project")


def test_kind_gets_a_cluster_the_image_and_argo(tapeline: Tapeline) -> None:
    code, out, _ = tapeline("cluster", "provider=kind")
    create, load, namespace, argo, requeue, wait, after = out.splitlines()
    assert code == 0
    assert create.startswith("kind create cluster --name tapeline")
    assert compose([]).hw.image in shlex.split(load)
    assert namespace == "kubectl create namespace argo"
    assert "--server-side" in argo, "Argo's CRDs are larger than the annotation of a plain apply"
    assert "DEFAULT_REQUEUE_TIME=2s" in requeue
    assert "workflow-controller" in wait
    assert (ROOT / after.split()[-1]).is_dir()


def test_gke_gets_what_its_overlay_names(tapeline: Tapeline) -> None:
    _, out, _ = tapeline(*GKE, "hw=gpu-t4")
    (pool,) = (line for line in out.splitlines() if "node-pools" in line)
    assert "--accelerator=type=nvidia-tesla-t4,count=1" in pool
    overlay = ROOT / "deploy" / "kustomize" / "overlays"
    assert out.splitlines()[-1].endswith("overlays/gke-gpu")
    record = (overlay / "gke-cpu" / "kustomization.yaml").read_text() + (
        overlay / "gke-cpu" / "artifacts.yaml"
    ).read_text()
    for account in ("tapeline-runner", "tapeline-publisher"):
        assert f"{account}@my-project.iam.gserviceaccount.com" in record
        assert f"{account}@my-project.iam.gserviceaccount.com" in out
    assert "bucket: my-project-tapeline" in record
    assert "gs://my-project-tapeline" in out
    lifecycle = next(line for line in out.splitlines() if "lifecycle" in line).partition("--lifecycle-file=")[2]
    [rule] = json.loads((ROOT / lifecycle).read_text())["rule"]
    assert rule["condition"]["matchesPrefix"] == [f"{stored.ARTIFACTS}/"]
    network = yaml.safe_load((overlay / "gke-cpu" / "network.yaml").read_text())
    assert network["spec"]["egress"][0]["to"][0]["ipBlock"]["cidr"] == "199.36.153.8/30"
    assert "199.36.153.8,199.36.153.9,199.36.153.10,199.36.153.11" in out


def test_every_card_that_gke_sells_has_a_machine() -> None:
    cards = [card for each in conf.options("hw") if (card := compose([f"hw={each}"]).hw.accelerator)]
    assert {card.model for card in cards if not card.end_of_life} == set(providers.MACHINES)


def test_kfp_takes_the_place_of_argo(tapeline: Tapeline) -> None:
    _, out, _ = tapeline("cluster", "provider=kind", "engine=kfp")
    assert "argo-workflows" not in out
    (source,) = (line for line in out.splitlines() if "/env/" in line)
    assert f"/env/platform-agnostic?ref={KFP}" in source, "env/dev has images of the main branch"
    (patch,) = (line for line in out.splitlines() if providers.PATCH in line)
    name, _, value = shlex.split(patch)[-1].partition("=")
    assert name == "COMPILED_PIPELINE_SPEC_PATCH"
    assert json.loads(json.loads(value)["podSpecPatch"]) == {"securityContext": {"fsGroup": USER}}
    assert "make submit target=kfp" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cluster"], "provider: is missing; write provider=kind or provider=gke"),
        (["cluster", "provider=eks"], "choose one of: kind, gke"),
        (["cluster", "provider=kind", "hw=gpu-t4"], "hw=gpu-t4: kind clusters have no GPUs"),
        ([*GKE, "hw=gpu"], "hw=gpu: GKE has sold no nvidia-tesla-k80 since 2024-05-01; use hw=gpu-t4"),
        (["cluster", "provider=gke"], "project: is missing"),
        (["cluster", "provider=gke", "project=x; reboot"], "project: x; reboot is not valid"),
        ([*GKE, "zone=$(id)"], "zone: $(id) is not valid"),
        (["cluster-down", "provider=gke"], "project: is missing"),
        (["verify-cluster", "model=flat"], "model=flat: verify-cluster does not read model"),
    ],
)
def test_refused(tapeline: Tapeline, words: list[str], said: str) -> None:
    code, out, err = tapeline(*words)
    assert (code, out) == (2, "")
    assert said in err


def test_run_stops_at_the_first_command_that_fails(
    tapeline: Tapeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    for name, code in (("kind", 0), ("kubectl", 3)):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {log}\nexit {code}\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    code, _, err = tapeline("cluster", "provider=kind", "run=true")
    assert code == 2
    assert "kubectl create namespace argo: ended with 3" in err
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["kind", "kind", "kubectl"]


def test_without_run_nothing_runs(tapeline: Tapeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tapeline("cluster-down", "provider=kind")[:2] == (0, "kind delete cluster --name tapeline\n")
    code, _, err = tapeline("cluster-down", "provider=kind", "run=true")
    assert (code, err) == (2, "tapeline: kind: is not installed; install it, or run the printed commands where it is\n")
