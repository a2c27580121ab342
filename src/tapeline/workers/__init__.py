"""Processes that train one model together: one that leads, and workers that connect to it.

The one that leads trains nothing. It starts worker 0, and the others, too, where they are not pods of their own; it
gives all of them the list of their addresses, and ends them when one is lost. So a library that waits for a lost worker
for ever ends with its process.

Messages are lines of JSON: first what is common, as a token, so that runs side by side do not mix.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tapeline.errors import Finding, Lost

Message = dict[str, Any]

JOB, ROLE = "TAPELINE_JOB", "TAPELINE_ROLE"
"""Variables of pods: the token of the run, and `worker` in each pod that does not lead."""
HOST = "train-workers"
"""The headless Service of pods that lead."""
PORT = 12400
"""Where a pod that leads listens."""
DATA_PORTS = range(12401, 12500)
"""Where workers in pods listen to each other: for each model the first free one, since the system blocks a closed one
for a minute."""
PATIENCE = 900.0
"""Seconds in which all pods must have come, and of silence while they train."""
LATE = 120.0
"""Seconds of silence at the end, where some have ended."""
LONGEST = 1 << 16
"""Bytes of a message, at most."""


def job() -> str | None:
    """The token of the run whose pods train together; None where the workers are processes of this machine."""
    return os.environ.get(JOB) or None


def is_worker() -> bool:
    """Whether this process is a pod that does not lead."""
    return os.environ.get(ROLE) == "worker"


@contextmanager
def silenced() -> Iterator[None]:
    """What libraries write to standard error is not shown: they say there in many lines that a worker is lost."""
    stderr = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def lost(rank: int, addresses: Sequence[str], said: str) -> Lost:
    """What ends a worker that cannot reach the others, with what the library said."""
    problem = f"worker {rank} lost the others ({', '.join(addresses)}): {said}"
    return Lost(Finding(f"hw.workers={len(addresses)}", problem, "run it again"))


def send(connection: socket.socket, message: Message) -> None:
    """Write one message.

    Raises:
        OSError: the connection is closed.
    """
    connection.sendall(json.dumps(message).encode() + b"\n")


def keep(connection: socket.socket) -> None:
    """Let the system find out within half a minute that the other machine is gone."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
