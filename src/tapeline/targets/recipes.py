"""The commands that make a cluster on which the overlays work, and remove it.

tapeline cluster provider=kind        tapeline cluster provider=gke hw=gpu-t4 project=my-project run=true

They are printed to be read, changed and pasted; `run=true` runs them, one after the other.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tapeline import conf
from tapeline.config import Config, Hardware
from tapeline.errors import refuse

Command = Sequence[str]

ARGO, KFP = "v4.0.10", "2.17.0"
OVERLAYS = Path("deploy") / "kustomize" / "overlays"
MACHINES = {
    "nvidia-tesla-t4": "n1-standard-4",
    "nvidia-l4": "g2-standard-8",
    "nvidia-tesla-a100": "a2-highgpu-1g",
    "nvidia-h100-80gb": "a3-highgpu-1g",
}
"""What GKE sells a card in."""
GOOGLE = "199.36.153.8,199.36.153.9,199.36.153.10,199.36.153.11"
"""private.googleapis.com, which overlay gke-cpu lets the steps reach."""


def make(config: Config, own: Mapping[str, str]) -> None:
    """Print the commands that make a cluster, or run them.

    Args:
        config: says which card, and which image of the steps.
        own: provider, engine, project, zone and run.

    Raises:
        Refused: the provider does not have the card, or a command fails.
    """
    provider = _provider(own)
    commands = _kind(config) if provider == "kind" else _gke(config.hw, own)
    overlay = "laptop" if provider == "kind" else "gke-gpu" if config.hw.accelerator else "gke-cpu"
    _out([*commands, *_engine(own)], own)
    print(f"# next: kubectl apply -k {OVERLAYS / overlay}")


def remove(own: Mapping[str, str]) -> None:
    """Print the commands that remove it, or run them."""
    if _provider(own) == "kind":
        _out([("kind", "delete", "cluster", "--name", "tapeline")], own)
        return
    project, where = _place(own)
    _out([("gcloud", "container", "clusters", "delete", "tapeline", *where, "--quiet")], own)
    print(f"# what costs and stays: volumes that were retained, and the bucket gs://{project}-tapeline")


def _provider(own: Mapping[str, str]) -> str:
    if "provider" not in own:
        raise refuse("provider", "is not named", "write provider=kind or provider=gke")
    return own["provider"]


def _kind(config: Config) -> list[Command]:
    """Its own network plugin keeps to NetworkPolicies from kind 0.24 on."""
    if config.hw.accelerator:
        fix = "use provider=gke, or overlay onprem-k80 on machines that have the card"
        raise refuse(f"hw={config.hw.name}", "kind gives pods no GPU", fix)
    return [
        ("kind", "create", "cluster", "--name", "tapeline", "--wait", "120s"),
        ("kind", "load", "docker-image", config.hw.image, "--name", "tapeline"),
    ]


def _gke(hardware: Hardware, own: Mapping[str, str]) -> list[Command]:
    """A cluster that enforces NetworkPolicies, with Workload Identity, Filestore, a bucket, and a pool for the card."""
    project, where = _place(own)
    pool = _pool(hardware, where)
    account, bucket = f"tapeline@{project}.iam.gserviceaccount.com", f"gs://{project}-tapeline"
    region = own.get("zone", ZONE).rpartition("-")[0]
    members = (f"{project}.svc.id.goog[tapeline/tapeline-{role}]" for role in ("runner", "publisher"))
    return [
        ("gcloud", "container", "clusters", "create", "tapeline", *where, "--num-nodes=2",
         "--machine-type=e2-standard-4", "--enable-dataplane-v2", f"--workload-pool={project}.svc.id.goog", "--addons=GcpFilestoreCsiDriver"),
        ("gcloud", "container", "clusters", "get-credentials", "tapeline", *where),
        *pool,
        ("gcloud", "storage", "buckets", "create", bucket, f"--project={project}", f"--location={region}",
         "--uniform-bucket-level-access"),
        ("gcloud", "iam", "service-accounts", "create", "tapeline", f"--project={project}"),
        ("gcloud", "storage", "buckets", "add-iam-policy-binding", bucket, f"--member=serviceAccount:{account}",
         "--role=roles/storage.objectUser"),
        *(("gcloud", "iam", "service-accounts", "add-iam-policy-binding", account, f"--project={project}",
           f"--member=serviceAccount:{member}", "--role=roles/iam.workloadIdentityUser") for member in members),
        *_private_access(project),
    ]  # fmt: skip


def _private_access(project: str) -> list[Command]:
    """Google's APIs at addresses that a NetworkPolicy can name."""
    zone, name = "--zone=googleapis", "googleapis.com."
    records = ("gcloud", "dns", "record-sets", "create")
    return [
        ("gcloud", "dns", "managed-zones", "create", "googleapis", f"--project={project}", f"--dns-name={name}",
         "--visibility=private", "--networks=default", "--description=private.googleapis.com"),
        (*records, f"private.{name}", f"--project={project}", zone, "--type=A", "--ttl=300", f"--rrdatas={GOOGLE}"),
        (*records, f"*.{name}", f"--project={project}", zone, "--type=CNAME", "--ttl=300", f"--rrdatas=private.{name}"),
    ]  # fmt: skip


