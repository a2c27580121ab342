"""Names, labels, quantities, choices, ports and secrets in any object of Kubernetes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from tapeline.checks.nodes import Node
from tapeline.checks.syntax import LABEL, is_label_key, is_label_value, is_subdomain, quantity
from tapeline.config.secrets import KEYS
from tapeline.errors import Finding, nearest

Rule = Callable[[Node], Iterable[Finding]]

PORTS = ("containerPort", "port", "targetPort", "nodePort", "hostPort")
NAMED = ("serviceAccountName", "secretName", "claimName", "namespace", "configMapName")
"""Keys whose value is an object's name."""
LISTS = ("containers", "initContainers", "sidecars", "volumes")
"""Lists whose items have DNS names."""
CHOICES = {
    "imagePullPolicy": ("Always", "IfNotPresent", "Never"),
    "restartPolicy": ("Always", "OnFailure", "Never", "ExitCode"),
    "retryPolicy": ("Always", "OnFailure", "OnError", "OnTransientError"),
    "concurrencyPolicy": ("Allow", "Forbid", "Replace"),
    "externalTrafficPolicy": ("Cluster", "Local"),
    "protocol": ("TCP", "UDP", "SCTP"),
    "whenUnsatisfiable": ("DoNotSchedule", "ScheduleAnyway"),
    "persistentVolumeReclaimPolicy": ("Retain", "Delete"),
}
"""Choices that the schemas do not list."""


def names_are_dns(document: Node) -> Iterator[Finding]:
    """Names are DNS names: lower-case letters, digits and hyphens."""
    kind = str(document.at("kind").value)
    for node in (document.at("metadata", "name"), document.at("metadata", "generateName")):
        name = node.text[:-1] if node.key == "generateName" and node.text.endswith("-") else node.text
        right = LABEL.fullmatch(name) if kind in ("Service", "Namespace", "TFJob") else is_subdomain(name)
        if node.value is not None and not right and not kind.endswith(("Role", "RoleBinding")):
            yield node.wrong(f"{node.value} is not a DNS name", _spelt(node))
    for node in document.walk():
        inside = node.key == "name" and len(node.keys) > 2 and _list(node.keys[-3:-1]) in LISTS
        right = LABEL.fullmatch(node.text) if inside else is_subdomain(node.text)
        if (inside or node.key in NAMED) and node.text and "{{" not in node.text and not right:
            yield node.wrong(f"{node.text} is not a DNS name", _spelt(node))


def _list(keys: tuple[str, ...]) -> str:
    """The name of the list whose item these keys lead to."""
    return keys[0] if keys[1].startswith("[") else ""


def _spelt(node: Node) -> str:
    better = re.sub(r"[^a-z0-9.]+", "-", str(node.value).lower()).strip("-.")
    return f"write {better}" if better else "use lower-case letters, digits and hyphens"


def label_keys_are_valid(document: Node) -> Iterator[Finding]:
    """Label keys are a name, or a domain and a name."""
    for whole, node in _below(document, "labels", "matchLabels", "nodeSelector", "annotations"):
        if not is_label_key(node.key):
            yield whole.wrong(
                f"{node.key} is not a valid label key", "write name or domain/name, with at most 63 characters"
            )


def label_values_are_valid(document: Node) -> Iterator[Finding]:
    """Label values are text of at most 63 characters; numbers and true need quotes."""
    for _, node in _below(document, "labels", "matchLabels", "nodeSelector"):
        if not is_label_value(node.value):
            fix = (
                "put it in quotes"
                if isinstance(node.value, (bool, int, float))
                else "use at most 63 letters, digits, hyphens, dots and underscores"
            )
            yield node.wrong(f"{node.value} is not a valid label value", fix)


def annotations_are_text(document: Node) -> Iterator[Finding]:
    """Annotations are text; numbers and true need quotes."""
    for _, node in _below(document, "annotations"):
        if not isinstance(node.value, str):
            yield node.wrong(f"{node.value} is not text", "put it in quotes")


def _below(document: Node, *keys: str) -> Iterator[tuple[Node, Node]]:
    for node in document.walk():
        if isinstance(node.value, dict) and not _is_schema(node):
            for key in keys:
                whole = node.at(key)
                # KFP's nodeSelector has an inner mapping `labels`, which is checked by itself
                flat = isinstance(whole.value, dict) and not any(
                    isinstance(each, dict) for each in whole.value.values()
                )
                yield from ((whole, each) for each in (whole.each() if flat else ()))


def _is_schema(node: Node) -> bool:
    return "openAPIV3Schema" in node.path or ".labels" in node.path


def quantities_are_valid(document: Node) -> Iterator[Finding]:
    """Quantities are written as Kubernetes does: 500m, 2Gi."""
    for node in _quantities(document):
        if quantity(node.value) is None:
            yield node.wrong(f"{node.value} is not a quantity", _corrected(str(node.value)))


def _quantities(document: Node) -> Iterator[Node]:
    for node in document.walk():
        if node.key in ("requests", "limits", "hard", "capacity") and isinstance(node.value, dict):
            yield from (each for each in node.each() if not isinstance(each.value, (dict, list)))
        elif node.key == "sizeLimit" and node.value is not None:
            yield node


def _corrected(text: str) -> str:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt])(?:i?b)?\s*", text, re.IGNORECASE)
    return f"write {found[1]}{found[2].upper()}i" if found else "write it as 500m, 2 or 4Gi"


def choices_exist(document: Node) -> Iterator[Finding]:
    """Fields with a fixed set of values have one of them."""
    for node in document.walk():
        known = CHOICES.get(node.key)
        if known and node.text and node.text not in known:
            yield node.wrong(
                f"{node.text} is not allowed", nearest(node.text, known, otherwise=f"use {' or '.join(known)}")
            )


def variables_have_names(document: Node) -> Iterator[Finding]:
    """Environment variables have valid names."""
    for node in document.walk():
        if node.keys[-2:-1] == ("env",) and isinstance(node.value, dict):
            name = node.at("name")
            if not re.fullmatch(r"[A-Za-z_]\w*", name.text):
                yield name.wrong(f"{name.value} is not a valid variable name", "use letters, digits and underscores")


def ports_exist(document: Node) -> Iterator[Finding]:
    """Ports are from 1 to 65535."""
    for node in document.walk():
        is_port = node.key in PORTS and isinstance(node.value, int)
        if is_port and not 1 <= node.value <= 65535:
            yield node.wrong(f"{node.value} is not a valid port", "choose one from 1 to 65535")


def no_secret_is_inside(document: Node) -> Iterator[Finding]:
    """No file contains a secret."""
    for node in document.walk():
        for pattern, what in KEYS:
            if pattern.search(node.text):
                yield node.wrong(f"contains {what}", "revoke it, and refer to a Secret that is created outside")
    if document.at("kind").value == "Secret":
        for whole in (document.at("data"), document.at("stringData")):
            for node in whole.each():
                if node.value:
                    yield node.wrong("contains a secret in plain text", "refer to a Secret that is created outside")


ABOUT = "object"
RULES: tuple[Rule, ...] = (
    names_are_dns,
    label_keys_are_valid,
    label_values_are_valid,
    annotations_are_text,
    quantities_are_valid,
    choices_exist,
    variables_have_names,
    ports_exist,
    no_secret_is_inside,
)
