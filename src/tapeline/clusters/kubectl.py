"""The cluster of kubectl's current context; each of its errors becomes one sentence."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tapeline.errors import Finding, Refused, refuse

Object = dict[str, Any]

OVERLAY = "apply an overlay of deploy/kustomize"
AWAY = r"Unable to connect|connection refused|i/o timeout|no such host|TLS handshake|timed out|unavailable|EOF"
"""kubectl's messages when the cluster does not answer."""
PAUSE, PATIENCE = 5, 12
"""Seconds between attempts, and the number of attempts, while a run is followed."""
KEYS = "secret {{range $key, $value := .data}}{{$key}} {{end}}"
"""What kubectl prints of a Secret: the word, and the names of its keys."""
NOES = (
    (
        r"current-context is not set|localhost:8080",
        "has no context",
        "set KUBECONFIG, or kubectl config use-context NAME",
    ),
    (AWAY, "the cluster of the current context does not answer", "see kubectl cluster-info"),
    (r"[Uu]nauthorized|must be logged in", "the cluster does not know you", "log in, or choose another context"),
    (r'namespaces "[^"]*" not found', "there is no such namespace", f"{OVERLAY}, or set target.namespace"),
    (
        r"doesn't have a resource type|no matches for kind|could not find the requested resource",
        "the cluster does not know this kind of object",
        "install Argo Workflows 4 for target=argo, Kubeflow's training operator 1 for target=tfjob",
    ),
    (r"[Ff]orbidden", "you are not allowed to", "ask for a role that may, in this namespace"),
)
"""Patterns in kubectl's messages, with our problem and fix; the first match counts."""


def run(*words: str, stdin: str | None = None, tries: int = 1) -> str:
    """Run kubectl; its standard output.

    Args:
        words: behind kubectl.
        stdin: what it reads.
        tries: while the cluster does not answer.

    Raises:
        Refused: it is not here, or the cluster says no.
    """
    program = shutil.which("kubectl")
    if program is None:
        raise refuse("kubectl", "is not installed", "install it; make submit needs it")
    line = [program, "--request-timeout=30s", *words]
    done = subprocess.run(line, input=stdin, capture_output=True, text=True, check=False)
    if not done.returncode:
        return done.stdout
    if tries > 1 and re.search(AWAY, done.stderr):
        time.sleep(PAUSE)
        return run(*words, stdin=stdin, tries=tries - 1)
    raise refused(done.stderr, words)


def refused(said: str, words: Iterable[str]) -> Refused:
    """A finding from kubectl's standard error."""
    last = (said.strip().splitlines() or ["it said nothing"])[-1].removeprefix("error: ")
    what = " ".join(["kubectl", *(word for word in words if not word.startswith("-"))])
    for pattern, problem, fix in NOES:
        if re.search(pattern, said):
            return refuse(what, f"{problem} ({last})", fix)
    return refuse(what, last, "run the same with kubectl to see more")


def get(namespace: str, kind: str, name: str, tries: int = 1) -> Object | None:
    """An object, or None if it does not exist."""
    content = run("-n", namespace, "get", kind, name, "-o=json", "--ignore-not-found", tries=tries)
    return dict(json.loads(content)) if content.strip() else None


def items(namespace: str, kind: str, label: str, tries: int = 1) -> list[Object]:
    """The objects with a label."""
    return list(json.loads(run("-n", namespace, "get", kind, "-l", label, "-o=json", tries=tries))["items"])


def events(namespace: str, pod: str, tries: int = 1) -> list[Object]:
    """The events of a pod, the oldest first."""
    which = f"--field-selector=involvedObject.kind=Pod,involvedObject.name={pod}"
    found = json.loads(run("-n", namespace, "get", "events", which, "-o=json", tries=tries))["items"]
    return sorted(found, key=lambda each: str(each.get("lastTimestamp") or each.get("eventTime") or ""))


def create(namespace: str, what: Mapping[str, Any]) -> str:
    """Create an object; return its name, which the cluster may have generated."""
    content = run("-n", namespace, "create", "-f=-", "-o=json", stdin=json.dumps(what))
    return str(json.loads(content)["metadata"]["name"])


def patch(namespace: str, kind: str, name: str, change: Mapping[str, Any]) -> None:
    """Merge a change into an object."""
    run("-n", namespace, "patch", kind, name, "--type=merge", f"--patch={json.dumps(change)}")


def delete(namespace: str, kind: str, name: str) -> None:
    """Delete an object, if it is there; its pods may go later."""
    run("-n", namespace, "delete", kind, name, "--ignore-not-found", "--wait=false")


def logs(namespace: str, label: str, container: str) -> str:
    """The whole log of the pods with a label."""
    return run("-n", namespace, "logs", "-l", label, "-c", container, "--tail=-1")


def need(namespace: str, wanted: Mapping[tuple[str, str], str]) -> None:
    """Refuse if objects that a run needs are missing; objects that this account may not read are not checked.

    Args:
        namespace: theirs.
        wanted: the key of the configuration that names each, by kind and name.
    """
    if findings := missing(namespace, wanted):
        raise Refused(*findings)


def missing(namespace: str, wanted: Mapping[tuple[str, str], str]) -> list[Finding]:
    """A finding for each object that is missing, or for the namespace; arguments as `need` has them."""
    if readable("", "namespace", namespace) is None:
        return [Finding(f"target.namespace={namespace}", "there is no such namespace", f"{OVERLAY}, or name another")]
    return [
        Finding(f"{kind} {name}", f"is not in namespace {namespace}", f"{OVERLAY}, or name another with {key}")
        for (kind, name), key in wanted.items()
        if readable(namespace, kind, name) is None
    ]


def readable(namespace: str, kind: str, name: str) -> Object | None:
    """An object, {} if this account may not read it, or None if it does not exist. Of a Secret, only the keys.

    Args:
        namespace: "" for an object that is in none.
        kind: of the object.
        name: of the object.
    """
    scope = ("-n", namespace) if namespace else ()
    form = f"go-template={KEYS}" if kind == "secret" else "json"
    try:
        content = run(*scope, "get", kind, name, f"-o={form}", "--ignore-not-found").strip()
    except Refused as error:
        if "not allowed" in error.findings[0].problem:
            return {}
        raise
    if kind == "secret" and content:
        return {"data": dict.fromkeys(content.split()[1:], "")}
    return dict(json.loads(content)) if content else None
