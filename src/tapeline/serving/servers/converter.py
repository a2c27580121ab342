"""JSON of large requests is read and written in a second process.

Python converts JSON while it holds the interpreter's lock: 40 MB take a second, in which no other request is answered.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import Any, TypeVar

from tapeline.serving.servers.request_error import RequestError

T = TypeVar("T")
TRIES = 2
NICENESS = 5
"""Below small requests in the scheduler's order."""


async def call(function: Callable[..., T], *arguments: Any) -> T:
    """The result of a function of a module, in the second process; its RequestError is raised here.

    A process that ends, as when it is killed for its memory, is replaced once for each call.

    Raises:
        RequestError: UNAVAILABLE, where the second one ended, too.
    """
    for _ in range(TRIES):
        pool = _pool()
        try:
            return await asyncio.wrap_future(pool.submit(function, *arguments))
        except BrokenProcessPool:
            if _pool() is pool:
                _pool.cache_clear()
            pool.shutdown(wait=False)
    problem = "the process that converts large requests ended; send fewer rows per request"
    raise RequestError("UNAVAILABLE", problem)


@cache
def _pool() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # a fork would have TensorFlow's threads, without their work
    return ProcessPoolExecutor(1, mp_context=context, initializer=_begin)


def _begin() -> None:
    """In the second process: leave Ctrl-C to the server, and end when the server does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent:
            parent.join()
        os._exit(0)

    threading.Thread(target=follow, daemon=True).start()
