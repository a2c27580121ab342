"""A local server with TF Serving's gRPC and REST API, on the store that TF Serving reads.

    tapeline serve serving.store=./store serving.grpc_port=8500 serving.rest_port=8501

Its ports open before any model is loaded, so it is alive with an empty store too; ready is where
/v1/models/NAME/metadata answers.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapeline import tensorflow as tf
from tapeline.errors import Refused, refuse
from tapeline.serving.servers import grpc_api
from tapeline.serving.servers.monitoring import Monitoring
from tapeline.serving.servers.rest import METRICS, Rest
from tapeline.serving.servers.versions import Versions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listen:
    """Where a server listens; port 0 is any free one."""

    host: str
    grpc_port: int
    rest_port: int | None
    """None: no REST."""
    keys: tuple[str, str] = ("serving.grpc_port", "serving.rest_port")
    """What people set the ports with."""
    metrics: str | None = METRICS
    """Path of the metrics; None: no metrics."""


class Server:
    """A running server."""

    def __init__(self, listen: Listen, versions: Versions, poll: Callable[[Versions], None], seconds: float) -> None:
        self.versions = versions
        self._poll = poll
        self._seconds = seconds
        self._ended = threading.Event()
        self._poller = threading.Thread(target=self._follow, name="poll", daemon=True)
        monitoring = Monitoring()
        address = f"[{listen.host}]" if ":" in listen.host else listen.host
        try:
            self._grpc, self.grpc_port = grpc_api.start(versions, monitoring, f"{address}:{listen.grpc_port}")
        except OSError:
            raise _taken(listen.host, listen.grpc_port, listen.keys[0]) from None
        self._rest: Rest | None = None
        self.rest_port: int | None = None
        if listen.rest_port is not None:
            rest = Rest(versions, monitoring, listen.metrics)
            try:
                self.rest_port = rest.start(listen.host, listen.rest_port)
            except OSError:
                self._grpc.stop(None)
                raise _taken(listen.host, listen.rest_port, listen.keys[1]) from None
            self._rest = rest
        rest_at = f", REST on {address}:{self.rest_port}" if self._rest else ""
        log.info("gRPC on %s:%d%s; stop with Ctrl-C", address, self.grpc_port, rest_at)
        self._poller.start()

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                self._poll(self.versions)
            except Exception:
                log.exception("looking for new versions failed in a way it should not; what was live stays so")
            self._ended.wait(self._seconds if self._seconds > 0 else None)

    def stop(self) -> None:
        """Take no new requests, end those in flight, unload."""
        self._ended.set()
        ended = self._grpc.stop(grpc_api.GRACE_SECONDS)
        if self._rest:
            self._rest.stop()
        ended.wait()
        self._poller.join()
        self.versions.close()


def check_ports(listen: Listen) -> None:
    """Refuse ports that cannot be had, before TensorFlow takes its seconds to load.

    Raises:
        Refused: one is in use, or not this machine's or this user's to have.
    """
    for port, key in zip((listen.grpc_port, listen.rest_port), listen.keys, strict=True):
        if port:
            _try(listen.host, port, key)


def _try(host: str, port: int, key: str) -> None:
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise refuse(f"{key}={port}", "the port is in use", "stop what uses it, or set another") from None
        what = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        problem = f"cannot be listened on ({what.lower()})"
        raise refuse(f"{host}:{port}", problem, f"set another host or {key}") from None


def _taken(host: str, port: int, key: str) -> Refused:
    """The refusal of an address, after a second look at why."""
    try:
        _try(host, port, key)
    except Refused as refusal:
        return refusal
    return refuse(f"{key}={port}", "the port was in use", "try again")


def follow_store(store: str) -> Callable[[Versions], None]:
    """What a server polls: the store's models.config.

    Raises:
        Refused: the store is a URL.
    """
    if "://" in store:
        raise refuse(
            f"serving.store={store}", "the server reads local folders only", "copy it: tapeline store sync URL DIR"
        )
    path = Path(store) / "models.config"
    return lambda versions: versions.follow(path)


@contextmanager
def running(store: str, name: str, *, threads: int = 1, seconds: float = 30) -> Iterator[Server]:
    """A server inside this process, on free ports of this machine, once it answers for `name`.

    Raises:
        Refused: the store is a URL, or the name is not live in so many seconds.
    """
    server = Server(Listen("127.0.0.1", 0, 0), Versions(threads), follow_store(store), 0.1)
    deadline = time.monotonic() + seconds
    try:
        while not server.versions.live(name):
            if time.monotonic() > deadline:
                why = "; ".join(server.versions.missing()) or f"{store} has no such name"
                raise refuse(f"serving.name={name}", f"is not served ({why})", "publish a model under this name first")
            time.sleep(0.05)
        yield server
    finally:
        server.stop()


def serve(listen: Listen, poll: Callable[[Versions], None], *, seconds: float, threads: int) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        Refused: a port cannot be had.
    """
    ended = threading.Event()

    def end(number: int, frame: Any) -> None:
        ended.set()

    before = {each: signal.signal(each, end) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        check_ports(listen)
        tf.load(threads)
        server = Server(listen, Versions(threads), poll, seconds)
        while not ended.wait(0.2):
            pass  # a signal that another thread's wait takes does not wake this one
        log.info("stopping, after the requests in flight")
        server.stop()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
