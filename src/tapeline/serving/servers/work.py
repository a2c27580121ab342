"""Large requests: how many at once, and what happens when the client gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self, TypeVar

from tapeline.serving.servers import worker
from tapeline.serving.servers.request_error import RequestError

T = TypeVar("T")
SMALL_REQUEST_BYTES = 16 * 2**10
"""A smaller request takes about a millisecond and is answered in the event loop. Larger ones are counted here."""
MAX_REQUESTS = 32
"""Large requests in flight, those that wait included."""
MAX_BYTES = 256 * 2**20
"""Of all large requests in flight together, as received."""
THREADS = 2


class Work:
    """The large requests in flight. Its methods are called in the event loop only."""

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = 0
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="unpack")
        self._turn = asyncio.Semaphore()

    async def unpack(self, function: Callable[..., T], *arguments: Any) -> T:
        """The result of a function that runs in a thread, without the interpreter's lock."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def answer(self, function: Callable[..., T], *arguments: Any) -> T:
        """The result of a function of a module that runs in the second process, one after the other.

        When the client gives up: a function that waits is not started; one that runs is waited for.
        """
        async with self._turn:
            job = asyncio.ensure_future(worker.call(function, *arguments))
            try:
                return await asyncio.shield(job)
            except asyncio.CancelledError:
                await asyncio.wait({job})
                raise

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False)


class Reservation:
    """The place of one request among those in flight, for a `with` block; a small one needs none."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.bytes = 0
        self._reserved = 0

    @property
    def large(self) -> bool:
        """Whether the request is large."""
        return self.bytes > SMALL_REQUEST_BYTES

    def grow(self, size: int) -> None:
        """Count bytes that were received.

        Raises:
            RequestError: RESOURCE_EXHAUSTED, where too many large requests, or bytes of them, are in flight.
        """
        work = self._work
        self.bytes += size
        if not self.large:
            return
        more = self.bytes - self._reserved
        if not self._reserved and work.requests >= MAX_REQUESTS:
            problem = f"{MAX_REQUESTS} large requests are in flight, the limit; send it again later"
            raise RequestError("RESOURCE_EXHAUSTED", problem)
        if work.bytes + more > MAX_BYTES:
            problem = f"the requests in flight have {MAX_BYTES >> 20} MiB, the limit; send it again later"
            raise RequestError("RESOURCE_EXHAUSTED", problem)
        work.requests += not self._reserved
        work.bytes += more
        self._reserved += more

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._work.requests -= bool(self._reserved)
        self._work.bytes -= self._reserved
        self._reserved = 0
