"""Whether a sweep fits the ResourceQuota of its namespace: the pods that may run at once, and what they ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from tapeline.checks.composed import composed
from tapeline.checks.references import Rule, Tree
from tapeline.checks.syntax import quantity
from tapeline.config.schema import Argo
from tapeline.errors import Finding

Object = Mapping[str, Any]
Locks = tuple[tuple[str, str], ...]
Limits = Mapping[tuple[str, str], int]
"""How many pods a semaphore allows at once, by the name of its ConfigMap and the key in it."""

SIDECAR = ({"cpu": "50m", "memory": "64Mi"}, {"cpu": "500m", "memory": "512Mi"})
"""Requests and limits of Argo's container beside the step where no LimitRange sets them: those of deploy/kustomize."""


def above(
    hard: Object, templates: Sequence[Object], parallelism: int, sidecar: Object, limits: Limits
) -> Iterator[tuple[str, str]]:
    """Each resource of a quota that the pods of a sweep exceed, and a sentence with both numbers.

    Args:
        hard: `spec.hard` of the quota.
        templates: of the workflow.
        parallelism: the largest number of pods at once.
        sidecar: requests and limits of Argo's own container, as `resources` has them.
        limits: of semaphores.
    """
    pods = [each for each in templates if isinstance(each.get("container"), Mapping)]
    for name, allowed in hard.items():
        most = quantity(allowed)
        asked = [(_asked(name, each, sidecar), locks_of(each)) for each in pods]
        needed = _most(asked, parallelism, limits)
        if most is not None and needed > most:
            largest = _shown(name, max(amount for amount, _ in asked))
            one = "" if name == "pods" else f" of at most {largest}"
            yield name, f"{parallelism} pods{one} need {_shown(name, needed)} {name}, and the quota is {allowed}"


def _asked(name: str, template: Object, sidecar: Object) -> Fraction:
    """What a pod counts for a resource of a quota."""
    if name == "pods":
        return Fraction(1)
    side, _, kind = name.rpartition(".") if name.count("/") == 0 else name.partition(".")
    side = side or "requests"
    if "/" not in name and kind not in ("cpu", "memory", "ephemeral-storage"):
        return Fraction(0)
    own = template["container"].get("resources", {}).get(side, {}).get(kind, "0")
    beside = sidecar.get(side, {}).get(kind, "0")
    return (quantity(own) or Fraction(0)) + (quantity(beside) or Fraction(0))


def _most(asked: Sequence[tuple[Fraction, Locks]], parallelism: int, limits: Limits) -> Fraction:
    """The largest sum of what so many pods ask for; pods with a GPU wait for their turn."""
    room, whole, left = parallelism, Fraction(0), dict(limits)
    for amount, locks in sorted(asked, reverse=True):
        number = min([room, *(left[lock] for lock in locks if lock in left)])
        room, whole = room - number, whole + amount * number
        left |= {lock: left[lock] - number for lock in locks if lock in left}
    return whole


def locks_of(template: Object) -> Locks:
    """ConfigMap and key of each semaphore of a template."""
    found = (each["configMapKeyRef"] for each in template.get("synchronization", {}).get("semaphores", ()))
    return tuple((each["name"], each["key"]) for each in found)


def _shown(name: str, amount: Fraction) -> str:
    return f"{float(amount / 2**30):g}Gi" if name.endswith(("memory", "storage")) else f"{float(amount):g}"


def limits_of(maps: Mapping[str, Object]) -> dict[tuple[str, str], int]:
    """How many pods each semaphore allows at once, from the data of ConfigMaps by name."""
    return {
        (name, key): int(value)
        for name, data in maps.items()
        for key, value in data.items()
        if str(value).strip().isdecimal()
    }


def sidecar_of(ranges: Sequence[Object]) -> Object:
    """Requests and limits of a container that names none, by the LimitRanges of its namespace."""
    for each in (limit for one in ranges for limit in one["spec"].get("limits", ())):
        if each.get("type") == "Container":
            return {"requests": each.get("defaultRequest", {}), "limits": each.get("default", {})}
    return dict(zip(("requests", "limits"), SIDECAR, strict=True))


def sweeps_fit(tree: Tree) -> Iterator[Finding]:
    """A sweep with `target.parallelism` of conf/target/argo.yaml fits, with the pods of the tree's templates.

    Its jobs have one hardware profile, so that pods with a GPU wait for one semaphore.
    """
    quotas = tree.of("ResourceQuota")
    templates = [
        each.value for document in tree.of("WorkflowTemplate") for each in document.at("spec", "templates").each()
    ]
    if not quotas or not templates:
        return
    target = composed(["target=argo"]).target
    assert isinstance(target, Argo)
    limits = limits_of(
        {str(each.at("metadata", "name").value): each.at("data").mapping for each in tree.of("ConfigMap")}
    )
    sidecar = sidecar_of([each.value for each in tree.of("LimitRange")])
    kinds = dict.fromkeys(map(locks_of, templates))
    for hard, kind in ((quota.at("spec", "hard"), kind) for quota in quotas for kind in kinds):
        own = [each for each in templates if locks_of(each) in ((), kind)]
        for name, sentence in above(hard.mapping, own, target.parallelism, sidecar, limits):
            fix = f"raise it, or lower target.parallelism={target.parallelism}"
            yield hard.at(name).wrong(f"of a sweep, {sentence}", fix)


ABOUT = "tree"
RULES: tuple[Rule, ...] = (sweeps_fit,)
