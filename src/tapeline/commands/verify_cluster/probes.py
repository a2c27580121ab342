"""Tests of a cluster after `kubectl apply -k`: training, serving, network policies.

tapeline verify-cluster        tapeline verify-cluster namespace=tapeline template=snp-flat-cpu

Where the model is not served yet, the run publishes; else its gate.threshold rejects, and the live version stays.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tapeline.clusters import kubectl, plan
from tapeline.clusters import pod_spec as pods
from tapeline.clusters import run_status as outcome
from tapeline.config.schema import Config
from tapeline.errors import Finding, Refused, refuse
from tapeline.lookup import configure, spec, task
from tapeline.serving import client
from tapeline.tasks import Metric

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
for port in map(int, sys.argv[2:]):
    try:
        socket.create_connection((sys.argv[1], port), 5).close()
    except OSError:
        continue
    sys.exit(f"port {port} answers")
"""
"""Seconds of delay: NetworkPolicies may apply to a new pod some seconds late."""
ASK = """
import sys, time
from tapeline.errors import Refused
from tapeline.serving import client
host, model, tls = sys.argv[1:]
server = client.endpoint(host, {}, model, "grpc", tls or None)
until = time.monotonic() + 60
while True:
    try:
        client.client_of(server).metadata(None)
        sys.exit("live")
    except client.NotFound:
        sys.exit("absent")
    except Refused as error:
        if time.monotonic() > until:
            sys.exit(str(error))
    time.sleep(2)
"""
"""Whether the server has the model; NetworkPolicies may let a new pod connect some seconds late."""
AUTHORITY = "/etc/authority/ca.pem"
"""The file of the option tls in pods."""
STEPS = {"model_steps": "100"}
"""Parameters for a short training, of families that have steps."""


@dataclass(frozen=True)
class Overlay:
    """The objects of the overlay, and what is asked of them."""

    namespace: str
    template: str
    config: Config
    """Of the run and of the clients."""
    overrides: tuple[str, ...]
    """Those that make it."""
    image: str
    """The image of the steps."""
    address: str
    """Of the Service."""
    ports: Mapping[str, int]
    """Of the Service, by name."""
    authority: str | None
    """ConfigMap with the file of the option tls."""

    @property
    def model(self) -> str:
        """The name that clients ask for."""
        return self.config.serving.name

    @property
    def tls(self) -> list[str]:
        """The option tls of a client in a pod."""
        return [f"tls={AUTHORITY}"] if self.authority else []


def run(overrides: Sequence[str], own: Mapping[str, str]) -> None:
    """Run a pipeline, send requests as a client, and try to connect from another pod; print a line for each.

    Raises:
        Refused: all that does not work.
    """
    overlay = _place(overrides, own)
    findings: list[Finding] = []
    try:
        for check in (trains, answers, keeps_out):
            try:
                print(f"ok: {check(overlay)}", flush=True)
            except Refused as error:
                print(*(f"no: {finding}" for finding in error.findings), sep="\n", flush=True)
                findings += error.findings
    finally:
        if overlay.authority:
            kubectl.run("-n", overlay.namespace, "delete", "configmap", overlay.authority, "--ignore-not-found")
    if findings:
        raise Refused(*findings)


def _place(overrides: Sequence[str], own: Mapping[str, str]) -> Overlay:
    """What the namespace has, and whether the options fit it."""
    config = configure(overrides)
    namespace = own.get("namespace", "tapeline")
    template = own.get("template") or (plan.name(config) if overrides else "snp-deep-cpu")
    if "tls" in own:
        client.endpoint("localhost:8500", {}, config.serving.name, "grpc", own["tls"])
    kubectl.need(namespace, {})
    serving, service = kubectl.get(namespace, "deployment", "serving"), kubectl.get(namespace, "service", "serving")
    if serving is None or service is None:
        raise refuse(f"namespace={namespace}", "has no Deployment and Service `serving`", kubectl.OVERLAY)
    ports = {each["name"]: each["port"] for each in service["spec"]["ports"]}
    if ("https" in ports) != ("tls" in own):
        if "tls" in own:
            fix = "leave it out, or add the component with-tls to the overlay"
            raise refuse(f"tls={own['tls']}", f"the server of namespace {namespace} does not encrypt", fix)
        fix = "name the certificate of the authority of its one, for example tls=ca.pem"
        raise refuse("tls", f"is not given, and the server of namespace {namespace} encrypts", fix)
    image = serving["spec"]["template"]["spec"]["initContainers"][0]["image"]
    authority = _authority(namespace, own["tls"]) if "tls" in own else None
    address = service["spec"]["clusterIP"]
    return Overlay(namespace, template, config, tuple(overrides), image, address, ports, authority)


def _authority(namespace: str, path: str) -> str:
    """A ConfigMap with the file, for pods."""
    with open(path, encoding="utf-8") as file:
        data = {AUTHORITY.rpartition("/")[2]: file.read()}
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "verify-authority-"}, "data": data}
    return kubectl.create(namespace, made)


