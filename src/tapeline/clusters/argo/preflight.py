"""What can be known to be missing before a run is created: objects, keys of Secrets, volumes, GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tapeline.clusters import kubectl
from tapeline.clusters.argo import repository
from tapeline.clusters.plan import Plan, Task
from tapeline.errors import Finding, Refused

Object = Mapping[str, Any]


def check(plan: Plan, spec: Object) -> None:
    """Check what the spec of a run needs in its namespace; what this account may not read is not checked.

    Raises:
        Refused: all that is missing.
    """
    namespace = plan.target.namespace
    findings = kubectl.missing(namespace, named(spec, plan))
    if not any(each.where.startswith("target.namespace") for each in findings):
        findings += [*repository.findings(namespace), *_gpus(plan, spec), *_claims(namespace, spec)]
    if findings:
        raise Refused(*findings)


def needs(tasks: Iterable[Task], plan: Plan) -> dict[tuple[str, str], str]:
    """Objects that the namespace needs, with the key of the configuration that names each."""
    target, wanted = plan.target, dict[tuple[str, str], str]()
    names = _names(plan)
    for task in tasks:
        wanted |= {("persistentvolumeclaim", each.claim): names[each.claim] for each in task.mounts}
        wanted |= {("secret", each.name): names[each.name] for each in task.secrets}
        if task.account:
            wanted[("serviceaccount", task.account)] = names[task.account]
    if target.pull_secret:
        wanted[("secret", target.pull_secret)] = "target.pull_secret"
    return wanted


def _names(plan: Plan) -> dict[str | None, str]:
    """The key of the configuration that names an object."""
    keys = (
        *("models_claim", "data_claim", "cache_claim"),
        *("store_secret", "store_read_secret", "data_secret", "cache_secret", "pull_secret"),
        *("runner", "publisher", "executor", "semaphore"),
    )
    return {getattr(plan.target, key, None): f"target.{key}" for key in keys}


def named(spec: Object, plan: Plan) -> dict[tuple[str, str], str]:
    """The same as `needs`, of the spec of a workflow: an overlay may have changed the names."""
    names, wanted = _names(plan), dict[tuple[str, str], str]()
    for kind, name in _referred(spec):
        wanted[(kind, name)] = names.get(name, "the WorkflowTemplate")
    return wanted


def _referred(spec: Object) -> Iterator[tuple[str, str]]:
    accounts = [spec, spec.get("executor", {}), *spec.get("templates", ())]
    for each in spec.get("templates", ()):
        for volume in each.get("volumes", ()):
            if claim := volume.get("persistentVolumeClaim"):
                yield "persistentvolumeclaim", claim["claimName"]
        for variable in each.get("container", {}).get("env", ()):
            if secret := variable.get("valueFrom", {}).get("secretKeyRef"):
                yield "secret", secret["name"]
        for name, _ in _semaphores(each):
            yield "configmap", name
    yield from (("serviceaccount", each["serviceAccountName"]) for each in accounts if each.get("serviceAccountName"))
    yield from (("secret", each["name"]) for each in spec.get("imagePullSecrets", ()))


def _semaphores(template: Object) -> Iterator[tuple[str, str]]:
    """Name and key of each ConfigMap that limits a template."""
    for each in template.get("synchronization", {}).get("semaphores", ()):
        yield each["configMapKeyRef"]["name"], each["configMapKeyRef"]["key"]


def _gpus(plan: Plan, spec: Object) -> Iterator[Finding]:
    """A semaphore that allows no run: Argo takes it for an error."""
    namespace = plan.target.namespace
    for name, key in dict.fromkeys(each for template in spec.get("templates", ()) for each in _semaphores(template)):
        there = kubectl.readable(namespace, "configmap", name)
        if not there:
            continue  # missing, which is said already, or not to be read
        limit = str(there.get("data", {}).get(key, "0")).strip()
        if not limit.isdecimal() or int(limit) < 1:
            said = f"{limit} runs" if key in there.get("data", {}) else "no run"
            problem = f"ConfigMap {name} in namespace {namespace} allows {said} with this profile"
            yield Finding(f"hw={key}", problem, f"add {_component(plan)} to the overlay, and apply it")


def _component(plan: Plan) -> str:
    """The Kustomize component with the GPU of the profile."""
    card = plan.config.hw.accelerator
    model = card.model.removeprefix("nvidia-").removeprefix("tesla-").partition("-")[0] if card else plan.config.hw.name
    return f"the component deploy/kustomize/components/with-gpu-{model}"


def _claims(namespace: str, spec: Object) -> Iterator[Finding]:
    """Claims that have no volume, and get none when a pod comes."""
    for kind, name in dict.fromkeys(_referred(spec)):
        claim = kubectl.readable(namespace, kind, name) if kind == "persistentvolumeclaim" else None
        phase = (claim or {}).get("status", {}).get("phase")
        if phase == "Lost" or (claim and phase == "Pending" and not _waits_for_a_pod(claim)):
            problem = f"in namespace {namespace} has no volume ({phase})"
            yield Finding(f"persistentvolumeclaim {name}", problem, f"see kubectl -n {namespace} describe pvc {name}")


def _waits_for_a_pod(claim: Object) -> bool:
    """Whether its class binds a volume when a pod uses the claim, or nobody may say."""
    name = claim["spec"].get("storageClassName")
    found = kubectl.readable("", "storageclass", name) if name else {}
    return found == {} or (found or {}).get("volumeBindingMode") == "WaitForFirstConsumer"
