"""Why a pod does not start, in words: from its containers' states and its events.

Kubernetes says most of it in events only: a pod whose Secret is missing has no message in its status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Object = Mapping[str, Any]

NORMAL = ("", "PodInitializing", "ContainerCreating")
"""Reasons of a container that waits for its turn."""
PATIENCE = 20
"""Seconds after which a pod that has not started is worth a word, also without a warning."""

_OUTSIDE = "create it; deploy/kustomize/outside.yaml lists what an overlay does not create"
WORDS = (
    (r'secret "([^"]+)" not found', "there is no Secret {0}; " + _OUTSIDE),
    (
        r"references non-existent secret key: (\S+)",
        "a Secret has no key {0}; add it to the Secret that its volume names",
    ),
    (r"couldn't find key (\S+) in Secret (\S+)", "Secret {1} has no key {0}; add it"),
    (r'configmap "([^"]+)" not found', "there is no ConfigMap {0}; apply an overlay of deploy/kustomize"),
    (r"couldn't find key (\S+) in ConfigMap (\S+)", "ConfigMap {1} has no key {0}; add it"),
    (r'persistentvolumeclaim "([^"]+)" not found', "there is no claim {0}; apply an overlay of deploy/kustomize"),
    (r"unbound immediate PersistentVolumeClaims", "a claim has no volume yet; see kubectl get pvc"),
    (r"didn't find available persistent volumes", "no volume fits a claim; see kubectl get pvc, and add a volume"),
    (
        r"Multi-Attach error for volume \"([^\"]+)\"",
        "volume {0} is in use on another node, and its claim is ReadWriteOnce; wait until the other pod ends, or use a "
        "claim with ReadWriteMany",
    ),
    (
        r'(?:pull|pulling) image "([^"]+)"',
        "image {0} cannot be pulled; push it, correct target.image or hw.image, or set target.pull_secret",
    ),
    (r"image \"([^\"]+)\" is not present", "image {0} is not on the node; load it there, or set target.pull_policy"),
    (r"(?:ErrImage|ImagePull|InvalidImageName)\w*", "its image cannot be pulled; correct target.image or hw.image"),
    (r"exceeded quota: (\S+?),", "quota {0} of the namespace is used up; wait until other runs end, or raise it"),
    (r'admission webhook "([^"]+)" denied the request: (.*)', "admission webhook {0} refuses its pod: {1}"),
    (r'violates PodSecurity "([^"]+)": (.*)', "Pod Security {0} refuses its pod: {1}"),
    (r'(?:service account|serviceaccount)s? "?([\w./-]+)"? (?:was )?not found', "there is no service account {0}"),
    (
        r"Waiting for \S+/ConfigMap/(\S+)/(\S+) lock\. Lock status: \d+/(\d+)",
        "another run has the GPU: ConfigMap {0} allows {2} at a time with hw={1}",
    ),
    (r"Insufficient (nvidia\.com/gpu)", "no node has a free GPU ({0}); wait, or add a node"),
    (
        r"didn't match Pod's node affinity/selector",
        "no node has the labels that it asks for; add one, or choose another hw",
    ),
    (r"untolerated taint \{([^}]*)\}", "the nodes have the taint {0}; add one without it"),
    (r"Insufficient ([\w./-]+)", "no node has enough {0} free; wait, add a node, or ask for less"),
)
"""Patterns in what Kubernetes and Argo say, and what that means; the first match counts."""


def words(said: str) -> str:
    """What a message of the cluster means, with its first line where it is not known."""
    text = " ".join(said.split())
    for pattern, sentence in WORDS:
        if found := re.search(pattern, text):
            return sentence.format(*(each.rstrip(".") for each in found.groups()))
    return text


def waiting(pod: Object) -> str:
    """What the state of its containers and its conditions say about a pod that has not started; "" if nothing."""
    status = pod.get("status", {})
    for each in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        state = each.get("state", {}).get("waiting", {})
        if state.get("reason", "") not in NORMAL:
            return f"{state['reason']}: {state.get('message', '')}"
    for each in status.get("conditions", ()):
        if each.get("reason") == "Unschedulable":
            return str(each.get("message", ""))
    return ""


def at_work(pod: Object) -> bool:
    """Whether one of its containers runs."""
    status = pod.get("status", {})
    states = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return any("running" in each.get("state", {}) for each in states)


def from_events(pod: Object, events: Sequence[Object], now: datetime | None = None) -> str:
    """The last warning among a pod's events; without one, after some seconds, the last event; "" if all is well.

    Args:
        pod: the object.
        events: of this pod, the oldest first.
        now: the time; null: the present.
    """
    warnings = [each for each in events if each.get("type") == "Warning"]
    if warnings:
        return str(warnings[-1].get("message", ""))
    created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    if ((now or datetime.now(UTC)) - created).total_seconds() < PATIENCE:
        return ""
    if events:
        return str(events[-1].get("message", ""))
    name = pod["metadata"]["name"]
    return f"its pod has not started, and nothing says why; see kubectl describe pod {name}"