def trains(overlay: Overlay) -> str:
    """A run of the template succeeds, and then the model is served.

    Raises:
        Refused: it fails, or takes too long.
    """
    template = kubectl.get(overlay.namespace, "workflowtemplate", overlay.template)
    if template is None:
        raise refuse(f"template={overlay.template}", "is not on the cluster", "write the name of an existing one")
    served = _ready(overlay) and _serves(overlay)
    known = {each["name"] for each in template["spec"].get("arguments", {}).get("parameters", ())}
    content = rejecting(overlay.config) if served else {}
    if missing := set(content) - known:
        fix = "choose a template that has it; without it this run could replace the live model"
        raise refuse(f"template={overlay.template}", f"has no parameter {', '.join(sorted(missing))}", fix)
    if served and hasattr(overlay.config.model, "steps"):
        content |= {name: value for name, value in STEPS.items() if name in known}
    run = kubectl.create(overlay.namespace, _workflow(overlay.template, content))
    print(f"    {run} runs; kubectl -n {overlay.namespace} get workflow {run} --watch", flush=True)
    _until(lambda: _ended(overlay, run), PATIENCE["run"], run, "does not end")
    _until(lambda: _ready(overlay), PATIENCE["ready"], "deployment/serving", "is not ready")
    if served:
        return f"{run} trained a model, which was rejected, as its gate.threshold demands; the live version stays"
    _until(lambda: _serves(overlay), PATIENCE["ready"], "deployment/serving", f"does not serve {overlay.model}")
    return f"{run} trained a model, which is live as {overlay.model}"


def rejecting(config: Config) -> dict[str, str]:
    """Parameters of a run whose model is rejected: a threshold that no model meets."""
    of = task(spec(config.dataset.name).task)
    metric = next(each for each in of.METRICS if each.name == (config.gate.metric or of.PRIMARY))
    return {"gate_threshold": f"{_unreachable(metric):g}"}


def _unreachable(metric: Metric) -> float:
    """A value in the range of the metric that is next to the best one."""
    if metric.better == "higher":
        return metric.high - 1e-4 if math.isfinite(metric.high) else 1e9
    return metric.low + 1e-9 if math.isfinite(metric.low) else -1e9


def _serves(overlay: Overlay) -> bool:
    """Whether the server has the model.

    Raises:
        Refused: no client can ask it.
    """
    words = ["python3", "-c", ASK, f"serving:{overlay.ports['grpc']}", overlay.model]
    _, said = _run_pod(overlay, "asks", CLIENT, [*words, AUTHORITY if overlay.authority else ""], again=False)
    if said not in ("live", "absent"):
        fix = f"see kubectl -n {overlay.namespace} logs deployment/serving"
        raise refuse("service/serving", f"does not answer a client ({said})", fix)
    return said == "live"


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
    """A pod with the label of clients gets an answer through the Service, by both APIs.

    Raises:
        Refused: it does not.
    """
    ports = {"rest": overlay.ports.get("https") or overlay.ports["rest"], "grpc": overlay.ports["grpc"]}
    found = {}
    for api, port in ports.items():
        words = ["predict", "random=true", "json=true", f"host=serving:{port}", f"api={api}", *overlay.tls]
        phase, said = _run_pod(overlay, "client", CLIENT, [*pods.COMMAND, *words, *overlay.overrides])
        if phase != "Succeeded":
            fix = f"see kubectl -n {overlay.namespace} logs deployment/serving"
            raise refuse("service/serving", f"does not answer a client by {api} ({said})", fix)
        found[api] = json.loads(said)
    how = "over TLS " if overlay.authority else ""
    version = found["grpc"]["version"]
    return f"a client asked {how}by REST and gRPC, and {overlay.model} version {version} answered"


def keeps_out(overlay: Overlay) -> str:
    """A pod without the label cannot connect.

    Raises:
        Refused: it can.
    """
    words = ["python3", "-c", CONNECT, overlay.address, *map(str, overlay.ports.values())]
    phase, said = _run_pod(overlay, "other", {}, words)
    if phase != "Succeeded":
        fix = "use a network plugin that enforces NetworkPolicies: that of kind, Calico, Cilium or GKE's Dataplane V2"
        raise refuse("networkpolicies", f"a pod without the label tapeline.dev/client can connect: {said}", fix)
    return "a pod without the label tapeline.dev/client cannot connect"


def _run_pod(
    overlay: Overlay, name: str, labels: Mapping[str, str], words: Sequence[str], *, again: bool = True
) -> tuple[str, str]:
    """Run a pod until it ends or a timeout; return its phase and the last line of its log."""
    what = pod(name, overlay.image, labels, words)
    if not again:
        what["spec"]["restartPolicy"] = "Never"
    if overlay.authority:
        what["spec"]["volumes"].append({"name": "authority", "configMap": {"name": overlay.authority}})
        mount = {"name": "authority", "mountPath": AUTHORITY.rpartition("/")[0], "readOnly": True}
        what["spec"]["containers"][0]["volumeMounts"].append(mount)
    made = kubectl.create(overlay.namespace, what)
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
