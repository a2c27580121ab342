"""Objects that belong together by their meaning: namespaces, rights, ports of policies, quotas, files of ConfigMaps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from tapeline.checks.nodes import Node, read
from tapeline.checks.programs import words
from tapeline.checks.references import REPOSITORY, Rule, Tree
from tapeline.checks.syntax import quantity
from tapeline.errors import Finding, nearest

NAMESPACES = ("default", "kube-system", "kube-public", "kubeflow", "argo", "monitoring", "istio-system", "gmp-system")
"""Of other software that policies may name."""
IN_NAMESPACE = "kubernetes.io/metadata.name"
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
GROUPS = {
    **dict.fromkeys(("pods", "pods/log", "configmaps", "services", "events", "persistentvolumeclaims"), ""),
    **dict.fromkeys(("deployments", "statefulsets", "replicasets"), "apps"),
    **dict.fromkeys(("jobs", "cronjobs"), "batch"),
    **dict.fromkeys(
        ("workflows", "workflowtemplates", "cronworkflows", "workflowtaskresults", "workflowtasksets"), "argoproj.io"
    ),
    "tfjobs": "kubeflow.org",
    "networkpolicies": "networking.k8s.io",
}
"""The API group of a resource."""
NEEDED = {"workflowtaskresults": {"create", "patch"}}
"""Verbs without which Argo's executor cannot report."""
S3 = (
    *("endpoint", "insecure", "bucket", "region", "keyFormat", "keyPrefix", "accessKeySecret", "secretKeySecret"),
    *("sessionTokenSecret", "useSDKCreds", "roleARN", "createBucketIfNotPresent", "encryptionOptions", "caSecret"),
    *("addressingStyle",),
)
REPOSITORIES = ("s3", "gcs", "azure", "oss", "hdfs", "artifactory", "archiveLogs")
HARD = re.compile(r"(requests|limits)\.(cpu|memory|storage|ephemeral-storage|[a-z0-9.\-]+/[\w\-.]+)|count/[\w.]+")
COUNTED = (
    *("cpu", "memory", "pods", "services", "services.loadbalancers", "services.nodeports", "secrets", "configmaps"),
    *("persistentvolumeclaims", "replicationcontrollers", "resourcequotas"),
)


def namespaces_exist(tree: Tree) -> Iterator[Finding]:
    """Objects lie in the tree's namespace, and policies name namespaces that are there."""
    own = [str(each.at("metadata", "name").value) for each in tree.of("Namespace")]
    for document in tree.documents:
        place = document.at("metadata", "namespace")
        if own and place.value is not None and place.value not in own:
            fix = nearest(str(place.value), own, otherwise=f"use {own[0]}")
            yield place.wrong(f"the tree has no namespace {place.value}", fix)
        for node in document.walk():
            if node.key == IN_NAMESPACE and node.value not in (*own, *NAMESPACES):
                fix = nearest(str(node.value), (*own, *NAMESPACES), otherwise="correct it")
                yield node.wrong(f"there is no namespace {node.value}", fix)
    for binding in tree.of("RoleBinding", "ClusterRoleBinding"):
        for subject in binding.at("subjects").each():
            place = subject.at("namespace")
            if own and place.value is not None and place.value not in (*own, *NAMESPACES):
                yield place.wrong(
                    f"there is no namespace {place.value}", nearest(str(place.value), own, otherwise="correct it")
                )


def rights_exist(tree: Tree) -> Iterator[Finding]:
    """Verbs and resources that Kubernetes has, each in its API group, and those that Argo's executor needs."""
    for role in tree.of("Role", "ClusterRole"):
        for rule in role.at("rules").each():
            verbs, resources = rule.at("verbs"), rule.at("resources")
            allowed = [each.value for each in verbs.each()]
            for verb in allowed:
                if verb not in (*VERBS, "*"):
                    yield verbs.wrong(
                        f"Kubernetes has no verb {verb}", nearest(str(verb), VERBS, otherwise="correct it")
                    )
            groups = [each.value for each in rule.at("apiGroups").each()]
            for name in (each.value for each in resources.each()):
                if name == "secrets":
                    continue  # exposure.py refuses it
                if str(name) not in GROUPS and (close := nearest(str(name), list(GROUPS), otherwise="")):
                    yield resources.wrong(f"there is no resource {name}", close)
                elif str(name) in GROUPS and GROUPS[str(name)] not in groups and "*" not in groups:
                    group = GROUPS[str(name)] or '""'
                    yield rule.at("apiGroups").wrong(f"{name} belongs to the group {group}", f"write [{group}]")
                missing = NEEDED.get(str(name), set()) - set(map(str, allowed))
                if missing and "*" not in allowed:
                    yield verbs.wrong(f"Argo's executor also needs {', '.join(sorted(missing))}", "add them")


