"""A server with TF Serving's gRPC and REST APIs, for the store that TF Serving reads.

    tapeline serve serving.store=./store serving.grpc_port=8500 serving.rest_port=8501

It listens before it loads a model, so it is alive with an empty store, too. It is ready for a model when
/v1/models/NAME/metadata has status 200.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tapeline import tensorflow as tf
from tapeline.errors import Refused, refuse
from tapeline.serving.servers import event_loop, grpc_api
from tapeline.serving.servers.manager import Manager
from tapeline.serving.servers.monitoring import Monitoring
from tapeline.serving.servers.rest import METRICS, RestServer
from tapeline.serving.servers.tls import Certificate
from tapeline.serving.servers.work import Work

log = logging.getLogger(__name__)

SWITCH_SECONDS = 0.0005
"""After which a thread gives way to others: Python's 5 ms are longer than a small request takes."""


@dataclass(frozen=True)
class ListenAddress:
    """Where a server listens; port 0 is a free port that the system chooses."""

    host: str
    grpc_port: int
    rest_port: int | None
    """None: no REST API."""
    keys: tuple[str, str] = ("serving.grpc_port", "serving.rest_port")
    """The configuration keys of the ports, for messages."""
    metrics: str | None = METRICS
    """URL path of the Prometheus metrics; None: no metrics."""
    tls: Certificate | None = None
    """None: nothing is encrypted."""
    reload: bool = False
    """Whether HandleReloadConfigRequest is allowed also where others than this machine reach the server."""


class Server:
    """A running server; `poll` is called every `seconds` (0: once) to load what the store names."""

    def __init__(
        self, listen: ListenAddress, manager: Manager, poll: Callable[[Manager], None], seconds: float
    ) -> None:
        self.manager = manager
        self._poll = poll
        self._seconds = seconds
        self._stopped = threading.Event()
        self._poller = threading.Thread(target=self._poll_store, name="poll", daemon=True)
        monitoring, self._work = Monitoring(), Work()
        address = f"[{listen.host}]" if ":" in listen.host else listen.host
        reload = listen.reload or grpc_api.is_loopback(listen.host)
        self._grpc = grpc_api.GrpcServer(manager, monitoring, self._work, reload=reload)
        try:
            self.grpc_port = event_loop.call(self._grpc.start(f"{address}:{listen.grpc_port}", listen.tls))
        except OSError:
            raise _refused_address(listen.host, listen.grpc_port, listen.keys[0]) from None
        self._rest: RestServer | None = None
        self.rest_port: int | None = None
        if listen.rest_port is not None:
            rest = RestServer(manager, monitoring, self._work, listen.metrics)
            try:
                self.rest_port = rest.start(listen.host, listen.rest_port, listen.tls.rest if listen.tls else None)
            except OSError:
                event_loop.call(self._grpc.stop(None))
                raise _refused_address(listen.host, listen.rest_port, listen.keys[1]) from None
            self._rest = rest
        rest_at = f", REST on {address}:{self.rest_port}" if self._rest else ""
        encrypted = ", encrypted" if listen.tls else ""
        log.info("gRPC on %s:%d%s%s; stop with Ctrl-C", address, self.grpc_port, rest_at, encrypted)
        self._poller.start()

    def _poll_store(self) -> None:
        while not self._stopped.is_set():
            _load(self._poll, self.manager)
            self._stopped.wait(self._seconds if self._seconds > 0 else None)

    def stop(self) -> None:
        """Refuse new requests, answer those in flight, and unload the models."""
        self._stopped.set()
        grpc_stopped = event_loop.start(self._grpc.stop())
        if self._rest:
            self._rest.stop()
        grpc_stopped.result()
        self._work.close()
        self._poller.join()
        self.manager.close()


def _load(poll: Callable[[Manager], None], manager: Manager) -> None:
    """Load what the store names; an error of ours does not end the server."""
    try:
        poll(manager)
    except Exception:
        log.exception("unexpected error while new versions were loaded; the live versions stay live")


def _raise_descriptor_limit() -> None:
    """Let the process open as many files and connections as the system allows it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_ports(listen: ListenAddress) -> None:
    """Check the ports before TensorFlow is loaded, which takes some seconds.

    Raises:
        Refused: a port is in use, the host is not an address of this machine, or the user may not use the port.
    """
    for port, key in zip((listen.grpc_port, listen.rest_port), listen.keys, strict=True):
        if port:
            _try_listen(listen.host, port, key)


def _try_listen(host: str, port: int, key: str) -> None:
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise refuse(
                f"{key}={port}",
                "the port is in use",
                f"stop the program that uses it, or set another, for example {key}=8600",
            ) from None
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        problem = f"the server cannot listen there ({reason.lower()})"
        raise refuse(f"{host}:{port}", problem, f"set another host, or another port, for example {key}=8600") from None


def _refused_address(host: str, port: int, key: str) -> Refused:
    """The exception for an address that could not be used, with the reason of a second attempt."""
    try:
        _try_listen(host, port, key)
    except Refused as refusal:
        return refusal
    return refuse(f"{key}={port}", "the port was in use", "run the command again")


def follow_store(store: str) -> Callable[[Manager], None]:
    """The function `poll` of a server for a store: it reads models.config.

    Raises:
        Refused: the store is a URL.
    """
    if "://" in store:
        fix = f"mirror it to a folder: tapeline store sync {store} ./models"
        raise refuse(f"serving.store={store}", "the server reads local folders only", fix)
    path = Path(store) / "models.config"
    return lambda manager: manager.poll_config(path)


@contextmanager
def running(store: str, name: str, *, threads: int = 1, seconds: float = 30) -> Iterator[Server]:
    """A server in this process, on free ports of 127.0.0.1, when a version of the model `name` is live.

    Raises:
        Refused: the store is a URL, or no version of the model is live after `seconds`.
    """
    server = Server(ListenAddress("127.0.0.1", 0, 0), Manager(threads), follow_store(store), 0.1)
    deadline = time.monotonic() + seconds
    try:
        while not server.manager.live(name):
            if time.monotonic() > deadline:
                reason = "; ".join(server.manager.not_live()) or f"{store} has no such model"
                fix = "publish a model with this name first: tapeline publish run=latest"
                raise refuse(f"serving.name={name}", f"is not served ({reason})", fix)
            time.sleep(0.05)
        yield server
    finally:
        server.stop()


def serve(
    listen: ListenAddress, poll: Callable[[Manager], None], *, seconds: float, threads: int, loaded: bool = False
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        listen: where.
        poll: loads what the store names.
        seconds: between two polls.
        threads: of TensorFlow.
        loaded: listen only after the first poll, as TF Serving does: who connects then finds all models.

    Raises:
        Refused: a port cannot be used.
    """
    stop = threading.Event()

    def on_signal(number: int, frame: Any) -> None:
        stop.set()

    previous = {each: signal.signal(each, on_signal) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        check_ports(listen)
        _raise_descriptor_limit()
        sys.setswitchinterval(SWITCH_SECONDS)
        tf.load(threads)
        manager = Manager(threads)
        if loaded:
            _load(poll, manager)
        server = Server(listen, manager, poll, seconds)
        while not stop.wait(0.2):
            pass  # in short waits, since the signal may be delivered to another thread
        log.info("stopping when the requests in flight are answered")
        server.stop()
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
