"""A worker: it connects to the process that leads, does its part, and ends with it."""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tapeline.errors import Finding, Lost, Refused, refuse
from tapeline.workers import DATA_PORTS, HOST, LONGEST, PATIENCE, PORT, Message, keep, send
from tapeline.workers import job as run_of_pods

Place = tuple[str, int]
"""Address or name, and port."""


@dataclass(frozen=True)
class Link:
    """The connection of a worker."""

    connection: socket.socket
    rank: int
    workers: int
    pods: bool
    heard: queue.Queue[Message] = field(default_factory=queue.Queue)
    lock: Any = field(default_factory=threading.Lock)

    def say(self, **message: Any) -> None:
        """Send one message; where the other side is gone, this process is ended by `_listen`."""
        with self.lock, suppress(OSError):
            send(self.connection, message)

    def meet(self) -> tuple[str, ...]:
        """The addresses of all workers for the next model, by rank.

        Raises:
            Lost: the process that leads is silent for too long.
        """
        # kept until all have theirs, so that no two processes of a machine get the same one
        with _bound(DATA_PORTS if self.pods else range(1)) as kept:
            self.say(port=kept.getsockname()[1])
            return tuple(self._answer()["machines"])

    def trained(self, **result: Any) -> None:
        """Say what it has at the end of a model, and wait for the others."""
        self.say(trained=result)
        self._answer()

    def _answer(self) -> Message:
        seconds = PATIENCE * self.workers  # the one that leads may wait so long for each
        try:
            return self.heard.get(timeout=seconds)
        except queue.Empty:
            problem = f"the process that leads did not answer worker {self.rank} for {seconds:.0f} s"
            raise Lost(Finding(f"hw.workers={self.workers}", problem, "run it again")) from None

    @contextmanager
    def forwarding_log(self) -> Iterator[None]:
        """What worker 0 logs is logged by the process that leads."""
        if self.rank:
            yield
            return
        logger, handler = logging.getLogger("tapeline"), _Sender(self)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)


class _Sender(logging.Handler):
    def __init__(self, link: Link) -> None:
        super().__init__()
        self.link = link

    def emit(self, record: logging.LogRecord) -> None:
        self.link.say(said=record.getMessage(), progress=getattr(record, "progress", None))


def _bound(ports: range) -> socket.socket:
    """A socket that holds the first of these ports that is free; of 0, any one."""
    for _ in range(90):  # seconds; the system blocks a closed one for a minute
        for port in ports:
            held = socket.socket()
            try:
                held.bind(("", port))
            except OSError:
                held.close()
            else:
                return held
        time.sleep(1)
    raise refuse(f"ports {ports[0]} to {ports[-1]}", "none is free", "end what listens there, and run it again")


def process(place: Place, job: str, rank: int, work: Callable[[Link], None]) -> None:
    """A worker on the machine of the process that leads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that leads ends this one
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # threads of a library may write there
    connection = socket.create_connection(place, 30)
    if not _work(connection, job, work, pods=run_of_pods() is not None, rank=rank):
        os._exit(1)


def pod(job: str, work: Callable[[Link], None], place: Place = (HOST, PORT)) -> None:
    """A worker that is a pod of its own: it looks for the pod that leads its run.

    Raises:
        Refused: there is none in time, or what the work refuses.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for address in _addresses(place):
            with suppress(OSError), socket.create_connection((address, place[1]), 3) as connection:
                if _work(connection, job, work, pods=True):
                    return
        time.sleep(1)
    problem = f"no pod that leads this run answered in {PATIENCE:.0f} s"
    fix = "look at the pod of the step, and apply the Service and NetworkPolicy of deploy/kustomize/base"
    raise refuse(f"{place[0]}:{place[1]}", problem, fix)


def _addresses(place: Place) -> list[str]:
    try:
        found = socket.getaddrinfo(*place, socket.AF_INET, socket.SOCK_STREAM)
    except socket.gaierror:  # the Service has no pod yet
        return []
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def _work(
    connection: socket.socket, job: str, work: Callable[[Link], None], *, pods: bool, rank: int | None = None
) -> bool:
    """Do the work of the run with this token; False where the other side leads another one."""
    connection.settimeout(10)
    send(connection, {"job": job, **({} if rank is None else {"rank": rank})})
    connection.settimeout(PATIENCE)
    stream = connection.makefile("rb")
    try:
        answer = json.loads(stream.readline(LONGEST))
    except ValueError:
        return False
    keep(connection)
    connection.settimeout(None)
    link = Link(connection, answer["rank"], answer["workers"], pods)
    done = threading.Event()
    threading.Thread(target=_listen, args=(link, stream, done), daemon=True).start()
    try:
        with link.forwarding_log():
            work(link)
    except Refused as error:
        if isinstance(error, Lost):  # where another process is gone, the one that leads knows better
            done.wait(5)
        findings = [(each.where, each.problem, each.fix) for each in error.findings]
        link.say(refused=findings, lost=isinstance(error, Lost))
        if rank is not None:
            return True
        raise
    done.wait()
    return True


def _listen(link: Link, stream: Any, done: threading.Event) -> None:
    """Hear the process that leads. When it ends, this one does: a library may wait for lost workers for ever."""
    while line := _line(stream):
        message = json.loads(line)
        if "end" in message:
            done.set()
            # work that goes on now is of no use to anyone
            if link.pods:
                time.sleep(5)
                os._exit(0)
            return
        link.heard.put(message)
    os._exit(Lost.code)


def _line(stream: Any) -> bytes:
    try:
        return bytes(stream.readline(LONGEST))
    except OSError:
        return b""
