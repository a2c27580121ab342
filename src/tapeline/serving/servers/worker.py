"""Large requests are answered in a second process, below small ones in the scheduler's order.

Python reads, converts and copies megabytes while it holds the interpreter's lock: in the server's own process, no other
request would be answered meanwhile. The second process starts with the first large request. It loads the versions that
it is asked for, and keeps those that are live.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tapeline.serving.servers import json_format, proto_format
from tapeline.serving.servers.loaded_model import LoadedModel, Source, find, load
from tapeline.serving.servers.request_error import RequestError

T = TypeVar("T")
Live = Mapping[str, Mapping[int, Source]]
"""The live versions by name and number, when a request arrived."""
TRIES = 2
NICENESS = 10
"""While small requests keep a processor busy, large ones get a tenth of it."""
_copies: dict[Source, LoadedModel] = {}
"""In the second process, the versions that are loaded."""


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
    problem = "the process that answers large requests ended; send fewer rows per request"
    raise RequestError("UNAVAILABLE", problem)


@cache
def _pool() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # a fork would have TensorFlow's threads, without their work
    return ProcessPoolExecutor(1, mp_context=context, initializer=_begin)


def _begin() -> None:
    """In the second process: leave Ctrl-C to the server, and end when the server does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent:
            parent.join()
        os._exit(0)

    threading.Thread(target=follow, daemon=True).start()


def answer_json(live: Live, name: str, number: int | None, body: bytes) -> bytes:
    """In the second process: the response body of a REST request.

    Raises:
        RequestError: the request cannot be answered.
    """
    return json_format.answer(_copy(live, name, number), body)


def answer_message(live: Live, content: bytes) -> tuple[str, bytes | RequestError]:
    """In the second process: the model's name in a PredictRequest, "" where it has none, and the PredictResponse."""
    name = ""
    try:
        request = proto_format.parse_predict(content)
        name, number = proto_format.model_spec(request)
        return name, proto_format.answer(_copy(live, name, number), request)
    except RequestError as error:
        return name, error


def _copy(live: Live, name: str, number: int | None) -> LoadedModel:
    """This process's copy of a live version; copies of others are closed."""
    source = find(live, name, number)
    for each in _copies.keys() - {each for numbers in live.values() for each in numbers.values()}:
        _copies.pop(each).close()
    if source not in _copies:
        try:
            _copies[source] = load(source.name, source.number, source.folder, source.threads)
        except ValueError as error:
            problem = f"{name} version {source.number} cannot answer large requests: {error}"
            raise RequestError("UNAVAILABLE", problem) from None
    _give_way()
    return _copies[source]


@cache
def _give_way() -> None:
    """Let small requests go first, once TensorFlow is loaded: a busy machine would take minutes for that."""
    # Linux gives each thread a priority of its own, and TensorFlow has its threads by now
    lower = os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
    threads = [int(each.name) for each in Path("/proc/self/task").glob("*")]
    for each in threads or [os.getpid()]:
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, each, lower)
