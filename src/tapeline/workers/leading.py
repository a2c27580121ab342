"""The process that leads: it brings workers together, tells what they say, and ends them."""

from __future__ import annotations

import hmac
import json
import multiprocessing
import secrets
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tapeline.errors import Finding, Lost, Refused
from tapeline.workers import LATE, LONGEST, PATIENCE, PORT, Message, joining, keep, send
from tapeline.workers.joining import Link

Work = Callable[[Link], None]
"""What a worker does; it can be pickled."""
LOCAL = "127.0.0.1"


@dataclass
class Member:
    """A worker as the leading process sees it."""

    rank: int
    connection: socket.socket
    address: str
    rest: bytes = b""

    def heard(self, key: str) -> Iterator[Message]:
        """What it has said.

        Raises:
            Lost: its process or pod is gone.
            Refused: what it refused.
        """
        try:
            data = self.connection.recv(LONGEST)
        except OSError:
            data = b""
        if not data:
            problem = f"worker {self.rank} on {self.address} was lost, perhaps for want of memory"
            raise Lost(Finding(key, problem, "run it again, with more memory or fewer workers"))
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "refused" in message:
                error = Lost if message.get("lost") else Refused
                raise error(*(Finding(*each) for each in message["refused"]))
            yield message


@dataclass(frozen=True)
class Group:
    """All workers of a training, by rank."""

    members: Sequence[Member]
    key: str
    """Override that messages name."""

    def meet(self) -> None:
        """Tell all of them the addresses of all, for the next model; lists are from worker 0 on."""
        addresses: dict[int, str] = {}
        for member, message in self._said(PATIENCE):
            addresses[member.rank] = f"{member.address}:{message['port']}"
            if len(addresses) == len(self.members):
                break
        machines = [addresses[rank] for rank in range(len(self.members))]
        for member in self.members:
            with suppress(OSError):  # a lost one is seen below
                send(member.connection, {"machines": machines})

    def results(self, tell: Callable[[Message], None]) -> list[Message]:
        """What each worker has at the end of a model, by rank; `tell` gets all that worker 0 says before.

        Raises:
            Lost: a worker is lost, or ends much later than the first one.
        """
        found: dict[int, Message] = {}
        for member, message in self._said(None, found):
            if "trained" in message:
                found[member.rank] = message["trained"]
            elif member.rank == 0:
                tell(message)
            if len(found) == len(self.members):
                break
        return [found[rank] for rank in range(len(self.members))]

    def _said(self, seconds: float | None, found: dict[int, Message] | None = None) -> Iterator[tuple[Member, Message]]:
        """Messages of all as they come; when some have a result, the others have LATE seconds."""
        by = {each.connection: each for each in self.members}
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            if found and deadline is None:
                deadline = time.monotonic() + LATE
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select(list(by), [], [], left)
            if not ready:
                problem = (
                    f"the workers did not end at the same round, or one did not answer for {seconds or LATE:.0f} s"
                )
                raise Lost(Finding(self.key, problem, "run it again, on machines of one type"))
            for each in ready:
                yield from ((by[each], message) for message in by[each].heard(self.key))


@contextmanager
def group(key: str, number: int, job: str | None, work: Work) -> Iterator[Group]:
    """Worker 0 as a process, and the others as processes, or as pods that connect with the token `job`.

    Raises:
        Lost: some did not come in time.
    """
    context = multiprocessing.get_context("spawn")  # fork would copy locks of threads of Polars
    own = secrets.token_hex(16)
    processes: list[Any] = []
    members: list[Member] = []
    with socket.create_server(("" if job else LOCAL, PORT if job else 0)) as server:
        place = (LOCAL, server.getsockname()[1])
        try:
            for rank in range(1 if job else number):
                process = context.Process(target=joining.process, args=(place, own, rank, work), daemon=True)
                process.start()
                processes.append(process)
            members += _come(server, key, number, {own: True, **({job: False} if job else {})}, processes)
            yield Group(members, key)
            for each in members:
                with suppress(OSError):
                    send(each.connection, {"end": True})
        except Refused as error:
            if not isinstance(error, Lost):  # which would be refused again
                for each in members:
                    with suppress(OSError):
                        send(each.connection, {"end": True})
            raise
        finally:
            for each in members:
                each.connection.close()
            for process in processes:
                process.join(5)
                process.kill()
                process.join()


def _come(
    server: socket.socket, key: str, number: int, tokens: dict[str, bool], processes: Sequence[Any]
) -> list[Member]:
    """Accept workers until all are there; those of this machine know their rank, and others get the next one."""
    found: dict[int, Member] = {}
    deadline = time.monotonic() + PATIENCE
    server.settimeout(1)
    while len(found) < number:
        try:
            connection, (address, _) = server.accept()
        except TimeoutError:
            _still_awaited(key, number - len(found), deadline, processes)
            continue
        hello = _hello(connection)
        own = next((own for token, own in tokens.items() if hmac.compare_digest(token, hello.get("job", ""))), None)
        free = [rank for rank in range(number) if rank not in found]
        given = [rank for rank in free if (rank == hello.get("rank") if own else rank)]
        if own is None or not given:
            connection.close()
            continue
        found[given[0]] = Member(given[0], connection, address)
        keep(connection)
        with suppress(OSError):  # a lost one is seen later
            send(connection, {"rank": given[0], "workers": number})
    # pods reach worker 0 by the address of this pod
    here = next((each.connection.getsockname()[0] for each in found.values() if each.address != LOCAL), LOCAL)
    for each in found.values():
        each.address = here if each.address == LOCAL else each.address
    return [found[rank] for rank in range(number)]


def _still_awaited(key: str, missing: int, deadline: float, processes: Sequence[Any]) -> None:
    """Raises Lost where nobody can come any more."""
    if any(each.exitcode is not None for each in processes):
        raise Lost(Finding(key, "a worker ended before it was at work", "run it again, with more memory"))
    if time.monotonic() > deadline:
        problem = f"{missing} workers did not come in {PATIENCE:.0f} s"
        raise Lost(Finding(key, problem, "look why their pods do not start, or set hw.workers lower"))


def _hello(connection: socket.socket) -> Message:
    """The first message of whoever connects; {} if it is none of ours."""
    connection.settimeout(5)
    try:
        message = json.loads(connection.makefile("rb").readline(4096))
    except (OSError, ValueError):
        return {}
    connection.settimeout(None)
    known = isinstance(message, dict) and isinstance(message.get("job"), str)
    return message if known and isinstance(message.get("rank", 0), int) else {}
