"""The commands that create a cluster for the overlays, and delete it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tapeline.clusters.pod_spec import USER
from tapeline.clusters.releases import ARGO, KFP
from tapeline.config import compose as conf
from tapeline.config.schema import Hardware
from tapeline.errors import refuse

PATCH = "COMPILED_PIPELINE_SPEC_PATCH"
SPEC_PATCH = json.dumps({"podSpecPatch": json.dumps({"securityContext": {"fsGroup": USER}})})
"""Variable of KFP's API server, and its value: all pods of runs get this group, which may write to claims."""
OVERLAYS = Path("deploy") / "kustomize" / "overlays"
MACHINES = {
    "nvidia-tesla-t4": "n1-standard-4",
    "nvidia-l4": "g2-standard-8",
    "nvidia-tesla-a100": "a2-highgpu-1g",
    "nvidia-h100-80gb": "a3-highgpu-1g",
}
"""By GPU: its machine type on GKE."""
LIFECYCLE = Path("deploy") / "lifecycle" / "gcs.json"
"""Rule of the bucket: artifacts of old runs are deleted, and results stay."""
GOOGLE = "199.36.153.8,199.36.153.9,199.36.153.10,199.36.153.11"
"""private.googleapis.com, which overlay gke-cpu lets the steps reach."""


def make(hardware: Hardware, options: Mapping[str, str]) -> tuple[list[str], str]:
    """The commands that create a cluster, and the one that comes next.

    Args:
        hardware: says which card, and which image of the steps.
        options: provider, engine, project and zone.

    Raises:
        Refused: the provider does not have the card, or an option is missing.
    """
    provider = _provider(options)
    commands = _kind(hardware) if provider == "kind" else _gke(hardware, options)
    overlay = "laptop" if provider == "kind" else "gke-gpu" if hardware.accelerator else "gke-cpu"
    after = f"kubectl apply -k {OVERLAYS / overlay}"
    if options.get("engine") == "kfp":
        after = "kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80 & make submit target=kfp"
    return [*commands, *_engine(options)], after


def remove(options: Mapping[str, str]) -> tuple[list[str], str]:
    """The commands that delete it, and what they leave.

    Raises:
        Refused: an option is missing.
    """
    if _provider(options) == "kind":
        return ["kind delete cluster --name tapeline"], ""
    project, where = _place(options)
    left = f"what costs and stays: volumes that were retained, and the bucket gs://{project}-tapeline"
    return [f"gcloud container clusters delete tapeline {where} --quiet"], left


def execute(commands: Sequence[str], *, run: bool) -> None:
    """Print commands, and run each after it is printed with `run`.

    Raises:
        Refused: a command fails or is not installed.
    """
    for line in commands:
        print(line, flush=True)
        if run:
            _run(shlex.split(line))


def _provider(options: Mapping[str, str]) -> str:
    if "provider" not in options:
        raise refuse("provider", "is missing", "write provider=kind or provider=gke")
    return options["provider"]


def _kind(hardware: Hardware) -> list[str]:
    """A kind cluster; its network plugin enforces NetworkPolicies since kind 0.24."""
    if hardware.accelerator:
        fix = "use provider=gke, or the overlay onprem-k80 on machines with this GPU"
        raise refuse(f"hw={hardware.name}", "kind clusters have no GPUs", fix)
    return [
        "kind create cluster --name tapeline --wait 120s",
        f"kind load docker-image {shlex.quote(hardware.image)} --name tapeline",
    ]


def _gke(hardware: Hardware, options: Mapping[str, str]) -> list[str]:
    """A cluster with NetworkPolicies, Workload Identity, Filestore, a bucket, and a node pool with the GPU."""
    project, where = _place(options)
    pool = _pool(hardware, where)
    bucket = f"gs://{project}-tapeline"
    return [
        f"gcloud container clusters create tapeline {where} --num-nodes=2 --machine-type=e2-standard-4"
        f" --enable-dataplane-v2 --workload-pool={project}.svc.id.goog --addons=GcpFilestoreCsiDriver",
        f"gcloud container clusters get-credentials tapeline {where}",
        *pool,
        f"gcloud storage buckets create {bucket} --project={project} --uniform-bucket-level-access"
        f" --location={options.get('zone', ZONE).rpartition('-')[0]}",
        f"gcloud storage buckets update {bucket} --lifecycle-file={LIFECYCLE}",
        *(line for role in ("runner", "publisher") for line in _account(project, f"tapeline-{role}", bucket)),
        *_private_access(project),
    ]


