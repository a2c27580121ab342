"""What pods connect to, as their configuration names it, and whether a NetworkPolicy lets them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from tapeline.checks import programs
from tapeline.checks.composed import composed
from tapeline.checks.nodes import Node, includes, read
from tapeline.checks.pods import WORKFLOWS, workflow
from tapeline.checks.references import REPOSITORY, Rule, Tree
from tapeline.config import compose as conf
from tapeline.errors import Finding, Refused
from tapeline.pipeline.graph import present

PORTS = {"postgresql": 5432, "postgres": 5432, "mysql": 3306, "mssql": 1433, "http": 80, "https": 443, "bigquery": 443}
"""By the scheme of a URL, without its driver."""
FIX = "add the component with-private-services, with its range and port"
Place = tuple[str, int]
"""Host and port."""


def steps_reach_what_they_read(tree: Tree) -> Iterator[Finding]:
    """A database or server that a step reads is one to which its pod may connect."""
    policies = _policies(tree)
    for document in tree.of(*WORKFLOWS):
        spec = workflow(document)
        shared = spec.at("podMetadata", "labels").mapping
        for template in spec.at("templates").each():
            labels = {**shared, **template.at("metadata", "labels").mapping}
            for key, url in _urls(template.at("container")).items():
                place = _place(url)
                if place and not _allowed(policies, labels, place):
                    problem = f"{key} is on {place[0]}:{place[1]}, and no NetworkPolicy lets this pod connect there"
                    yield template.at("container", "args").wrong(problem, FIX)


def artifacts_are_reached(tree: Tree) -> Iterator[Finding]:
    """The artifact repository of the namespace is one to which the pods of steps may connect."""
    policies = _policies(tree)
    steps = {"tapeline.dev/role": "runner"}
    for document in tree.of("ConfigMap"):
        if document.at("metadata", "annotations", REPOSITORY).value is None:
            continue
        for entry in document.at("data").each():
            content = read(entry.text, document.file)
            for inner in content if isinstance(content, list) else ():
                endpoint, secure = inner.at("s3", "endpoint").text, not inner.at("s3", "insecure").value
                place = _place(f"{'https' if secure else 'http'}://{endpoint}") if "." in endpoint else None
                if place and not _allowed(policies, steps, place):
                    problem = f"the store is on {place[0]}:{place[1]}, and no NetworkPolicy lets steps connect there"
                    yield entry.wrong(problem, FIX)


def _urls(container: Node) -> Mapping[str, str]:
    """The values of the configuration that name a server, by key, of the step that a container runs."""
    found = programs.arguments(container)
    if not found or found[0] != "step" or any("${" in word for word in found):
        return {}
    complete = tuple(word for word in found[1:] if word.count("{{") == word.count("}}") <= 1)
    return _of_step(str(conf.folder()), complete)


@lru_cache(maxsize=512)
def _of_step(folder: str, given: tuple[str, ...]) -> Mapping[str, str]:
    """The same for the arguments of `tapeline step`."""
    del folder  # part of the key of the cache
    try:
        call = programs.called(given)
        config = composed(call.overrides)
        steps = call.steps(present(config))
    except Refused:
        return {}  # programs.py reports it
    sections = {"dataset"} if any(each.world == "watched" for each in steps) else set()
    sections |= {"tune"} & {key.partition(".")[0] for each in steps for key in each.reads}
    keys = conf.flat(conf.plain(config)).items()
    return {
        key: value
        for key, value in keys
        if key.partition(".")[0] in sections and isinstance(value, str) and "://" in value
    }


def _place(url: str) -> Place | None:
    """Host and port of a URL; None where it has none, as s3://bucket."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS.get(parts.scheme.partition("+")[0])
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None


def _policies(tree: Tree) -> list[Node]:
    """Those about egress."""
    policies = (each.at("spec") for each in tree.of("NetworkPolicy"))
    return [each for each in policies if "Egress" in each.at("policyTypes").sequence]


def _allowed(policies: list[Node], labels: Mapping[str, Any], place: Place) -> bool:
    """Whether a pod with these labels may connect; a name may have any address, so that only its port counts."""
    own = [each for each in policies if _selected(each.at("podSelector"), labels)]
    return not own or any(_opens(rule, place) for each in own for rule in each.at("egress").each())


def _selected(selector: Node, labels: Mapping[str, Any]) -> bool:
    expressions = (
        labels.get(each.at("key").text) in each.at("values").sequence if each.at("operator").value == "In" else False
        for each in selector.at("matchExpressions").each()
    )
    return includes(labels, selector.at("matchLabels").mapping) and all(expressions)


def _opens(rule: Node, place: Place) -> bool:
    """Whether an egress rule opens the port, to the address where the host is one."""
    ports = [each.at("port").value for each in rule.at("ports").each() if each.at("protocol").value != "UDP"]
    if rule.at("ports").value and place[1] not in ports:
        return False
    try:
        address = ip_address(place[0])
    except ValueError:
        return True
    blocks = [each.at("ipBlock") for each in rule.at("to").each() if each.at("ipBlock").value]
    return not rule.at("to").value or any(_contains(block, address) for block in blocks)


def _contains(block: Node, address: IPv4Address | IPv6Address) -> bool:
    """Whether a block has an address; api.py reports ranges that are none."""
    try:
        within = [ip_network(str(each), strict=False) for each in block.at("except").sequence]
        whole = ip_network(str(block.at("cidr").value), strict=False)
    except ValueError:
        return True
    return address in whole and not any(address in each for each in within)


ABOUT = "tree"
RULES: tuple[Rule, ...] = (steps_reach_what_they_read, artifacts_are_reached)