def _pool(hardware: Hardware, where: Command) -> list[Command]:
    """Nodes with the profile's card, which go when nobody needs them."""
    card = hardware.accelerator
    if card is None:
        return []
    if card.end_of_life or card.model not in MACHINES:
        problem = f"GKE has sold no {card.model} since {card.end_of_life}" if card.end_of_life else "is none of GKE's"
        raise refuse(
            f"hw={hardware.name}", problem, "use hw=gpu-t4, or overlay onprem-k80 on machines that have the card"
        )
    return [
        ("gcloud", "container", "node-pools", "create", hardware.name, "--cluster=tapeline", *where,
         f"--machine-type={MACHINES[card.model]}", "--num-nodes=0", "--enable-autoscaling",
         "--min-nodes=0", "--max-nodes=1", f"--accelerator=type={card.model},count={card.count},gpu-driver-version=default"),
    ]  # fmt: skip


ZONE = "europe-west4-a"


def _place(own: Mapping[str, str]) -> tuple[str, Command]:
    if not own.get("project"):
        raise refuse("project", "is not named", "write project=ID, as gcloud projects list shows it")
    return own["project"], (f"--project={own['project']}", f"--zone={own.get('zone', ZONE)}")


def _engine(own: Mapping[str, str]) -> list[Command]:
    """Argo, or Kubeflow Pipelines, which brings an Argo of its own; two would run each other's workflows."""
    if own.get("engine") == "kfp":
        source = "github.com/kubeflow/pipelines/manifests/kustomize"
        return [
            ("kubectl", "apply", "-k", f"{source}/cluster-scoped-resources?ref={KFP}"),
            ("kubectl", "wait", "--for=condition=established", "--timeout=60s", "crd/applications.app.k8s.io"),
            ("kubectl", "apply", "-k", f"{source}/env/dev?ref={KFP}"),
        ]
    release = f"https://github.com/argoproj/argo-workflows/releases/download/{ARGO}/install.yaml"
    return [
        ("kubectl", "create", "namespace", "argo"),
        ("kubectl", "apply", "--server-side", "-n", "argo", "-f", release),
        ("kubectl", "-n", "argo", "rollout", "status", "deployment/workflow-controller", "--timeout=300s"),
    ]


def _out(commands: Sequence[Command], own: Mapping[str, str]) -> None:
    for words in commands:
        print(shlex.join(words), flush=True)
        if own.get("run") == "true":
            _run(words)


def _run(words: Command) -> None:
    try:
        code = subprocess.run(words, cwd=conf.root(), check=False).returncode
    except FileNotFoundError:
        raise refuse(words[0], "is not installed here", "install it, or paste the commands where it is") from None
    if code:
        raise refuse(
            shlex.join(words[:4]), f"ended with {code}", "mend what it says above, and go on from that command"
        )
