"""One client that asks for ever: half bodies, large JSON, claimed sizes, large messages, or noise.

python -m tests.faults.malicious_clients KIND REST_PORT GRPC_PORT FOLDER SEED

FOLDER has the messages as files, so that a client starts without TensorFlow. It writes `ready`, a line for each answer
that is wrong, and at SIGTERM how many requests it has made.
"""

from __future__ import annotations

import http.client
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

KINDS = ("half", "json", "claim", "packed", "noise")
HALF = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"[" * 500
PREDICT = "/tensorflow.serving.PredictionService/Predict"


def half(port: int, held: list[socket.socket]) -> None:
    """Begin a body and leave it; the connection stays open."""
    held.append(socket.create_connection(("127.0.0.1", port), 5))
    held[-1].sendall(HALF)
    if len(held) > 200:
        held.pop(0).close()
    time.sleep(0.02)


def post(port: int, body: bytes) -> None:
    """Send a body and read the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/v1/models/m:predict", body)
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    if answer.status not in (200, 400, 413, 429, 503):
        print(f"WRONG: status {answer.status}", flush=True)


def call(channel: Any, message: bytes) -> None:
    """Send a gRPC message and read the answer."""
    try:
        channel.unary_unary(PREDICT)(message, timeout=60)
    except grpc.RpcError as error:
        known = "larger than max" in (error.details() or "")
        if error.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN) and not known:
            print(f"WRONG: {error.code().name}: {error.details()}", flush=True)


def noise(port: int, channel: Any, source: random.Random) -> None:
    """Random bytes, as a gRPC message and as HTTP."""
    content = source.randbytes(source.randrange(1, 2000))
    call(channel, content)
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(content)


def requests(kind: str, rest_port: int, channel: Any, folder: Path, source: random.Random) -> Callable[[], None]:
    """The function that makes one request of a kind."""
    content = (folder / kind).read_bytes() if (folder / kind).is_file() else b""
    held: list[socket.socket] = []
    return {
        "half": lambda: half(rest_port, held),
        "json": lambda: post(rest_port, content),
        "noise": lambda: noise(rest_port, channel, source),
    }.get(kind, lambda: call(channel, content))


def main(kind: str, rest_port: int, grpc_port: int, folder: Path, seed: int) -> None:
    """Ask until SIGTERM."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    made = 0
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        once = requests(kind, rest_port, channel, folder, random.Random(seed))
        print("ready", flush=True)
        while not stopped:
            try:
                once()
                made += 1
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)
    print(f"{kind} {made}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
