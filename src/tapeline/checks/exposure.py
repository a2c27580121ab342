"""Security and health of objects applied together: load balancers, roles, NetworkPolicies, probes."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from tapeline.checks.nodes import Node, includes
from tapeline.checks.references import Rule, Tree
from tapeline.errors import Finding

ENFORCE = "pod-security.kubernetes.io/enforce"
INTERNAL = {
    "networking.gke.io/load-balancer-type": "Internal",
    "service.beta.kubernetes.io/aws-load-balancer-type": "external",
    "service.beta.kubernetes.io/aws-load-balancer-internal": "true",
    "service.beta.kubernetes.io/aws-load-balancer-scheme": "internal",
    "service.beta.kubernetes.io/azure-load-balancer-internal": "true",
}
"""Annotations that keep a balancer inside the network: of GKE, of EKS' two controllers, and of AKS."""
PINNED = "tapeline.dev/images"
"""Label of a namespace; with the value `digests`, which with-pinned-images sets, tags are refused."""
FORBIDDEN = ("secrets", "roles", "rolebindings", "clusterroles", "clusterrolebindings", "pods/exec")
"""Access to these resources allows privilege escalation."""


def balancers_name_their_clients(tree: Tree) -> Iterator[Finding]:
    """TF Serving has no authentication, so a load balancer restricts the source addresses."""
    for service in tree.of("Service"):
        spec = service.at("spec")
        if spec.at("type").value != "LoadBalancer":
            continue
        ranges = spec.at("loadBalancerSourceRanges")
        if not ranges.value:
            yield ranges.wrong(
                "is missing, so every address may connect",
                "list the address ranges of the clients, for example 203.0.113.0/24",
            )
        for each in ranges.each():
            if why := _too_wide(each.text):
                yield each.wrong(
                    f"{each.value} {why}", "list the address ranges of the clients, for example 203.0.113.0/24"
                )
        if spec.at("externalTrafficPolicy").value != "Local":
            fix = "set it to Local"
            yield spec.at("externalTrafficPolicy").wrong("pods would not get the clients' addresses", fix)
        yield from _policy_agrees(tree, service, ranges)


def _too_wide(text: str) -> str | None:
    try:
        return "allows every address" if ip_network(text).prefixlen == 0 else None
    except ValueError:
        return "is not an address range (CIDR)"


def _policy_agrees(tree: Tree, service: Node, ranges: Node) -> Iterator[Finding]:
    """A NetworkPolicy of the pods allows exactly these ranges."""
    selector = service.at("spec", "selector").mapping
    opened = []
    for policy in tree.of("NetworkPolicy"):
        picks = policy.at("spec", "podSelector", "matchLabels").mapping
        if picks and includes(selector, picks):
            blocks = [node.at("cidr").value for node in policy.at("spec", "ingress").walk() if node.key == "ipBlock"]
            opened.append(sorted(map(str, blocks)))
    if ranges.value and opened and sorted(map(str, ranges.sequence)) not in opened:
        yield ranges.wrong("no NetworkPolicy of its pods allows the same ranges", "write the same ranges in both")


def roles_are_minimal(tree: Tree) -> Iterator[Finding]:
    """Roles have no wildcard and no access that allows privilege escalation."""
    for role in tree.of("Role", "ClusterRole"):
        for rule in role.at("rules").each():
            for side in ("apiGroups", "resources", "verbs"):
                if "*" in rule.at(side).sequence:
                    yield rule.at(side).wrong("* allows everything", "list only what is needed")
            # one named Secret can be read without the right to read others
            named = rule.at("resourceNames").value and rule.at("verbs").value == ["get"]
            for name in rule.at("resources").sequence:
                if name in FORBIDDEN and not (name == "secrets" and named):
                    yield rule.at("resources").wrong(f"access to {name} allows privilege escalation", "remove it")


