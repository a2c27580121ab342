"""The end of a run on a cluster: its summary, and the files that are copied here.

tapeline summary name=snp-deep-cpu-x7f status=Succeeded duration=84.1 metrics=metrics.json
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from tapeline import files
from tapeline.config.schema import Config
from tapeline.errors import refuse
from tapeline.pipeline.graph import METRICS
from tapeline.pipeline.run_folder import decision

FILE, END = "tapeline-file", "tapeline-end"
"""The start of a log line that contains a file."""


SECONDS = 2
"""Seconds between two status requests."""

State = Literal["waits", "runs", "again", "ran", "cached", "skipped", "failed"]


@dataclass(frozen=True)
class Part:
    """The status of a task."""

    name: str
    state: State
    seconds: float = 0
    note: str = ""
    """Why it waits, was restarted or failed."""


@dataclass(frozen=True)
class Seen:
    """The status of a run."""

    parts: Sequence[Part]
    ended: Literal["", "succeeded", "failed"]
    message: str = ""
    images: Mapping[str, str] = field(default_factory=dict)
    """The image of the pod of a task that ended, by the task's name, if the cluster says so."""


class Place(Protocol):
    """The interface of a cluster system."""

    def check(self, config: Config, overrides: Sequence[str]) -> list[str]:
        """Sentences about where a run would be; nothing is started, and what is missing there is refused."""

    def begin(self, config: Config, overrides: Sequence[str], *, apply: bool) -> str:
        """Start a run; return its name on the cluster."""

    def look(self, config: Config, run: str) -> Seen:
        """The status of the run."""

    def fetch(self, config: Config, run: str) -> Mapping[str, bytes]:
        """metrics.json, report.html and, if a version was published, published.json of a successful run."""

    def hint(self, config: Config, run: str) -> str:
        """The command that shows its progress."""

    def stop(self, config: Config, run: str) -> None:
        """Stop the run; its finished steps stay."""


def summary(record: Mapping[str, str]) -> str:
    """The result of a run: the failure with its reason, or the decision of the gate.

    Args:
        record: what a cluster says of a run: name, status, duration in seconds, failures as JSON, and the
            path of metrics.json, which is there if the gate came to decide.
    """
    lines = [
        f"{record.get('name', 'run')}: {record.get('status', 'ended')} after {_seconds(record.get('duration', ''))}"
    ]
    lines += [
        f"{each.get('displayName')}: {reason(str(each.get('message')))}"
        for each in _failures(record.get("failures", ""))
    ]
    path = Path(record.get(METRICS.name, METRICS.file))
    if path.is_file():
        lines.append(decision(files.read_json(path)))
    return "\n".join(lines)


def reason(message: str) -> str:
    """The last message of tapeline in a pod that failed, or else that of the cluster."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    ours = [line.partition("tapeline: ")[2] for line in lines if "tapeline: " in line]
    return "; ".join(ours) or (lines[0].removeprefix("main: ") if lines else "")


def pack(paths: Iterable[Path]) -> Iterator[str]:
    """Log lines that contain the files that exist."""
    for path in paths:
        if path.is_file():
            yield f"{FILE} {path.name}"
            yield from base64.encodebytes(path.read_bytes()).decode().splitlines()
            yield f"{END} {path.name} {files.digest_path(path)}"


def unpack(log: str, what: str, needed: str = METRICS.file) -> dict[str, bytes]:
    """The files in a log, by name.

    Args:
        log: with files that `pack` made.
        what: has this log, for the refusal.
        needed: the file that must be there.

    Raises:
        Refused: the log is cut off, or does not hold that file.
    """
    found: dict[str, bytes] = {}
    lines: list[str] | None = None
    for line in log.splitlines():
        word, _, rest = line.partition(" ")
        if word == FILE:
            lines = []
        elif word == END and lines is not None:
            name, _, digest = rest.partition(" ")
            content = base64.b64decode("".join(lines))
            if hashlib.sha256(content).hexdigest() == digest:
                found[name] = content
            lines = None
        elif lines is not None and " " not in line:  # Argo writes lines of its own between ours
            lines.append(line)
    if needed not in found:
        raise refuse(what, f"its log has no complete {needed}", "look at the log; the cluster may have truncated it")
    return found


def _seconds(text: str) -> str:
    try:
        return f"{float(text):.0f} s"
    except ValueError:
        return "a time that is not known"


def _failures(text: str) -> list[dict[str, Any]]:
    """The items of a JSON list, which may be JSON text themselves."""
    try:
        record = json.loads(text)
        record = json.loads(record) if isinstance(record, str) else record
    except ValueError:
        return []
    return [each for each in record if isinstance(each, dict)] if isinstance(record, list) else []
