"""HTTP connections with limits: how many, how long a request may take to arrive, how long a client may not read.

An error of HTTP itself, as a bad chunk or a path that is too long, has a JSON body like every error of the API.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from tapeline.serving.servers.event_loop import log_rarely

HEAD_SECONDS = 10.0
"""From a connection, or from the first byte of a further request, to the end of its headers."""
STALL_SECONDS = 60.0
"""That a client may leave a response unread."""
IDLE_SECONDS = 75.0
"""Between two requests of a connection."""
LINGER_SECONDS = 2.0
"""In which the rest of a body is read and dropped, so that the client reads why it was refused."""
MAX_CONNECTIONS = 1000
"""Or half of the file descriptors that the process may open, if that is less: models and the store need some."""


def error_body(message: str) -> str:
    """The body of a response that is an error, as TF Serving writes it."""
    return json.dumps({"error": message})


def connection_limit() -> int:
    """How many connections are accepted."""
    return max(1, min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))


class Connection(RequestHandler):  # type: ignore[misc]
    """aiohttp's connection, with deadlines."""

    __slots__ = ("_answering", "_deadline", "_stalled")

    def __init__(self, *arguments: Any, **keys: Any) -> None:
        super().__init__(*arguments, **keys)
        self._answering = False
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102  # asyncio's
        super().connection_made(transport)
        self._deadline = self._loop.call_later(HEAD_SECONDS, self._abort)

    def data_received(self, data: bytes) -> None:  # noqa: D102
        if not self._answering and self._deadline is None:
            self._deadline = self._loop.call_later(HEAD_SECONDS, self._abort)
        super().data_received(data)

    def answering(self, *, now: bool) -> None:
        """Say that a request has arrived up to its headers, or that it is answered."""
        self._answering = now
        self._cancel()

    def pause_writing(self) -> None:  # noqa: D102
        super().pause_writing()
        self._stalled = self._stalled or self._loop.call_later(STALL_SECONDS, self._abort)

    def resume_writing(self) -> None:  # noqa: D102
        super().resume_writing()
        self._read_again()

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: D102
        self._cancel()
        self._read_again()
        super().connection_lost(exc)

    def _read_again(self) -> None:
        if self._stalled:
            self._stalled.cancel()
            self._stalled = None

    def _cancel(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The response to a request that is not HTTP, or where our own code failed."""
        if status >= 500:
            log_rarely("http", "unexpected error in a REST request: %r", exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the response is sent already")
        text = "internal error; see the server's log" if status >= 500 else f"not valid HTTP: {_line(message, exc)}"
        response = web.Response(status=status, text=error_body(text), content_type="application/json")
        response.force_close()
        return response


def _line(message: str | None, error: BaseException | None) -> str:
    words = " ".join((message or str(error or ""))[:200].split())
    return "".join(each for each in words if each.isprintable()) or "the request cannot be read"


class _Full(asyncio.Protocol):
    """A connection above the limit: an error, and the end, when the client had the time to read the error."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        asyncio.get_running_loop().call_later(LINGER_SECONDS, transport.abort)
        body = error_body("the server has too many connections; connect again later").encode()
        head = f"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        transport.write(f"{head}\r\nConnection: close\r\n\r\n".encode() + body)
        transport.write_eof()


class HttpServer(web.Server):  # type: ignore[misc]
    """aiohttp's server, with a limit of connections."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        disabled = logging.getLogger("tapeline.serving.http")
        disabled.disabled = True  # aiohttp logs a traceback for each request that is not HTTP
        super().__init__(
            handler,
            handler_cancellation=True,  # a client that gives up does not leave work behind
            access_log=None,
            logger=disabled,
            auto_decompress=False,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
        )
        self._limit = connection_limit()

    def __call__(self) -> Any:
        """The protocol of a new connection."""
        if len(self._connections) >= self._limit:
            log_rarely("connections", "%d connections are open, the limit; others are refused", self._limit)
            return _Full()
        return Connection(self, loop=self._loop, **self._kwargs)
