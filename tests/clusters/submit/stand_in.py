"""A cluster that answers as kubectl on Kubernetes 1.34 with Argo 4.0.2 does, errors included.

The forms of nodes, pods and events are those of Argo's source and of Kubernetes' API; `tests/cluster/test_argo.py` asks
a real cluster.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tapeline.clusters import kubectl

Object = dict[str, Any]

REPOSITORY = """
s3:
  endpoint: object-store:8333
  insecure: true
  bucket: tapeline
  accessKeySecret: {name: object-store, key: AWS_ACCESS_KEY_ID}
  secretKeySecret: {name: object-store, key: AWS_SECRET_ACCESS_KEY}
"""
S3 = {
    "endpoint": "object-store:8333",
    "bucket": "tapeline",
    "accessKeySecret": {"name": "object-store", "key": "AWS_ACCESS_KEY_ID"},
    "secretKeySecret": {"name": "object-store", "key": "AWS_SECRET_ACCESS_KEY"},
}
RUN = "snp-deep-cpu-x7f"
PLURALS = {
    "pods": "pod",
    "events": "event",
    "configmaps": "configmap",
    "workflows": "workflow",
    "resourcequotas": "resourcequota",
    "limitranges": "limitrange",
}


def ready() -> dict[tuple[str, str], Object]:
    """What an overlay and its Secret put into a namespace."""
    annotations = {"workflows.argoproj.io/default-artifact-repository": "default"}
    claim = {"spec": {"storageClassName": "standard"}, "status": {"phase": "Bound"}}
    return {
        ("namespace", "tapeline"): {},
        ("serviceaccount", "tapeline-runner"): {},
        ("serviceaccount", "tapeline-publisher"): {},
        ("serviceaccount", "tapeline-executor"): {},
        ("persistentvolumeclaim", "models"): claim,
        ("persistentvolumeclaim", "data"): claim,
        ("storageclass", "standard"): {"volumeBindingMode": "Immediate"},
        ("configmap", "gpu-limits"): {"data": {"gpu": "1"}},
        ("configmap", "artifact-repositories"): {
            "metadata": {"annotations": annotations},
            "data": {"default": REPOSITORY},
        },
        ("secret", "object-store"): {"data": {"AWS_ACCESS_KEY_ID": "eA==", "AWS_SECRET_ACCESS_KEY": "eA=="}},
    }


@dataclass
class Cluster:
    """The objects of one namespace, by kind and name, and what was sent."""

    objects: dict[tuple[str, str], Object] = field(default_factory=ready)
    sent: list[tuple[str, Any]] = field(default_factory=list)
    forbidden: set[str] = field(default_factory=set)
    """Kinds that this account may not read."""
    asked: list[tuple[str, ...]] = field(default_factory=list)
    log: str = ""
    when_created: Callable[[str, Object], None] = lambda name, what: None

    def __call__(self, *words: str, stdin: str | None = None, tries: int = 1) -> str:
        """What kubectl prints.

        Raises:
            Refused: what it says no to, in its words.
        """
        self.asked.append(words)
        rest = [word for word in words if not word.startswith("-")]
        if "-n" in words:
            rest.remove(words[words.index("-n") + 1])
        verb, *rest = rest
        if verb == "create":
            return self._create(json.loads(stdin or ""))
        if verb == "logs":
            return self.log
        if verb in ("patch", "delete"):
            change = next((word.partition("=")[2] for word in words if word.startswith("--patch=")), "null")
            self.sent.append((verb, (*rest[:2], json.loads(change))))
            return ""
        kind = PLURALS.get(rest[0], rest[0])
        if kind in self.forbidden:
            said = f'Error from server (Forbidden): {kind}s is forbidden: User "a" cannot get resource "{kind}s"'
            raise kubectl.refused(said, words)
        return self._one(kind, rest[1], words) if len(rest) > 1 and "-l" not in words else self._list(kind, words)

    def _create(self, what: Object) -> str:
        self.sent.append(("create", what))
        name = what["metadata"].get("generateName", "") + "x7f"
        made = {**what, "metadata": {**what["metadata"], "name": name}}
        self.objects[(what["kind"].lower(), name)] = made
        self.when_created(name, made)
        return json.dumps(made)

    def _one(self, kind: str, name: str, words: tuple[str, ...]) -> str:
        found = self.objects.get((kind, name))
        if found is None:
            return ""
        if any(word.startswith("-o=go-template") for word in words):
            return " ".join(["secret", *found.get("data", {}), ""])
        return f"{kind}/{name}\n" if "-o=name" in words else json.dumps(found)

    def _list(self, kind: str, words: tuple[str, ...]) -> str:
        wanted = next((word.rpartition("=")[2] for word in words if word.startswith("--field-selector=")), None)
        items = [each for (of, _), each in self.objects.items() if of == kind]
        if kind == "event":
            items = [each for each in items if each["involvedObject"]["name"] == wanted]
        elif wanted:
            items = [each for (of, name), each in self.objects.items() if (of, name) == (kind, wanted)]
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})

    def runs(self, *nodes: Object, phase: str = "Running", **more: Any) -> None:
        """A workflow with these nodes."""
        own = {"id": RUN, "name": RUN, "displayName": RUN, "type": "DAG", "phase": "Running", **times()}
        status = {
            "phase": phase,
            "nodes": {each["id"]: each for each in (own, *nodes)},
            "artifactRepositoryRef": {"artifactRepository": {"s3": S3}},
            **more.pop("status", {}),
        }
        self.objects[("workflow", RUN)] = {"metadata": {"name": RUN}, "spec": {}, "status": status, **more}

    def pod(self, node: str, *events: Mapping[str, str], created: str = "2026-11-21T15:00:00Z", **status: Any) -> None:
        """The pod of a node, and events about it."""
        name = f"{RUN}-{node}-1"
        annotations = {"workflows.argoproj.io/node-id": f"{RUN}-{node}-0"}
        about = {"name": name, "creationTimestamp": created, "annotations": annotations}
        self.objects[("pod", name)] = {"metadata": about, "status": {"phase": "Pending", **status}}
        for number, each in enumerate(events):
            last = f"2026-11-21T15:00:0{number}Z"
            self.objects[("event", f"{name}.{number}")] = {
                "involvedObject": {"kind": "Pod", "name": name},
                "type": "Warning",
                "lastTimestamp": last,
                **each,
            }


def times(begun: int = 0, ended: int = 60) -> dict[str, str]:
    """When a node began and ended, in seconds after a full hour."""
    first, last = (f"2026-11-21T15:{each // 60:02}:{each % 60:02}Z" for each in (begun, ended))
    return {"startedAt": first, "finishedAt": last}


def task(name: str, phase: str, *tries: tuple[str, str], **more: Any) -> list[Object]:
    """A task's node with retries, and the nodes of its tries: (phase, message)."""
    base = {"boundaryID": RUN, **times()}
    children = [
        {
            **base,
            "id": f"{RUN}-{name}-{number}",
            "displayName": f"{name}({number})",
            "templateName": name,
            "type": "Pod",
            "phase": of,
            "message": message,
            "nodeFlag": {"retried": True},
            **more,
        }
        for number, (of, message) in enumerate(tries)
    ]
    parent = {
        **base,
        "id": f"{RUN}-{name}",
        "displayName": name,
        "templateName": name,
        "type": "Retry",
        "phase": phase,
        "children": [each["id"] for each in children],
    }
    return [parent, *children]


def skipped(name: str, phase: str, message: str) -> Object:
    """The node of a task that did not run."""
    base = {"boundaryID": RUN, "id": f"{RUN}-{name}", "displayName": name, "type": "Skipped"}
    return {**base, "phase": phase, "message": message, **times()}


def refusal(sentence: str) -> str:
    """The message of a node whose step refused with a sentence."""
    return f"main: Error (exit code 2): time=1 level=INFO\ntapeline: {sentence}\ntime=2"