def policies_open_ports_that_listen(tree: Tree) -> Iterator[Finding]:
    """A policy's port is one of the pods that it lets traffic to; DNS needs UDP."""
    for policy in tree.of("NetworkPolicy"):
        spec = policy.at("spec")
        for rule in spec.at("ingress").each():
            yield from _ports(tree, rule, [spec.at("podSelector")])
        for rule in spec.at("egress").each():
            peers = list(rule.at("to").each())
            local = [each.at("podSelector") for each in peers if each.at("podSelector").value]
            if local and len(local) == len(peers):
                yield from _ports(tree, rule, local)
            ports = list(rule.at("ports").each())
            dns = [each for each in ports if each.at("port").value in (53, "53", "dns")]
            if dns and not any(each.at("protocol").value == "UDP" for each in dns):
                yield dns[0].at("protocol").wrong("DNS is asked over UDP, too", "add {protocol: UDP, port: 53}")


def _ports(tree: Tree, rule: Node, selectors: list[Node]) -> Iterator[Finding]:
    chosen = [template for template in tree.templates if any(_selects(each, template) for each in selectors)]
    boxes = [box for template in chosen for box in template.at("spec", "containers").each()]
    listening = {port.at("containerPort").value for box in boxes for port in box.at("ports").each()}
    names = {port.at("name").value for box in boxes for port in box.at("ports").each()}
    for port in rule.at("ports").each() if listening else ():
        number = port.at("port")
        if number.value is not None and number.value not in listening | names:
            known = ", ".join(str(each) for each in sorted(listening, key=str))
            yield number.wrong(f"no pod there listens on {number.value}", f"use one of: {known}")


def _selects(selector: Node, template: Node) -> bool:
    labels = template.at("metadata", "labels").value or {}
    wanted = selector.at("matchLabels").value or {}
    expressions = [
        labels.get(each.at("key").value) in [one.value for one in each.at("values").each()]
        for each in selector.at("matchExpressions").each()
        if each.at("operator").value == "In"
    ]
    return bool(wanted or expressions) and wanted.items() <= labels.items() and all(expressions)


def quotas_allow_what_is_there(tree: Tree) -> Iterator[Finding]:
    """Names of a quota that Kubernetes counts; no container, claim or balancer above it."""
    for quota in tree.of("ResourceQuota"):
        hard = quota.at("spec", "hard")
        for each in hard.each():
            if each.key not in COUNTED and not HARD.fullmatch(each.key):
                yield hard.wrong(
                    f"Kubernetes does not count {each.key}", nearest(each.key, COUNTED, otherwise="correct it")
                )
        for side in ("requests", "limits"):
            for kind in ("cpu", "memory"):
                most = quantity(hard.at(f"{side}.{kind}").value)
                for box in _boxes(tree):
                    asked = box.at("resources", side, kind)
                    if most is not None and (quantity(asked.value) or Fraction(0)) > most:
                        yield asked.wrong(
                            f"{asked.value} is above the quota {hard.at(f'{side}.{kind}').value}", "lower it"
                        )
        storage = [each.at("spec", "resources", "requests", "storage") for each in tree.of("PersistentVolumeClaim")]
        most = quantity(hard.at("requests.storage").value)
        whole = sum((quantity(each.value) or Fraction(0) for each in storage), Fraction(0))
        if storage and most is not None and whole > most:
            yield hard.at("requests.storage").wrong("the claims ask for more together", "raise it")
        balancers = [each for each in tree.of("Service") if each.at("spec", "type").value == "LoadBalancer"]
        allowed = hard.at("services.loadbalancers")
        if allowed.value is not None and (quantity(allowed.value) or 0) < len(balancers):
            yield allowed.wrong(f"the tree has {len(balancers)} Services of type LoadBalancer", "raise it")


def _boxes(tree: Tree) -> Iterator[Node]:
    for template in tree.templates:
        for key in ("containers", "initContainers"):
            yield from template.at("spec", key).each()


def files_are_in_their_config_maps(tree: Tree) -> Iterator[Finding]:
    """A file that an argument names, in a folder that a ConfigMap fills, is a key of it."""
    for template in tree.templates:
        spec = template.at("spec")
        maps = {each.at("name").value: each.at("configMap", "name").text for each in spec.at("volumes").each()}
        for box in _boxes(Tree([template])):
            for mount in box.at("volumeMounts").each():
                keys = tree.keys("ConfigMap", maps.get(mount.at("name").value) or "") or []
                folder = str(mount.at("mountPath").value).rstrip("/") + "/"
                for word in words(box) if keys else ():
                    name = word.partition("=")[2].removeprefix(folder)
                    if word.partition("=")[2].startswith(folder) and name not in keys:
                        fix = nearest(name, keys, otherwise="add it to the ConfigMap")
                        yield box.at("args").wrong(f"{word}: the ConfigMap has no key {name}", fix)


