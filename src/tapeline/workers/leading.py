"""The process that leads: it brings workers together, passes on what they say, and ends them."""

from __future__ import annotations

import hmac
import json
import multiprocessing
import secrets
import select
import socket
import time
from collections.abc import Callable, Collection, Iterator, Sequence
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

    def __str__(self) -> str:
        return f"worker {self.rank} on {self.address}"

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
            fix = "run it again, with more memory or fewer workers"
            raise Lost(Finding(key, f"{self} was lost, perhaps because memory ran out", fix))
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

    def meet(self, receive: Callable[[Message], None]) -> None:
        """Send all of them the addresses of all, for the next model; lists are from worker 0 on.

        Raises:
            Lost: a worker is lost, or silent for too long; so do `results`.
        """
        ports = self._answers("port", receive, PATIENCE)
        self._say(machines=[f"{each.address}:{port}" for each, port in zip(self.members, ports, strict=True)])

    def results(self, receive: Callable[[Message], None]) -> list[Message]:
        """What each worker has at the end of a model, by rank; `receive` gets all that worker 0 says before."""
        found = self._answers("trained", receive, LATE)
        self._say(next=True)
        return found

    def _say(self, **message: Any) -> None:
        for member in self.members:
            with suppress(OSError):  # a lost one is seen at the next answer
                send(member.connection, message)

    def _answers(self, what: str, receive: Callable[[Message], None], late: float) -> list[Any]:
        """The answer of each; one that gave it is silent until `_say`, so no message of what follows is read here.

        Silence ends it: after PATIENCE, or `late` where some have answered.
        """
        by = {each.connection: each for each in self.members}
        found: dict[int, Any] = {}
        left = PATIENCE
        while len(found) < len(self.members):
            ready, _, _ = select.select(list(by), [], [], min(1.0, left))
            if not ready:
                left -= 1.0  # and no clock: time in which all are stopped (Ctrl-Z) does not count
                if left <= 0:
                    raise self._silent(found, late if found else PATIENCE)
                continue
            for member in (by[each] for each in ready):
                for message in member.heard(self.key):
                    if what in message:
                        found[member.rank] = message[what]
                    elif member.rank == 0:
                        receive(message)
            left = late if found else PATIENCE
        return [found[each.rank] for each in self.members]

    def _silent(self, found: Collection[int], seconds: float) -> Lost:
        names = " and ".join(str(each) for each in self.members if each.rank not in found)
        fix = "check whether its machine hangs or is slower than the others, and run it again"
        return Lost(Finding(self.key, f"{names} did not answer for {seconds:.0f} s", fix))


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
    try:
        # closed before they train: a worker of another run, whose name finds this pod too, would wait for an answer
        with socket.create_server(("" if job else LOCAL, PORT if job else 0)) as server:
            place = (LOCAL, server.getsockname()[1])
            for rank in range(1 if job else number):
                process = context.Process(target=joining.process, args=(place, own, rank, work), daemon=True)
                process.start()
                processes.append(process)
            members += _come(server, key, number, {own: True, **({job: False} if job else {})}, processes)
        yield Group(members, key)
        _end(members)
    except Refused as error:
        if not isinstance(error, Lost):  # which would be refused again
            _end(members)
        raise
    finally:
        for each in members:
            each.connection.close()
        for process in processes:
            process.join(5)
            process.kill()
            process.join()


def _end(members: Sequence[Member]) -> None:
    for each in members:
        with suppress(OSError):
            send(each.connection, {"end": True})


def _come(
    server: socket.socket, key: str, number: int, tokens: dict[str, bool], processes: Sequence[Any]
) -> list[Member]:
    """Accept workers until all are there; those of this machine know their rank, and others get the next one."""
    found: dict[int, Member] = {}
    deadline = time.monotonic() + PATIENCE
    server.settimeout(1)
    while len(found) < number:
        _still_awaited(key, number - len(found), deadline, processes)
        try:
            connection, (address, _) = server.accept()
        except TimeoutError:
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
        raise Lost(Finding(key, problem, "find out why their pods do not start, or set hw.workers lower"))


def _hello(connection: socket.socket) -> Message:
    """The first message of whoever connects; {} if it is none of ours."""
    data, deadline = b"", time.monotonic() + 5
    try:
        while b"\n" not in data and len(data) < 4096:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            data += (more := connection.recv(4096))
            if not more:
                return {}
        message = json.loads(data)
    except (OSError, ValueError):
        return {}
    connection.settimeout(None)
    known = isinstance(message, dict) and isinstance(message.get("job"), str)
    return message if known and isinstance(message.get("rank", 0), int) else {}
