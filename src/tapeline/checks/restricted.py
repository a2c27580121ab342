"""The Pod Security Standard `restricted`, and rules about commands, shells and secrets."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from tapeline.checks.nodes import Node
from tapeline.checks.pods import Pod, Rule
from tapeline.errors import Finding
from tapeline.redaction import KEYS, holds_secret

VOLUMES = (
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
)
SHELLS = ("sh", "ash", "bash", "dash", "zsh", "busybox")
SECRET = re.compile(r"(?i)(password|passwd|secret|token|credential|access_?key|(^|_)key$)(?!.*(file|path|_name|_url)$)")
"""Names of variables with secret values."""


def runs_as_non_root(pod: Pod) -> Iterator[Finding]:
    """Containers run as another user than root."""
    for container in pod.containers:
        node = pod.security(container, "runAsNonRoot")
        if node.value is not True:
            where = container.at("securityContext", "runAsNonRoot") if node.value is None else node
            yield where.wrong("the container may run as root", "set it to true")


def user_is_not_root(pod: Pod) -> Iterator[Finding]:
    """The user is not 0."""
    for container in pod.containers:
        node = pod.security(container, "runAsUser")
        if str(node.value) == "0":
            yield node.wrong("0 is the user root", "set another user, for example 10001")


def seccomp_is_on(pod: Pod) -> Iterator[Finding]:
    """The seccomp profile of the runtime filters system calls."""
    for container in pod.containers:
        node = pod.security(container, "seccompProfile", "type")
        if node.value not in ("RuntimeDefault", "Localhost"):
            where = container.at("securityContext", "seccompProfile", "type") if node.value is None else node
            yield where.wrong("system calls are not filtered", "set it to RuntimeDefault")


def cannot_gain_privileges(pod: Pod) -> Iterator[Finding]:
    """No process gains privileges, for example by a setuid program."""
    for container in pod.containers:
        node = container.at("securityContext", "allowPrivilegeEscalation")
        if node.value is not False:
            yield node.wrong("the process may gain privileges", "set it to false")


def has_no_capabilities(pod: Pod) -> Iterator[Finding]:
    """All capabilities are dropped; only NET_BIND_SERVICE may be added."""
    for container in pod.containers:
        capabilities = container.at("securityContext", "capabilities")
        if "ALL" not in capabilities.at("drop").sequence:
            yield capabilities.at("drop").wrong("not all capabilities are dropped", "set it to [ALL]")
        for name in capabilities.at("add").sequence:
            if name != "NET_BIND_SERVICE":
                yield capabilities.at("add").wrong(f"{name} is forbidden", "remove it")


def is_not_privileged(pod: Pod) -> Iterator[Finding]:
    """The pod does not share namespaces, ports or privileges of the node."""
    nodes = [pod.key(name) for name in ("hostNetwork", "hostPID", "hostIPC")]
    nodes += [container.at("securityContext", "privileged") for container in pod.containers]
    nodes += [port.at("hostPort") for container in pod.containers for port in container.at("ports").each()]
    for node in nodes:
        if node.value:
            yield node.wrong("gives the pod access to the node", "remove it")


def volumes_are_allowed(pod: Pod) -> Iterator[Finding]:
    """Volumes have types that `restricted` allows."""
    for volume in pod.all("volumes"):
        for kind in volume.each():
            if kind.key != "name" and kind.key not in VOLUMES:
                yield kind.wrong(
                    "is not allowed by the Pod Security Standard restricted", "use a PersistentVolumeClaim or emptyDir"
                )


def secrets_are_references(pod: Pod) -> Iterator[Finding]:
    """Secrets are references, since manifests are committed to Git."""
    for container in pod.containers:
        for variable in container.at("env").each():
            value, name = variable.at("value"), str(variable.at("name").value)
            hidden = SECRET.search(name) and value.text
            known = any(pattern.search(value.text) for pattern, _ in KEYS)  # names.py finds these in any field
            if hidden or (holds_secret(value.text) and not known):
                yield value.wrong(f"{name} contains a secret in plain text", "use valueFrom.secretKeyRef")


def command_is_set(pod: Pod) -> Iterator[Finding]:
    """Each container has a command."""
    for container in pod.containers:
        if not container.at("command").value:
            yield container.at("command").wrong("is missing, so the image decides what runs", "write the program")


def no_shell_runs(pod: Pod) -> Iterator[Finding]:
    """No shell runs: it would interpret parameters."""
    for container in pod.containers:
        words = [str(word) for key in ("command", "args") for word in container.at(key).sequence]
        if words and words[0].rpartition("/")[2] in SHELLS:
            yield container.at("command").wrong(
                f"{words[0]} would interpret the arguments",
                "write the program itself, with one list item for each argument",
            )
        elif _shell_inside(words):
            yield container.at("args").wrong(
                "starts a shell", "write the program itself, with one list item for each argument"
            )


def _shell_inside(words: list[str]) -> bool:
    return any(
        one.rpartition("/")[2] in SHELLS and re.fullmatch(r"-\w*c", two) for one, two in itertools.pairwise(words)
    )


def no_placeholder_is_left(pod: Pod) -> Iterator[Finding]:
    """No placeholder of a template is left; ${oc.env:NAME} is allowed, since tapeline resolves it."""
    for container in pod.containers:
        known = {variable.at("name").text for variable in container.at("env").each()}
        for node in container.walk():
            for found in re.findall(r"\$\{(?!oc\.)[^}]*\}|<no value>|\bTODO\b", node.text):
                yield node.wrong(f"{found} is an unresolved placeholder", "write the value")
            yield from _unknown_variables(container, node, known)


def _unknown_variables(container: Node, node: Node, known: set[str]) -> Iterator[Finding]:
    if container.at("envFrom").value or not {"args", "command", "env"} & set(node.keys):
        return
    for name in re.findall(r"(?<!\$)\$\(([A-Za-z_]\w*)\)", node.text):
        if name not in known:
            yield node.wrong(f"$({name}) is not a variable of the container", "add it to env, or write the value")


ABOUT = "pod"
RULES: tuple[Rule, ...] = (
    runs_as_non_root,
    user_is_not_root,
    seccomp_is_on,
    cannot_gain_privileges,
    has_no_capabilities,
    is_not_privileged,
    volumes_are_allowed,
    secrets_are_references,
    command_is_set,
    no_shell_runs,
    no_placeholder_is_left,
)
