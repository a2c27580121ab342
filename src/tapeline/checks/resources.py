"""What a pod asks of its node: processors, memory, cards, an image, volumes."""

from __future__ import annotations

from collections.abc import Iterator

from tapeline.checks.nodes import Node
from tapeline.checks.pods import Pod, Rule
from tapeline.checks.words import quantity, why_not_fixed
from tapeline.errors import Finding, nearest

GKE = "cloud.google.com/gke-accelerator"
ACCELERATORS = (
    *("nvidia-tesla-k80", "nvidia-tesla-p4", "nvidia-tesla-p100", "nvidia-tesla-v100", "nvidia-tesla-t4"),
    *("nvidia-l4", "nvidia-tesla-a100", "nvidia-a100-80gb", "nvidia-h100-80gb", "nvidia-h100-mega-80gb"),
    *("nvidia-h200-141gb", "nvidia-b200"),
)
"""What GKE puts into that label."""
GPU = "nvidia.com/gpu"
KINDS = ("cpu", "memory", "ephemeral-storage", GPU, "amd.com/gpu", "google.com/tpu")


def resources_are_told(pod: Pod) -> Iterator[Finding]:
    """A pod without them is the first that a full node evicts, or fills the node."""
    for container in pod.containers:
        for side, kind in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
            node = container.at("resources", side, kind)
            default = side == "requests" and container.at("resources", "limits", kind).value is not None
            if node.value is None and not default:
                yield node.wrong("is missing", "say how much the container needs")


def requests_are_within_limits(pod: Pod) -> Iterator[Finding]:
    """The API server refuses others."""
    for container in pod.containers:
        for node in container.at("resources", "requests").each():
            limit = container.at("resources", "limits", node.key).value
            asked, most = quantity(node.value), quantity(limit)
            if asked is not None and most is not None and asked > most:
                yield node.wrong(f"{node.value} is more than the limit {limit}", "lower it, or raise the limit")


def resources_exist(pod: Pod) -> Iterator[Finding]:
    """Names of resources that no node offers."""
    for side, kind, node in _resources(pod):
        if kind not in KINDS and not kind.startswith("hugepages-"):
            fix = nearest(kind, KINDS, otherwise=f"use one of: {', '.join(KINDS)}")
            yield node.wrong(f"no node has {kind} to give for {side}", fix)


def cards_are_whole(pod: Pod) -> Iterator[Finding]:
    """Kubernetes gives no half of a GPU."""
    for _, kind, node in _resources(pod):
        amount = quantity(node.value)
        if "/" in kind and amount is not None and amount.denominator != 1:
            yield node.wrong(f"{node.value} is no whole number of cards", "ask for 1 or more")


def _resources(pod: Pod) -> Iterator[tuple[str, str, Node]]:
    for container in pod.containers:
        for side in ("requests", "limits"):
            for node in container.at("resources", side).each():
                yield side, node.key, node


def accelerator_is_known(pod: Pod) -> Iterator[Finding]:
    """With a misspelt label a pod waits for ever."""
    node = pod.key("nodeSelector", GKE)
    if node.value is not None and node.value not in ACCELERATORS:
        fix = nearest(str(node.value), ACCELERATORS, otherwise=f"use one of: {', '.join(ACCELERATORS)}")
        yield node.wrong(f"GKE has no card {node.value}", fix)


def cards_are_asked_for_where_they_are(pod: Pod) -> Iterator[Finding]:
    """Nodes with cards turn pods away that do not tolerate them; without the resource no pod sees a card."""
    asked = {kind for _, kind, _ in _resources(pod)}
    tolerates = any(each.at("key").value in (GPU, None) for each in pod.all("tolerations"))
    selector = pod.key("nodeSelector", GKE)
    if GPU in asked and not tolerates:
        fix = f"add {{key: {GPU}, operator: Exists, effect: NoSchedule}}"
        yield pod.key("tolerations").wrong(f"nodes with {GPU} turn the pod away", fix)
    if selector.value is not None and asked <= {"cpu", "memory", "ephemeral-storage"}:
        yield selector.wrong("the pod would see no card", f"ask for {GPU} in resources.limits")


def image_stays_the_same(pod: Pod) -> Iterator[Finding]:
    """What was tested is what runs."""
    for container in pod.containers:
        image = container.at("image")
        if not image.text:
            yield image.wrong("is missing", "name an image with its version")
        elif why := why_not_fixed(image.text):
            yield image.wrong(f"{image.text} {why}", "give a version, as :1.2.3, or a digest")


def mounts_have_volumes(pod: Pod) -> Iterator[Finding]:
    """A mount names a volume of its pod, and no two share a path."""
    known = [str(each.at("name").value) for each in (*pod.all("volumes"), *pod.all("volumeClaimTemplates"))]
    known += [str(each.at("metadata", "name").value) for each in pod.all("volumeClaimTemplates")]
    for container in pod.containers:
        seen: set[object] = set()
        for mount in container.at("volumeMounts").each():
            name, path = str(mount.at("name").value), mount.at("mountPath")
            if name not in known:
                yield mount.at("name").wrong(f"the pod has no volume {name}", nearest(name, known, otherwise="add it"))
            if path.value in seen:
                yield path.wrong(f"two volumes are mounted at {path.value}", "choose another path")
            seen.add(path.value)


def names_are_given_once(pod: Pod) -> Iterator[Finding]:
    """The later one of a pair would be refused, or win in silence."""
    for container in pod.containers:
        yield from _twice(container.at("env"))
        yield from _twice(container.at("ports"))
    for level in pod.levels:
        yield from _twice(level.at("volumes"))
        yield from _twice(level.at("containers"))


def _twice(several: Node) -> Iterator[Finding]:
    names = several.names()
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield several.wrong(f"{name} occurs {names.count(name)} times", "leave one")


RULES: tuple[Rule, ...] = (
    resources_are_told,
    requests_are_within_limits,
    resources_exist,
    cards_are_whole,
    accelerator_is_known,
    cards_are_asked_for_where_they_are,
    image_stays_the_same,
    mounts_have_volumes,
    names_are_given_once,
)