def _account(project: str, name: str, bucket: str) -> list[str]:
    """Google's account of a service account of the overlay, with its right on the bucket of artifacts."""
    account = f"{name}@{project}.iam.gserviceaccount.com"
    return [
        f"gcloud iam service-accounts create {name} --project={project}",
        f"gcloud storage buckets add-iam-policy-binding {bucket} --role=roles/storage.objectUser"
        f" --member=serviceAccount:{account}",
        f"gcloud iam service-accounts add-iam-policy-binding {account} --project={project}"
        f" --role=roles/iam.workloadIdentityUser"
        f" --member='serviceAccount:{project}.svc.id.goog[tapeline/{name}]'",
    ]


def _private_access(project: str) -> list[str]:
    """Google's APIs at addresses that a NetworkPolicy can name."""
    create = f"gcloud dns record-sets create --project={project} --zone=googleapis --ttl=300"
    return [
        f"gcloud dns managed-zones create googleapis --project={project} --dns-name=googleapis.com."
        " --visibility=private --networks=default --description=private.googleapis.com",
        f"{create} private.googleapis.com. --type=A --rrdatas={GOOGLE}",
        f"{create} '*.googleapis.com.' --type=CNAME --rrdatas=private.googleapis.com.",
    ]


def _pool(hardware: Hardware, where: str) -> list[str]:
    """A node pool with the profile's GPU that scales down to no nodes."""
    card = hardware.accelerator
    if card is None:
        return []
    if card.end_of_life or card.model not in MACHINES:
        gone = f"GKE has sold no {card.model} since {card.end_of_life}"
        problem = gone if card.end_of_life else f"GKE has no known machine type with {card.model}"
        fix = "use hw=gpu-t4, or the overlay onprem-k80 on machines with this GPU"
        raise refuse(f"hw={hardware.name}", problem, fix)
    return [
        f"gcloud container node-pools create {hardware.name} --cluster=tapeline {where}"
        f" --machine-type={MACHINES[card.model]} --num-nodes=0 --enable-autoscaling --min-nodes=0 --max-nodes=1"
        f" --accelerator=type={card.model},count={card.count},gpu-driver-version=default"
    ]


ZONE = "europe-west4-a"
REQUEUE = "2s"
"""Between two looks of Argo at a run. Its own default is 10 s; below 1 s it would see its own changes too late."""


def _place(options: Mapping[str, str]) -> tuple[str, str]:
    """The project, and the flags that name it and the zone."""
    given = {"project": options.get("project", ""), "zone": options.get("zone", ZONE)}
    for key, value in given.items():
        if not re.fullmatch(r"[a-z][a-z0-9-]*", value):
            problem = f"{value} is not valid" if value else "is missing"
            raise refuse(key, problem, f"write {key}=ID; gcloud {key}s list shows the IDs")
    return given["project"], " ".join(f"--{key}={value}" for key, value in given.items())


def _engine(options: Mapping[str, str]) -> list[str]:
    """Argo, or Kubeflow Pipelines, which includes Argo: two of them would run each other's workflows."""
    if options.get("engine") == "kfp":
        return _kfp()
    release = f"https://github.com/argoproj/argo-workflows/releases/download/v{ARGO}/install.yaml"
    return [
        "kubectl create namespace argo",
        f"kubectl apply --server-side -n argo -f {release}",
        # By default Argo looks at a run every 10 s, and a run has nine pods one after the other
        f"kubectl -n argo set env deployment/workflow-controller DEFAULT_REQUEUE_TIME={REQUEUE}",
        "kubectl -n argo rollout status deployment/workflow-controller --timeout=300s",
    ]


def _kfp() -> list[str]:
    """A plain KFP whose images have its version, and whose pods may write to claims."""
    source = "github.com/kubeflow/pipelines/manifests/kustomize"
    return [
        f"kubectl apply -k '{source}/cluster-scoped-resources?ref={KFP}'",
        "kubectl wait --for=condition=established --timeout=60s crd/applications.app.k8s.io",
        # env/dev has the images of the main branch
        f"kubectl apply -k '{source}/env/platform-agnostic?ref={KFP}'",
        f"kubectl -n kubeflow set env deployment/ml-pipeline {shlex.quote(f'{PATCH}={SPEC_PATCH}')}",
        "kubectl -n kubeflow rollout status deployment/ml-pipeline --timeout=600s",
    ]


def _run(words: Sequence[str]) -> None:
    try:
        code = subprocess.run(words, cwd=conf.root(), check=False).returncode
    except FileNotFoundError:
        raise refuse(words[0], "is not installed", "install it, or run the printed commands where it is") from None
    if code:
        raise refuse(
            shlex.join(words[:4]), f"ended with {code}", "correct what it printed above, and continue from that line"
        )
