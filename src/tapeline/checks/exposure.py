"""What a tree lets in, hands out and keeps alive: balancers, rights, policies, probes."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from tapeline.checks.nodes import Node
from tapeline.checks.references import Rule, Tree
from tapeline.errors import Finding

ENFORCE = "pod-security.kubernetes.io/enforce"
FORBIDDEN = ("secrets", "roles", "rolebindings", "clusterroles", "clusterrolebindings", "pods/exec")
"""Whoever has rights on these has all."""


def balancers_name_their_clients(tree: Tree) -> Iterator[Finding]:
    """TF Serving has no authentication, so source addresses are restricted."""
    for service in tree.of("Service"):
        spec = service.at("spec")
        if spec.at("type").value != "LoadBalancer":
            continue
        ranges = spec.at("loadBalancerSourceRanges")
        if not ranges.value:
            yield ranges.wrong("is missing, so anybody may connect", "name the ranges of your clients")
        for each in ranges.each():
            if why := _too_wide(each.text):
                yield each.wrong(f"{each.value} {why}", "name the ranges of your clients")
        if spec.at("externalTrafficPolicy").value != "Local":
            fix = "set it to Local"
            yield spec.at("externalTrafficPolicy").wrong("pods would not see the clients' addresses", fix)
        yield from _policy_agrees(tree, service, ranges)


def _too_wide(text: str) -> str | None:
    try:
        return "is everybody" if ip_network(text).prefixlen == 0 else None
    except ValueError:
        return "is no range of addresses"


def _policy_agrees(tree: Tree, service: Node, ranges: Node) -> Iterator[Finding]:
    """Some NetworkPolicy on the pods opens exactly these ranges."""
    selector = service.at("spec", "selector").value or {}
    opened = []
    for policy in tree.of("NetworkPolicy"):
        picks = policy.at("spec", "podSelector", "matchLabels").value or {}
        if picks and picks.items() <= selector.items():
            blocks = [node.at("cidr").value for node in policy.at("spec", "ingress").walk() if node.key == "ipBlock"]
            opened.append(sorted(map(str, blocks)))
    if ranges.value and opened and sorted(map(str, ranges.value)) not in opened:
        yield ranges.wrong("no NetworkPolicy on its pods opens these ranges", "name the same in both")


def rights_are_few(tree: Tree) -> Iterator[Finding]:
    """No wildcard, and nothing by which an account could give itself more."""
    for role in tree.of("Role", "ClusterRole"):
        for rule in role.at("rules").each():
            for side in ("apiGroups", "resources", "verbs"):
                if "*" in (rule.at(side).value or ()):
                    yield rule.at(side).wrong("* is every one, of tomorrow too", "name those that are needed")
            for name in rule.at("resources").value or ():
                if name in FORBIDDEN:
                    yield rule.at("resources").wrong(f"{name} would give all rights away", "leave it out")


def namespaces_enforce_restricted(tree: Tree) -> Iterator[Finding]:
    """The cluster itself refuses what these rules would."""
    for namespace in tree.of("Namespace"):
        label = namespace.at("metadata", "labels", ENFORCE)
        if label.value != "restricted":
            yield label.wrong("pods of any kind may run", "set it to restricted")


def nothing_is_open_by_default(tree: Tree) -> Iterator[Finding]:
    """Where there is a namespace, a policy closes it in both directions."""
    policies = [each.at("spec") for each in tree.of("NetworkPolicy")]
    closed = any(
        each.at("podSelector").value == {}
        and {"Ingress", "Egress"} <= set(each.at("policyTypes").value or ())
        and not each.at("ingress").value
        and not each.at("egress").value
        for each in policies
    )
    for namespace in tree.of("Namespace") if not closed else ():
        yield namespace.wrong("no NetworkPolicy denies by default", "add one with podSelector {} and both policyTypes")


def servers_are_probed(tree: Tree) -> Iterator[Finding]:
    """A server that hangs is restarted, and one that is not ready gets no requests."""
    for document in tree.of("Deployment", "StatefulSet", "DaemonSet"):
        for container in document.at("spec", "template", "spec", "containers").each():
            for probe in ("readinessProbe", "livenessProbe") if container.at("ports").value else ():
                if not container.at(probe).value:
                    yield container.at(probe).wrong("is missing", "say how to ask the server")


RULES: tuple[Rule, ...] = (
    balancers_name_their_clients,
    rights_are_few,
    namespaces_enforce_restricted,
    nothing_is_open_by_default,
    servers_are_probed,
)
