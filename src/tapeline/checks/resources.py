"""What a pod needs: CPU, memory, GPUs, images, volumes."""

from __future__ import annotations

from collections.abc import Iterator

from tapeline.checks.nodes import Node
from tapeline.checks.pods import Pod, Rule
from tapeline.checks.syntax import mutable_image, quantity
from tapeline.errors import Finding, nearest

GKE = "cloud.google.com/gke-accelerator"
ACCELERATORS = (
    *("nvidia-tesla-k80", "nvidia-tesla-p4", "nvidia-tesla-p100", "nvidia-tesla-v100", "nvidia-tesla-t4"),
    *("nvidia-l4", "nvidia-tesla-a100", "nvidia-a100-80gb", "nvidia-h100-80gb", "nvidia-h100-mega-80gb"),
    *("nvidia-h200-141gb", "nvidia-b200"),
)
"""The values of that label on GKE."""
GPU = "nvidia.com/gpu"
KINDS = ("cpu", "memory", "ephemeral-storage", GPU, "amd.com/gpu", "google.com/tpu")


def resources_are_set(pod: Pod) -> Iterator[Finding]:
    """Requests and the memory limit are set; otherwise a pod is evicted first, or fills the node."""
    for container in pod.containers:
        for side, kind in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
            node = container.at("resources", side, kind)
            default = side == "requests" and container.at("resources", "limits", kind).value is not None
            if node.value is None and not default:
                yield node.wrong("is missing", "set what the container needs, for example 500m or 2Gi")


def requests_are_within_limits(pod: Pod) -> Iterator[Finding]:
    """The API server refuses requests above the limits."""
    for container in pod.containers:
        for node in container.at("resources", "requests").each():
            limit = container.at("resources", "limits", node.key).value
            asked, most = quantity(node.value), quantity(limit)
            if asked is not None and most is not None and asked > most:
                yield node.wrong(f"{node.value} is more than the limit {limit}", "lower it, or raise the limit")


def resources_exist(pod: Pod) -> Iterator[Finding]:
    """Resource names exist."""
    for _, kind, node in _resources(pod):
        if kind not in KINDS and not kind.startswith("hugepages-"):
            fix = nearest(kind, KINDS, otherwise=f"use one of: {', '.join(KINDS)}")
            yield node.wrong(f"no node has the resource {kind}", fix)


def gpus_are_whole(pod: Pod) -> Iterator[Finding]:
    """GPUs are requested in whole numbers."""
    for _, kind, node in _resources(pod):
        amount = quantity(node.value)
        if "/" in kind and amount is not None and amount.denominator != 1:
            yield node.wrong(f"{node.value} is not a whole number of GPUs", "request 1 or more")


def _resources(pod: Pod) -> Iterator[tuple[str, str, Node]]:
    for container in pod.containers:
        for side in ("requests", "limits"):
            for node in container.at("resources", side).each():
                yield side, node.key, node


def accelerator_is_known(pod: Pod) -> Iterator[Finding]:
    """The label of the GPU exists on GKE; with a wrong one a pod is never scheduled."""
    node = pod.key("nodeSelector", GKE)
    if node.value is not None and node.value not in ACCELERATORS:
        fix = nearest(str(node.value), ACCELERATORS, otherwise=f"use one of: {', '.join(ACCELERATORS)}")
        yield node.wrong(f"GKE has no GPU {node.value}", fix)


def gpus_are_requested_and_tolerated(pod: Pod) -> Iterator[Finding]:
    """A pod on a GPU node requests the GPU and tolerates the node's taint."""
    asked = {kind for _, kind, _ in _resources(pod)}
    tolerates = any(each.at("key").value in (GPU, None) for each in pod.all("tolerations"))
    selector = pod.key("nodeSelector", GKE)
    if GPU in asked and not tolerates:
        fix = f"add {{key: {GPU}, operator: Exists, effect: NoSchedule}}"
        yield pod.key("tolerations").wrong(f"the pod does not tolerate the taint of nodes with {GPU}", fix)
    if selector.value is not None and asked <= {"cpu", "memory", "ephemeral-storage"}:
        yield selector.wrong("the pod requests no GPU", f"set {GPU} in resources.limits")


def image_is_fixed(pod: Pod) -> Iterator[Finding]:
    """An image has a version or a digest, so that the tested image is the one that runs."""
    for container in pod.containers:
        image = container.at("image")
        if not image.text:
            yield image.wrong("is missing", "write an image with its version")
        elif why := mutable_image(image.text):
            yield image.wrong(f"{image.text} {why}", "use a version or a digest, for example :1.2.3")


def mounts_have_volumes(pod: Pod) -> Iterator[Finding]:
    """Mounts name volumes of the pod, and have different paths."""
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
    """Names in a list are unique; of two, the API server refuses or drops one."""
    for container in pod.containers:
        yield from _twice(container.at("env"))
        yield from _twice(container.at("ports"))
    for level in pod.levels:
        yield from _twice(level.at("volumes"))
        yield from _twice(level.at("containers"))


def _twice(several: Node) -> Iterator[Finding]:
    names = several.names()
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield several.wrong(f"{name} occurs {names.count(name)} times", "keep one")


ABOUT = "pod"
RULES: tuple[Rule, ...] = (
    resources_are_set,
    requests_are_within_limits,
    resources_exist,
    gpus_are_whole,
    accelerator_is_known,
    gpus_are_requested_and_tolerated,
    image_is_fixed,
    mounts_have_volumes,
    names_are_given_once,
)