def repositories_can_be_used(tree: Tree) -> Iterator[Finding]:
    """The text in an artifact repository's ConfigMap: fields that Argo has, and a host that is a Service."""
    services = {
        str(each.at("metadata", "name").value): [port.at("port").value for port in each.at("spec", "ports").each()]
        for each in tree.of("Service")
    }
    for document in tree.of("ConfigMap"):
        chosen = document.at("metadata", "annotations", REPOSITORY)
        if chosen.value is None:
            continue
        if chosen.value not in [entry.key for entry in document.at("data").each()]:
            yield chosen.wrong(f"data has no key {chosen.value}", "name one that it has")
        for entry in document.at("data").each():
            content = read(entry.text, document.file)
            if isinstance(content, Finding):
                yield entry.wrong(content.problem, "correct it")
                continue
            for inner in content:
                yield from _repository(entry, inner, services)


def _repository(entry: Node, content: Node, services: dict[str, list[Any]]) -> Iterator[Finding]:
    for each in content.each():
        if each.key not in REPOSITORIES:
            yield entry.wrong(
                f"Argo has no repository {each.key}", nearest(each.key, REPOSITORIES, otherwise="leave it out")
            )
    s3 = content.at("s3")
    for each in s3.each():
        if each.key not in S3:
            yield entry.wrong(f"s3 has no field {each.key}", nearest(each.key, S3, otherwise="leave it out"))
    if s3.value is not None and not s3.at("bucket").text:
        yield entry.wrong("s3 has no bucket", "add one")
    host, _, port = s3.at("endpoint").text.partition(":")
    if s3.value is not None and host and "." not in host:
        if services and host not in services and (close := nearest(host, list(services), otherwise="")):
            yield entry.wrong(f"no Service is called {host}", close)
        elif host in services and port and int(port) not in services[host]:
            known = ", ".join(map(str, services[host]))
            yield entry.wrong(f"the Service {host} has no port {port}", f"use one of: {known}")


def services_reach_ports(tree: Tree) -> Iterator[Finding]:
    """A Service's targetPort, where it is a number, is a port of the pods that it selects."""
    for service in tree.of("Service"):
        wanted = service.at("spec", "selector").value or {}
        boxes = [
            box
            for each in tree.templates
            if wanted and wanted.items() <= (each.at("metadata", "labels").value or {}).items()
            for box in each.at("spec", "containers").each()
        ]
        listening = {port.at("containerPort").value for box in boxes for port in box.at("ports").each()}
        for port in service.at("spec", "ports").each() if listening else ():
            target = port.at("targetPort") if port.at("targetPort").value is not None else port.at("port")
            if isinstance(target.value, int) and target.value not in listening:
                yield target.wrong(f"no container listens on {target.value}", "use the name or number of a port there")


def accounts_may_be_used(tree: Tree) -> Iterator[Finding]:
    """Argo's executor can report: a binding gives its account the rights, and steps have an account without them."""
    roles = {
        str(role.at("metadata", "name").value)
        for role in tree.of("Role")
        for rule in role.at("rules").each()
        if "workflowtaskresults" in [one.value for one in rule.at("resources").each()]
    }
    bindings = [each for each in tree.of("RoleBinding") if each.at("roleRef", "name").value in roles]
    bound = {subject.at("name").value for each in bindings for subject in each.at("subjects").each()}
    for document in tree.documents if bound else ():
        if document.at("kind").value in ("WorkflowTemplate", "Workflow"):
            for node in document.walk():
                executes = "executor" in node.keys[-2:-1]
                if node.key != "serviceAccountName" or not node.text or executes == (node.value in bound):
                    continue
                if executes:
                    fix = nearest(node.text, [str(each) for each in bound], otherwise="bind the role to it")
                    yield node.wrong(f"{node.value} may not write workflowtaskresults", fix)
                else:
                    yield node.wrong(
                        f"the step's account {node.value} may write the outputs of others", "use another one"
                    )


ABOUT = "tree"
RULES: tuple[Rule, ...] = (
    namespaces_exist,
    rights_exist,
    policies_open_ports_that_listen,
    quotas_allow_what_is_there,
    files_are_in_their_config_maps,
    repositories_can_be_used,
    services_reach_ports,
    accounts_may_be_used,
)
