"""Where KFP will run something, and what is missing there, before a run is created.

A plain KFP runs everything in its own namespace, whatever a client says; one with many users runs it in their profiles.
What the namespace lacks is asked by kubectl, as far as its context is this cluster and may be asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tapeline.clusters import kubectl
from tapeline.clusters.kfp.pipeline import FS_GROUP
from tapeline.clusters.plan import Plan
from tapeline.config.schema import Kfp
from tapeline.errors import Finding, Refused

OWN = {False: "pipeline-runner", True: "default-editor"}
"""KFP's own account of runs: in a plain KFP, and in the namespace of a profile."""
SERVER = "ml-pipeline"
"""The Service and the Deployment of KFP's API server."""
LAUNCHER, STORE = "kfp-launcher", "mlpipeline-minio-artifact"
"""ConfigMap and Secret that driver and launcher read with the account of the run."""
RIGHTS = (
    ("get", "", "configmaps", LAUNCHER),
    ("get", "", "secrets", STORE),
    ("create", "argoproj.io", "workflowtaskresults", ""),
)
"""What that account must be allowed to do: verb, API group, resource and name."""


@dataclass(frozen=True)
class Place:
    """Where a run will be."""

    namespace: str
    account: str
    many_users: bool

    def __str__(self) -> str:
        why = "a profile, since this KFP has many users" if self.many_users else "this KFP runs everything in its own"
        return f"namespace {self.namespace} ({why}), account {self.account}"


def place(target: Kfp, *, many_users: bool) -> Place:
    """Where a run of this configuration will be."""
    return Place(target.namespace, target.account or OWN[many_users], many_users)


def wanted(plan: Plan, where: Place) -> dict[tuple[str, str], str]:
    """By kind and name of an object that the namespace needs: the key of the configuration that names it."""
    keys = [key for key in type(plan.target).model_fields if key.endswith(("_claim", "_secret"))]
    names = {getattr(plan.target, key): key for key in keys}
    found: dict[tuple[str, str], str] = {("serviceaccount", where.account): "account"}
    for task in plan.tasks:
        found |= {("persistentvolumeclaim", each.claim): names[each.claim] for each in task.mounts}
        found |= {("secret", each.name): names[each.name] for each in task.secrets}
    if plan.target.pull_secret:
        found["secret", plan.target.pull_secret] = "pull_secret"
    return found


def check(plan: Plan, where: Place) -> list[str]:
    """Refuse a run that cannot start; return sentences about what is not certain.

    Raises:
        Refused: all that is missing, or a namespace in which this KFP runs nothing.
    """
    objects = wanted(plan, where)
    listed = ", ".join(f"{kind} {name}" for kind, name in objects)
    try:
        there = kubectl.readable("", "namespace", where.namespace)
    except Refused as error:
        return [f"not checked whether namespace {where.namespace} has {listed} ({error.findings[0].problem})"]
    servers = _servers()
    if finding := _other_namespace(where, servers):
        raise Refused(finding)
    if there is None:
        what = f"the cluster of kubectl's context has no namespace {where.namespace}"
        return [f"{what}, so it was not checked whether that has {listed}"]
    if findings := [*_missing(objects, where), *_not_allowed(objects, where)]:
        raise Refused(*findings)
    return list(_not_writable(plan, servers))


def _servers() -> list[str]:
    """The namespaces that have KFP's API server, as far as kubectl's account may know."""
    which = f"--field-selector=metadata.name={SERVER}"
    try:
        found = json.loads(kubectl.run("get", "services", "--all-namespaces", which, "-o=json"))["items"]
    except Refused:
        return []
    return [str(each["metadata"]["namespace"]) for each in found]


def _other_namespace(where: Place, servers: Sequence[str]) -> Finding | None:
    given = f"target.namespace={where.namespace}"
    if where.many_users and where.namespace in servers:
        fix = "set target.namespace to your profile, for example target.namespace=tapeline"
        return Finding(given, "this KFP has many users, and runs nothing in its own namespace", fix)
    if servers and not where.many_users and where.namespace not in servers:
        problem = f"this KFP runs everything in its own namespace, {servers[0]}"
        return Finding(given, problem, f"set target.namespace={servers[0]}")
    return None


def _missing(objects: Mapping[tuple[str, str], str], where: Place) -> Iterator[Finding]:
    for (kind, name), key in objects.items():
        if kubectl.readable(where.namespace, kind, name) is None:
            fix = f"create it there, or name another with target.{key}"
            if key == "models_claim":
                fix = f"set serving.store=s3://bucket/models, or {fix}"
            yield Finding(f"{kind} {name}", f"is not in namespace {where.namespace}, where KFP runs", fix)


def _not_allowed(objects: Mapping[tuple[str, str], str], where: Place) -> Iterator[Finding]:
    """Rights that an account lacks; KFP's own has them."""
    if where.account == OWN[where.many_users]:
        return
    for verb, group, resource, name in RIGHTS:
        if name == STORE and kubectl.readable(where.namespace, "secret", STORE) is None:
            continue  # kfp-launcher names another one
        if not _may(where, {"verb": verb, "group": group, "resource": resource, "name": name}):
            problem = f"may not {verb} {resource} {name}".rstrip() + f" in namespace {where.namespace}"
            fix = "add deploy/kustomize/components/with-kfp, which has the Role, or set target.account=null"
            yield Finding(f"target.account={where.account}", problem, fix)


def _may(where: Place, what: Mapping[str, str]) -> bool:
    """Whether the account may do something; true where kubectl's account may not ask."""
    user = f"system:serviceaccount:{where.namespace}:{where.account}"
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": {**what, "namespace": where.namespace}},
    }
    try:
        answer = json.loads(kubectl.run("create", "-f=-", "-o=json", stdin=json.dumps(review)))
    except Refused:
        return True
    return bool(answer.get("status", {}).get("allowed"))


def _not_writable(plan: Plan, servers: Sequence[str]) -> Iterator[str]:
    """Said of a claim that publish writes to: whether our user may write there depends on its volume."""
    claims = {mount.claim for task in plan.tasks for mount in task.mounts if not mount.read_only}
    for namespace in servers[:1] if claims else ():
        deployment = kubectl.readable(namespace, "deployment", SERVER)
        if deployment and "fsGroup" not in json.dumps(deployment.get("spec", {})):
            yield f"pods of this KFP have no fsGroup, so claim {', '.join(claims)} may not be writable: {FS_GROUP}"
