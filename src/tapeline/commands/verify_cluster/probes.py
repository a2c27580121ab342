"""A cluster after `kubectl apply -k`: does it train, serve and keep out?

tapeline verify-cluster        tapeline verify-cluster namespace=tapeline template=snp-flat-cpu

Where nothing is served yet, the run publishes; else its gate.threshold makes it reject, and the live version stays.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tapeline.clusters import kubectl
from tapeline.clusters import pod_spec as pods
from tapeline.clusters import run_status as outcome
from tapeline.errors import Finding, Refused, refuse

Object = dict[str, Any]

CLIENT = {"tapeline.dev/client": "true"}
"""The label that the NetworkPolicies let in."""
SECONDS = 2
"""Between two looks."""
PATIENCE = {"run": 1800.0, "ready": 180.0, "pod": 240.0}
"""Seconds to wait for each."""
KNOCK = """
import socket, sys, time
time.sleep(15)
for port in (8500, 8501):
    try:
        socket.create_connection((sys.argv[1], port), 5).close()
    except OSError:
        continue
    sys.exit(f"port {port} answers")
"""
"""After a while: policies may reach a new pod some seconds late."""
REJECTED = {"gate_threshold": "0.9999", "model_steps": "100"}
"""Parameters with which no model is accepted, and training is short."""


@dataclass(frozen=True)
class Place:
    """What the overlay put there."""

    namespace: str
    template: str
    model: str
    """That the server is ready with."""
    image: str
    """Of the steps."""
    address: str
    """Of the Service."""


def run(own: Mapping[str, str]) -> None:
    """Run a pipeline, ask the server as a client, and try to connect from a pod that may not; a line for each.

    Raises:
        Refused: all that does not work.
    """
    place = _place(own.get("namespace", "tapeline"), own.get("template", "snp-deep-cpu"))
    findings: list[Finding] = []
    for check in (trains, answers, keeps_out):
        try:
            print(f"ok: {check(place)}", flush=True)
        except Refused as error:
            print(*(f"no: {finding}" for finding in error.findings), sep="\n", flush=True)
            findings += error.findings
    if findings:
        raise Refused(*findings)


def _place(namespace: str, template: str) -> Place:
    kubectl.need(namespace, {})
    serving, service = kubectl.get(namespace, "deployment", "serving"), kubectl.get(namespace, "service", "serving")
    if serving is None or service is None:
        raise refuse(f"namespace={namespace}", "has no Deployment and Service `serving`", kubectl.OVERLAY)
    pod = serving["spec"]["template"]["spec"]
    model = pod["containers"][0]["readinessProbe"]["httpGet"]["path"].split("/")[3]
    return Place(namespace, template, model, pod["initContainers"][0]["image"], service["spec"]["clusterIP"])


def trains(place: Place) -> str:
    """A run of the template ends well, and afterwards a model is served.

    Raises:
        Refused: it fails, or takes too long.
    """
    template = kubectl.get(place.namespace, "workflowtemplate", place.template)
    if template is None:
        raise refuse(f"template={place.template}", "is not in the cluster", "name one that is there")
    served = _ready(place)
    content = REJECTED if served else {}
    known = {each["name"] for each in template["spec"].get("arguments", {}).get("parameters", ())}
    if missing := set(content) - known:
        fix = "choose a template that has it; this run could replace the model that is live"
        raise refuse(f"template={place.template}", f"has no parameter {', '.join(sorted(missing))}", fix)
    run = kubectl.create(place.namespace, _workflow(place.template, content))
    print(f"    {run} runs; kubectl -n {place.namespace} get workflow {run} --watch", flush=True)
    _until(lambda: _ended(place, run), PATIENCE["run"], run, "does not end")
    _until(lambda: _ready(place), PATIENCE["ready"], "deployment/serving", f"does not serve {place.model}")
    what = (
        "was rejected, as its gate.threshold demands; the live version stays" if served else f"is live as {place.model}"
    )
    return f"{run} trained a model, which {what}"


def _workflow(template: str, parameters: Mapping[str, str]) -> Object:
    content = [{"name": name, "value": value} for name, value in parameters.items()]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "verify-"},
        "spec": {"workflowTemplateRef": {"name": template}, "arguments": {"parameters": content}},
    }


def _ended(place: Place, run: str) -> bool:
    status = (kubectl.get(place.namespace, "workflow", run) or {}).get("status", {})
    if status.get("phase") in ("Failed", "Error"):
        fix = f"see kubectl -n {place.namespace} get workflow {run} -o yaml"
        nodes = sorted(status.get("nodes", {}).values(), key=lambda node: str(node.get("startedAt")))
        content = [each["message"] for each in nodes if each["type"] == "Pod" and each.get("message")]
        problem = outcome.reason(content[-1]) if content else status.get("message") or "failed"
        raise refuse(run, problem, fix)
    return bool(status.get("phase") == "Succeeded")


def _ready(place: Place) -> bool:
    serving = kubectl.get(place.namespace, "deployment", "serving") or {}
    return bool(serving.get("status", {}).get("readyReplicas"))


def answers(place: Place) -> str:
    """A pod with the client's label gets an answer through the Service.

    Raises:
        Refused: it does not.
    """
    words = ["predict", "random=true", "host=serving:8501", f"serving.name={place.model}"]
    phase, said = _told(place, "client", CLIENT, [*pods.COMMAND, *words])
    if phase != "Succeeded":
        fix = f"see kubectl -n {place.namespace} logs deployment/serving"
        raise refuse("service/serving", f"gives a client no answer ({said})", fix)
    content = json.loads(said)
    return f"a client asked about {content['date']}, and {place.model} version {content['version']} answered"


def keeps_out(place: Place) -> str:
    """A pod without it cannot even connect.

    Raises:
        Refused: it can.
    """
    phase, said = _told(place, "stranger", {}, ["python3", "-c", KNOCK, place.address])
    if phase != "Succeeded":
        fix = "use a network plugin that enforces NetworkPolicies, as kind's own, Calico, Cilium or GKE's Dataplane V2"
        raise refuse("networkpolicies", f"a pod without the label tapeline.dev/client was not kept out: {said}", fix)
    return "a pod without the label tapeline.dev/client cannot connect"


def _told(place: Place, name: str, labels: Mapping[str, str], words: Sequence[str]) -> tuple[str, str]:
    """Run a pod until it ends, or does not in time; its phase and the last line of its log."""
    made = kubectl.create(place.namespace, pod(name, place.image, labels, words))
    deadline, phase = time.monotonic() + PATIENCE["pod"], "Pending"
    try:
        while phase in ("Pending", "Running") and time.monotonic() < deadline:
            time.sleep(SECONDS)
            phase = (kubectl.get(place.namespace, "pod", made) or {}).get("status", {}).get("phase", "gone")
        log = kubectl.run("-n", place.namespace, "logs", made) if phase != "Pending" else ""
        return phase, (log.strip().splitlines() or [f"pod {made} is {phase}"])[-1]
    finally:
        kubectl.run("-n", place.namespace, "delete", "pod", made, "--wait=false", "--ignore-not-found")


def pod(name: str, image: str, labels: Mapping[str, str], words: Sequence[str]) -> Object:
    """A restricted pod without a token, which runs these words."""
    container = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(words),
        "workingDir": "/tmp",  # noqa: S108 (an emptyDir of the pod's own)
        "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108
        "securityContext": pods.SECURITY,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    spec = {
        "restartPolicy": "OnFailure" if labels else "Never",  # a policy may let a client in some seconds late
        "automountServiceAccountToken": False,
        "securityContext": pods.POD_SECURITY,
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    metadata = {"generateName": f"verify-{name}-", "labels": dict(labels)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _until(holds: Callable[[], bool], seconds: float, where: str, problem: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise refuse(where, f"{problem} within {seconds:.0f} s", "see kubectl get events, and try again")
        time.sleep(SECONDS)
