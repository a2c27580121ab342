"""What the API server validates in single objects, beyond their schema: addresses, choices, numbers that fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network

from tapeline.checks.names import Rule
from tapeline.checks.nodes import Node
from tapeline.checks.syntax import quantity
from tapeline.errors import Finding, nearest

ACCESS = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
OPERATORS = {"matchExpressions": ("In", "NotIn", "Exists", "DoesNotExist"), "tolerations": ("Exists", "Equal")}
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def addresses_can_be_read(document: Node) -> Iterator[Finding]:
    """A range of addresses without bits behind its prefix; an exception lies within its range."""
    for node in document.walk():
        if node.key == "cidr" or "loadBalancerSourceRanges" in node.keys[-2:-1]:
            yield from _range(node)
        elif node.key == "ipBlock":
            whole = _network(node.at("cidr").text)
            for each in node.at("except").each():
                yield from _range(each)
                inner = _network(each.text)
                if whole and inner and not _within(inner, whole):
                    yield each.wrong(
                        f"{each.value} does not lie in {node.at('cidr').value}", "leave it out, or correct it"
                    )


def _range(node: Node) -> Iterator[Finding]:
    if _network(node.text) is None:
        yield node.wrong(f"{node.value} is not a range of addresses", "write as in 10.0.0.0/8")


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None


def _within(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
    if isinstance(inner, IPv4Network) and isinstance(outer, IPv4Network):
        return inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and isinstance(outer, IPv6Network) and inner.subnet_of(outer)


def words_are_choices(document: Node) -> Iterator[Finding]:
    """Access modes, types of Services, directions of policies, operators and effects."""
    kind, spec = document.at("kind").value, document.at("spec")
    for node in document.walk():
        if "accessModes" in node.keys[-2:-1]:
            yield from _choice(node, ACCESS)
        elif node.key == "operator":
            owner = next((key for key in OPERATORS if key in node.keys[-3:]), "")
            yield from _choice(node, OPERATORS.get(owner, (node.text,)))
        elif node.key == "effect":
            yield from _choice(node, EFFECTS)
    if kind == "Service":
        yield from _choice(spec.at("type"), TYPES)
    for node in spec.at("policyTypes").each() if kind == "NetworkPolicy" else ():
        yield from _choice(node, ("Ingress", "Egress"))


def _choice(node: Node, known: tuple[str, ...]) -> Iterator[Finding]:
    if node.value is not None and node.value not in known:
        fix = nearest(str(node.value), known, otherwise=f"use one of: {', '.join(known)}")
        yield node.wrong(f"cannot be {node.value}", fix)


def selectors_have_values(document: Node) -> Iterator[Finding]:
    """In and NotIn need values; Exists and DoesNotExist have none."""
    for node in document.walk():
        if len(node.keys) > 1 and node.keys[-2] == "matchExpressions":
            operator, values = node.at("operator").value, node.at("values")
            if operator in ("In", "NotIn") and not values.value:
                yield values.wrong(f"{operator} needs values", "name them")
            elif operator in ("Exists", "DoesNotExist") and values.value:
                yield values.wrong(f"{operator} has no values", "leave them out, or use In")
        tolerated = len(node.keys) > 1 and node.keys[-2] == "tolerations"
        if tolerated and node.at("operator").value == "Exists" and node.at("value").value is not None:
            yield node.at("value").wrong("Exists has no value", "leave it out, or use Equal")


def scalers_can_scale(document: Node) -> Iterator[Finding]:
    """The least number of pods is not above the largest, and a utilisation is a percentage."""
    if document.at("kind").value != "HorizontalPodAutoscaler":
        return
    spec = document.at("spec")
    least, most = spec.at("minReplicas").value or 1, spec.at("maxReplicas")
    if isinstance(most.value, int) and isinstance(least, int) and most.value < least:
        yield most.wrong(f"{most.value} is below minReplicas {least}", "raise it")
    for metric in spec.at("metrics").each():
        kind = str(metric.at("type").value)
        inside = metric.at(kind[:1].lower() + kind[1:])
        if inside.value is None:
            yield metric.wrong(f"it has the type {kind} and no {kind[:1].lower()}{kind[1:]}", "add it")
        share = inside.at("target", "averageUtilization")
        if inside.at("target", "type").value == "Utilization" and not isinstance(share.value, int):
            yield share.wrong("is missing", "write a percentage, as 70")
        elif isinstance(share.value, int) and not 1 <= share.value <= 100:
            yield share.wrong(f"{share.value} % is never reached, or always", "write a percentage from 1 to 100")


def budgets_allow_something(document: Node) -> Iterator[Finding]:
    """A budget says one of two numbers, and lets a node be drained."""
    if document.at("kind").value == "PodDisruptionBudget":
        spec = document.at("spec")
        if spec.at("minAvailable").value is not None and spec.at("maxUnavailable").value is not None:
            yield spec.wrong("has minAvailable and maxUnavailable", "leave one out")
        if spec.at("maxUnavailable").value in (0, "0", "0%") or spec.at("minAvailable").value == "100%":
            yield spec.wrong("no node with such a pod can be drained", "set maxUnavailable: 1")


def limits_fit_together(document: Node) -> Iterator[Finding]:
    """Of a LimitRange: minimum, default request, default and maximum in this order."""
    order = ("min", "defaultRequest", "default", "max")
    for limit in document.at("spec", "limits").each() if document.at("kind").value == "LimitRange" else ():
        known = [(side, limit.at(side)) for side in order]
        for number, (side, lower) in enumerate(known):
            for above, upper in known[number + 1 :]:
                for each in lower.each():
                    small, large = quantity(each.value), quantity(upper.at(each.key).value)
                    if small is not None and large is not None and small > large:
                        yield each.wrong(f"{side} {each.value} is above {above} {upper.at(each.key).value}", "lower it")


def probes_and_graces_fit(document: Node) -> Iterator[Finding]:
    """A probe ends before the next begins; a pod has time to stop after its preStop hook."""
    for node in document.walk():
        if node.key in PROBES and isinstance(node.value, dict):
            period, timeout = node.at("periodSeconds").value or 10, node.at("timeoutSeconds")
            if isinstance(timeout.value, int) and isinstance(period, int) and timeout.value > period:
                yield timeout.wrong(f"{timeout.value} s is longer than the period of {period} s", "lower it")
            for key in ("periodSeconds", "timeoutSeconds", "failureThreshold", "successThreshold"):
                if isinstance(node.at(key).value, int) and node.at(key).value < 1:
                    yield node.at(key).wrong(f"cannot be {node.at(key).value}", "write 1 or more")
            successes = node.at("successThreshold")
            if node.key != "readinessProbe" and isinstance(successes.value, int) and successes.value > 1:
                yield successes.wrong("must be 1 for this probe", "leave it out")
        if isinstance(node.at("containers").value, list):
            grace = node.at("terminationGracePeriodSeconds").value
            grace = 30 if grace is None else grace
            for container in node.at("containers").each():
                sleep = container.at("lifecycle", "preStop", "sleep", "seconds")
                if isinstance(sleep.value, int) and isinstance(grace, int) and sleep.value >= grace:
                    fix = "raise terminationGracePeriodSeconds"
                    yield sleep.wrong(f"{sleep.value} s leaves nothing of the grace period of {grace} s", fix)


def restarts_fit_the_kind(document: Node) -> Iterator[Finding]:
    """A Deployment's pods are always restarted, a Job's never always; Recreate rolls nothing."""
    kind = document.at("kind").value
    pods = document.at("spec", "template", "spec")
    if kind == "CronJob":
        pods = document.at("spec", "jobTemplate", "spec", "template", "spec")
    restart = pods.at("restartPolicy")
    if kind in ("Deployment", "StatefulSet", "DaemonSet") and restart.value not in (None, "Always"):
        yield restart.wrong(f"a {kind} takes Always only", "leave it out")
    if kind in ("Job", "CronJob") and restart.value not in ("Never", "OnFailure"):
        yield restart.wrong(f"a {kind} takes Never or OnFailure", "set it to Never")
    strategy = document.at("spec", "strategy")
    if strategy.at("type").value == "Recreate" and strategy.at("rollingUpdate").value:
        yield strategy.at("rollingUpdate").wrong("Recreate rolls nothing", "leave it out")
    if kind == "Deployment":
        yield from _choice(strategy.at("type"), ("Recreate", "RollingUpdate"))


def ports_and_variables_are_given_once(document: Node) -> Iterator[Finding]:
    """A Service's ports differ, and so do those of a container, and its variables."""
    for node in document.walk():
        if node.key in ("ports", "env") and isinstance(node.value, list) and "ingress" not in node.keys:
            names = [each.at("name").value for each in node.each() if each.at("name").value is not None]
            number = "containerPort" if any(each.at("containerPort").value for each in node.each()) else "port"
            numbers = [(each.at(number).value, each.at("protocol").value or "TCP") for each in node.each()]
            for name, count in Counter(map(str, names)).items():
                if count > 1:
                    yield node.wrong(f"{name} occurs {count} times", "leave one, or rename one")
            for (port, protocol), count in Counter(numbers).items():
                if node.key == "ports" and port is not None and count > 1 and "egress" not in node.keys:
                    yield node.wrong(f"{port}/{protocol} occurs {count} times", "leave one")


ABOUT = "object"
RULES: tuple[Rule, ...] = (
    addresses_can_be_read,
    words_are_choices,
    selectors_have_values,
    scalers_can_scale,
    budgets_allow_something,
    limits_fit_together,
    probes_and_graces_fit,
    restarts_fit_the_kind,
    ports_and_variables_are_given_once,
)
