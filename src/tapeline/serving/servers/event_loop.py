"""The event loop of the servers: one for the whole process, in a thread, since gRPC's asyncio API needs one only."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from functools import cache
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")
SECONDS = 60.0
"""Between two log lines about the same thing."""
_logged: dict[str, float] = {}


@cache
def running() -> asyncio.AbstractEventLoop:
    """The loop; the first call starts it."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(_report)
    threading.Thread(target=loop.run_forever, name="servers", daemon=True).start()
    return loop


def start(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Run a coroutine in the loop."""
    return asyncio.run_coroutine_threadsafe(coroutine, running())


def call(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that runs in the loop; not to be called from the loop's own thread."""
    return start(coroutine).result()


def log_rarely(subject: str, message: str, *values: object) -> None:
    """Log a warning, at most one a minute for a subject: a client can cause it many times a second."""
    now = time.monotonic()
    if now >= _logged.get(subject, now):
        _logged[subject] = now + SECONDS
        log.warning(f"{message} (at most one line a minute)", *values)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Asyncio calls this for each connection that it cannot accept, as at the limit of file descriptors."""
    del loop
    error = context.get("exception")
    if isinstance(error, ConnectionError | TimeoutError | BlockingIOError):
        return
    log_rarely(str(context.get("message")), "%s: %s", context.get("message"), error)