def namespaces_enforce_restricted(tree: Tree) -> Iterator[Finding]:
    """Namespaces enforce the Pod Security Standard restricted."""
    for namespace in tree.of("Namespace"):
        label = namespace.at("metadata", "labels", ENFORCE)
        if label.value != "restricted":
            yield label.wrong("pods without the Pod Security Standard restricted may run", "set it to restricted")


def traffic_is_denied_by_default(tree: Tree) -> Iterator[Finding]:
    """Each namespace has a NetworkPolicy that denies all traffic in both directions."""
    policies = [each.at("spec") for each in tree.of("NetworkPolicy")]
    closed = any(
        each.at("podSelector").value == {}
        and {"Ingress", "Egress"} <= set(map(str, each.at("policyTypes").sequence))
        and not each.at("ingress").value
        and not each.at("egress").value
        for each in policies
    )
    for namespace in tree.of("Namespace") if not closed else ():
        yield namespace.wrong(
            "no NetworkPolicy denies all traffic by default", "add one with podSelector {} and both policyTypes"
        )


def internal_balancers_stay_internal(tree: Tree) -> Iterator[Finding]:
    """A balancer that is internal on one cloud is so on each: EKS makes public ones where an annotation is missing."""
    for service in tree.of("Service"):
        annotations = service.at("metadata", "annotations")
        given = {key: annotations.at(key).value for key in INTERNAL}
        if service.at("spec", "type").value != "LoadBalancer" or not any(given.values()):
            continue
        for key, value in INTERNAL.items():
            if given[key] != value:
                yield annotations.at(key).wrong(
                    f"is not {value}, so a cloud may give a public address", f"write {value!r}"
                )


def servers_cannot_write_the_store(tree: Tree) -> Iterator[Finding]:
    """A SavedModel is code: who can write the store runs code in every server, so the server itself cannot."""
    for template in tree.templates:
        if template.at("metadata", "labels", "tapeline.dev/role").value != "serving":
            continue
        for volume in template.at("spec", "volumes").each():
            claim = volume.at("persistentVolumeClaim")
            if claim.value is not None and claim.at("readOnly").value is not True:
                yield claim.at("readOnly").wrong("the server could write the store", "set it to true")


def images_are_digests(tree: Tree) -> Iterator[Finding]:
    """In a namespace that is labelled so, every image has a digest: a tag can be moved to another image.

    Not those of KFP's pipelines, which Kustomize cannot reach: they are built with target.image=NAME@sha256:...
    """
    for namespace in tree.of("Namespace"):
        label = namespace.at("metadata", "labels", PINNED)
        own = (each for each in tree.documents if each.at("kind").value != "PipelineVersion")
        nodes = (node for document in own for node in document.walk() if node.key == "image")
        tags = sorted({node.text for node in nodes if node.text and "@sha256:" not in node.text})
        if label.value == "digests" and tags:
            fix = "set their digests in components/with-pinned-images, which must be the last component"
            yield label.wrong(f"these images have none: {', '.join(tags)}", fix)


def servers_are_probed(tree: Tree) -> Iterator[Finding]:
    """Servers have readiness and liveness probes, and the second asks the server: a port is open in a hung one, too."""
    for document in tree.of("Deployment", "StatefulSet", "DaemonSet"):
        for container in document.at("spec", "template", "spec", "containers").each():
            for probe in ("readinessProbe", "livenessProbe") if container.at("ports").value else ():
                if not container.at(probe).value:
                    yield container.at(probe).wrong(
                        "is missing", "add a probe, for example httpGet with a path and a port"
                    )
            port = container.at("livenessProbe", "tcpSocket")
            if port.value is not None:
                yield port.wrong("does not ask the server, only whether its port is open", "use httpGet with a path")


ABOUT = "tree"
RULES: tuple[Rule, ...] = (
    balancers_name_their_clients,
    roles_are_minimal,
    namespaces_enforce_restricted,
    traffic_is_denied_by_default,
    internal_balancers_stay_internal,
    servers_cannot_write_the_store,
    images_are_digests,
    servers_are_probed,
)
