"""The Pod Security Standard `restricted`, and what else keeps a pod harmless."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from tapeline.checks.nodes import Node
from tapeline.checks.pods import Pod, Rule
from tapeline.errors import Finding
from tapeline.redaction import holds_secret

VOLUMES = (
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
)
SHELLS = ("sh", "ash", "bash", "dash", "zsh", "busybox")
SECRET = re.compile(r"(?i)(password|passwd|secret|token|credential|access_?key|(^|_)key$)(?!.*(file|path|_name|_url)$)")
"""A variable whose value nobody may read."""


def runs_as_non_root(pod: Pod) -> Iterator[Finding]:
    """The kubelet refuses to start an image whose user is root."""
    for container in pod.containers:
        node = pod.security(container, "runAsNonRoot")
        if node.value is not True:
            where = container.at("securityContext", "runAsNonRoot") if node.value is None else node
            yield where.wrong("the container may run as root", "set it to true")


def user_is_not_root(pod: Pod) -> Iterator[Finding]:
    """No user 0."""
    for container in pod.containers:
        node = pod.security(container, "runAsUser")
        if str(node.value) == "0":
            yield node.wrong("0 is root", "set another user, as 10001")


def seccomp_is_on(pod: Pod) -> Iterator[Finding]:
    """The runtime's own filter of system calls."""
    for container in pod.containers:
        node = pod.security(container, "seccompProfile", "type")
        if node.value not in ("RuntimeDefault", "Localhost"):
            where = container.at("securityContext", "seccompProfile", "type") if node.value is None else node
            yield where.wrong("system calls are not filtered", "set it to RuntimeDefault")


def cannot_gain_rights(pod: Pod) -> Iterator[Finding]:
    """No setuid program helps it."""
    for container in pod.containers:
        node = container.at("securityContext", "allowPrivilegeEscalation")
        if node.value is not False:
            yield node.wrong("the process may gain rights", "set it to false")


def has_no_capabilities(pod: Pod) -> Iterator[Finding]:
    """All dropped; none but the binding of low ports may come back."""
    for container in pod.containers:
        capabilities = container.at("securityContext", "capabilities")
        if "ALL" not in (capabilities.at("drop").value or ()):
            yield capabilities.at("drop").wrong("capabilities are kept", "set it to [ALL]")
        for name in capabilities.at("add").value or ():
            if name != "NET_BIND_SERVICE":
                yield capabilities.at("add").wrong(f"{name} is forbidden", "leave it out")


def is_not_privileged(pod: Pod) -> Iterator[Finding]:
    """Nothing of the node's."""
    nodes = [pod.key(name) for name in ("hostNetwork", "hostPID", "hostIPC")]
    nodes += [container.at("securityContext", "privileged") for container in pod.containers]
    nodes += [port.at("hostPort") for container in pod.containers for port in container.at("ports").each()]
    for node in nodes:
        if node.value:
            yield node.wrong("gives the pod a part of the node", "leave it out")


def volumes_are_its_own(pod: Pod) -> Iterator[Finding]:
    """No folder of the node's."""
    for volume in pod.all("volumes"):
        for kind in volume.each():
            if kind.key != "name" and kind.key not in VOLUMES:
                yield kind.wrong("is a volume that restricted pods may not have", "use a claim or emptyDir")


def secrets_come_by_reference(pod: Pod) -> Iterator[Finding]:
    """A manifest lies in Git."""
    for container in pod.containers:
        for variable in container.at("env").each():
            value, name = variable.at("value"), str(variable.at("name").value)
            hidden = SECRET.search(name) and value.text
            if hidden or holds_secret(value.text):
                yield value.wrong(f"{name} is a secret in plain text", "use valueFrom.secretKeyRef")


def command_is_told(pod: Pod) -> Iterator[Finding]:
    """What an image would start is not for a manifest to guess."""
    for container in pod.containers:
        if not container.at("command").value:
            yield container.at("command").wrong("is missing, so the image decides what runs", "name the program")


def no_shell_runs(pod: Pod) -> Iterator[Finding]:
    """A shell would read values that were only meant to be passed on."""
    for container in pod.containers:
        words = [str(word) for key in ("command", "args") for word in container.at(key).value or ()]
        if words and words[0].rpartition("/")[2] in SHELLS:
            yield container.at("command").wrong(
                f"{words[0]} would interpret what is passed", "name the program itself, one argument an item"
            )
        elif _shell_inside(words):
            yield container.at("args").wrong("starts a shell", "name the program itself, one argument an item")


def _shell_inside(words: list[str]) -> bool:
    return any(
        one.rpartition("/")[2] in SHELLS and re.fullmatch(r"-\w*c", two) for one, two in itertools.pairwise(words)
    )


def nothing_is_left_to_fill_in(pod: Pod) -> Iterator[Finding]:
    """Of a builder's or a person's template; tapeline itself fills in ${oc.env:NAME}."""
    for container in pod.containers:
        known = {variable.at("name").value for variable in container.at("env").each()}
        for node in container.walk():
            for found in re.findall(r"\$\{(?!oc\.)[^}]*\}|<no value>|\bTODO\b", node.text):
                yield node.wrong(f"{found} is not filled in", "write the value")
            yield from _unknown_variables(container, node, known)


def _unknown_variables(container: Node, node: Node, known: set[object]) -> Iterator[Finding]:
    if container.at("envFrom").value or not {"args", "command", "env"} & set(node.keys):
        return
    for name in re.findall(r"(?<!\$)\$\(([A-Za-z_]\w*)\)", node.text):
        if name not in known:
            yield node.wrong(f"$({name}) is no variable of the container", "add it to env, or write the value")


RULES: tuple[Rule, ...] = (
    runs_as_non_root,
    user_is_not_root,
    seccomp_is_on,
    cannot_gain_rights,
    has_no_capabilities,
    is_not_privileged,
    volumes_are_its_own,
    secrets_come_by_reference,
    command_is_told,
    no_shell_runs,
    nothing_is_left_to_fill_in,
)
