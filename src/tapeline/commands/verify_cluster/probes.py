"""Tests of a cluster after `kubectl apply -k`: training, serving, network policies.

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
"""The label of clients, which the NetworkPolicies allow."""
SECONDS = 2
"""Between two looks."""
PATIENCE = {"run": 1800.0, "ready": 180.0, "pod": 240.0}
"""Seconds to wait for each."""
CONNECT = """
import socket, sys, time
time.sleep(15)
for port in (8500, 8501):
    try:
        socket.create_connection((sys.argv[1], port), 5).close()
    except OSError:
        continue
    sys.exit(f"port {port} answers")
"""
"""Seconds of delay: NetworkPolicies may apply to a new pod some seconds late."""
REJECTED = {"gate_threshold": "0.9999", "model_steps": "100"}
"""Parameters for a short training whose model is rejected."""


@dataclass(frozen=True)
class Overlay:
    """The objects of the overlay."""

    namespace: str
    template: str
    model: str
    """The model of the readiness probe."""
    image: str
    """The image of the steps."""
    address: str
    """The REST port of the Service."""


def run(own: Mapping[str, str]) -> None:
    """Run a pipeline, send a request as a client, and try to connect from another pod; print a line for each.

    Raises:
        Refused: all that does not work.
    """
    overlay = _place(own.get("namespace", "tapeline"), own.get("template", "snp-deep-cpu"))
    findings: list[Finding] = []
    for check in (trains, answers, keeps_out):
        try:
            print(f"ok: {check(overlay)}", flush=True)
        except Refused as error:
            print(*(f"no: {finding}" for finding in error.findings), sep="\n", flush=True)
            findings += error.findings
    if findings:
        raise Refused(*findings)


def _place(namespace: str, template: str) -> Overlay:
    kubectl.need(namespace, {})
    serving, service = kubectl.get(namespace, "deployment", "serving"), kubectl.get(namespace, "service", "serving")
    if serving is None or service is None:
        raise refuse(f"namespace={namespace}", "has no Deployment and Service `serving`", kubectl.OVERLAY)
    pod = serving["spec"]["template"]["spec"]
    model = pod["containers"][0]["readinessProbe"]["httpGet"]["path"].split("/")[3]
    return Overlay(namespace, template, model, pod["initContainers"][0]["image"], service["spec"]["clusterIP"])


def trains(overlay: Overlay) -> str:
    """A run of the template succeeds, and then a model is served.

    Raises:
        Refused: it fails, or takes too long.
    """
    template = kubectl.get(overlay.namespace, "workflowtemplate", overlay.template)
    if template is None:
        raise refuse(f"template={overlay.template}", "is not on the cluster", "write the name of an existing one")
    served = _ready(overlay)
    content = REJECTED if served else {}
    known = {each["name"] for each in template["spec"].get("arguments", {}).get("parameters", ())}
    if missing := set(content) - known:
        fix = "choose a template that has it; without it this run could replace the live model"
        raise refuse(f"template={overlay.template}", f"has no parameter {', '.join(sorted(missing))}", fix)
    run = kubectl.create(overlay.namespace, _workflow(overlay.template, content))
    print(f"    {run} runs; kubectl -n {overlay.namespace} get workflow {run} --watch", flush=True)
    _until(lambda: _ended(overlay, run), PATIENCE["run"], run, "does not end")
    _until(lambda: _ready(overlay), PATIENCE["ready"], "deployment/serving", f"does not serve {overlay.model}")
    what = (
        "was rejected, as its gate.threshold demands; the live version stays"
        if served
        else f"is live as {overlay.model}"
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


def _ended(overlay: Overlay, run: str) -> bool:
    status = (kubectl.get(overlay.namespace, "workflow", run) or {}).get("status", {})
    if status.get("phase") in ("Failed", "Error"):
        fix = f"see kubectl -n {overlay.namespace} get workflow {run} -o yaml"
        nodes = sorted(status.get("nodes", {}).values(), key=lambda node: str(node.get("startedAt")))
        content = [each["message"] for each in nodes if each["type"] == "Pod" and each.get("message")]
        problem = outcome.reason(content[-1]) if content else status.get("message") or "failed"
        raise refuse(run, problem, fix)
    return bool(status.get("phase") == "Succeeded")


def _ready(overlay: Overlay) -> bool:
    serving = kubectl.get(overlay.namespace, "deployment", "serving") or {}
    return bool(serving.get("status", {}).get("readyReplicas"))


def answers(overlay: Overlay) -> str:
    """A pod with the label of clients gets an answer through the Service.

    Raises:
        Refused: it does not.
    """
    words = ["predict", "random=true", "host=serving:8501", f"serving.name={overlay.model}"]
    phase, said = _run_pod(overlay, "client", CLIENT, [*pods.COMMAND, *words])
    if phase != "Succeeded":
        fix = f"see kubectl -n {overlay.namespace} logs deployment/serving"
        raise refuse("service/serving", f"does not answer a client ({said})", fix)
    content = json.loads(said)
    return f"a client asked about {content['date']}, and {overlay.model} version {content['version']} answered"


def keeps_out(overlay: Overlay) -> str:
    """A pod without the label cannot connect.

    Raises:
        Refused: it can.
    """
    phase, said = _run_pod(overlay, "other", {}, ["python3", "-c", CONNECT, overlay.address])
    if phase != "Succeeded":
        fix = "use a network plugin that enforces NetworkPolicies: that of kind, Calico, Cilium or GKE's Dataplane V2"
        raise refuse("networkpolicies", f"a pod without the label tapeline.dev/client can connect: {said}", fix)
    return "a pod without the label tapeline.dev/client cannot connect"


def _run_pod(overlay: Overlay, name: str, labels: Mapping[str, str], words: Sequence[str]) -> tuple[str, str]:
    """Run a pod until it ends or a timeout; return its phase and the last line of its log."""
    made = kubectl.create(overlay.namespace, pod(name, overlay.image, labels, words))
    deadline, phase = time.monotonic() + PATIENCE["pod"], "Pending"
    try:
        while phase in ("Pending", "Running") and time.monotonic() < deadline:
            time.sleep(SECONDS)
            phase = (kubectl.get(overlay.namespace, "pod", made) or {}).get("status", {}).get("phase", "gone")
        log = kubectl.run("-n", overlay.namespace, "logs", made) if phase != "Pending" else ""
        return phase, (log.strip().splitlines() or [f"pod {made} is {phase}"])[-1]
    finally:
        kubectl.run("-n", overlay.namespace, "delete", "pod", made, "--wait=false", "--ignore-not-found")


def pod(name: str, image: str, labels: Mapping[str, str], words: Sequence[str]) -> Object:
    """A restricted pod without a token that runs this command."""
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
