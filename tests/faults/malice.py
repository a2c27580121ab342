"""Ten malicious clients beside one that asks small questions: how long these take, and how much memory the server has.

The server and the malicious clients are processes of their own. Allowed: the p99 of small requests is at most 5 times
that without malicious clients, the memory at the end is within 10 % of that after a tenth of the time, and no answer
is an internal error.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from tests.conftest import ROOT
from tests.faults import fuzz
from tests.serving.servables import http as ask
from tests.serving.servables import pin, until, write

SECONDS = 600
"""Of the attack, for 100 percent."""
SLOWER, LARGER = 5.0, 1.1
SMALL = {"instances": [[1.0, 2.0, 3.0]]}
KINDS = ("half", "json", "claim", "packed", "noise")
Stop = threading.Event


def main(times: int, source: random.Random, folder: Path) -> Counter[str]:
    """The attack, as long as `times` of 100."""
    seconds = max(10.0, SECONDS * times / 100)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        models = Path(name)
        write(models / "m" / "1", "aaaaaaaaaaaa")
        pin(models, m=1)
        ports = [_free_port(), _free_port()]
        server = subprocess.Popen(
            [sys.executable, "-m", "tapeline", "serve", f"serving.store={models}", f"serving.rest_port={ports[0]}",
             f"serving.grpc_port={ports[1]}"],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        clients: list[subprocess.Popen[str]] = []
        try:
            until(lambda: _is_ready(ports[0]), 120)
            quiet = _small(ports[0], min(30.0, seconds / 2), [])
            for number in range(10):
                kind = KINDS[number % len(KINDS)]
                line = [
                    sys.executable,
                    "-m",
                    "tests.faults.malice",
                    kind,
                    *map(str, ports),
                    str(source.randrange(10**6)),
                ]
                clients.append(subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True))
            memory: list[int] = []
            busy = _small(ports[0], seconds, memory, server.pid)
        finally:
            for each in clients:
                each.terminate()
            record = [each.communicate()[0] for each in clients]
            server.terminate()
            log = server.communicate()[1]
    return _judge(quiet, busy, memory, "".join(record), log)


def _judge(quiet: list[float], busy: list[float], memory: list[int], record: str, log: str) -> Counter[str]:
    ratio = float(np.quantile(busy, 0.99) / np.quantile(quiet, 0.99))
    growth = memory[-1] / memory[len(memory) // 10]
    print(
        f"  p50 {1e3 * np.median(quiet):.1f} -> {1e3 * np.median(busy):.1f} ms, "
        f"p99 {1e3 * np.quantile(quiet, 0.99):.1f} -> {1e3 * np.quantile(busy, 0.99):.1f} ms ({ratio:.1f} times), "
        f"memory {memory[len(memory) // 10] >> 20} -> {memory[-1] >> 20} MiB ({growth:.2f} times), "
        f"{len(busy)} small requests",
        flush=True,
    )
    wrong = record.count("WRONG") + log.count("Traceback")
    print(*[f"  {line}" for line in record.splitlines() if "WRONG" in line][:20], sep="\n")
    counted = Counter(runs=len(busy), results=len(busy), tracebacks=wrong)
    counted["wrong numbers"] = (ratio > SLOWER) + (growth > LARGER)
    return counted


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _is_ready(port: int) -> bool:
    try:
        return ask(port, "/v1/models/m/metadata")[0] == 200
    except OSError:
        return False


def _small(port: int, seconds: float, memory: list[int], pid: int | None = None) -> list[float]:
    """Seconds of small requests, one after the other; each second, the memory of the process."""
    took: list[float] = []
    end = time.monotonic() + seconds
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    looked = 0.0
    while (begun := time.monotonic()) < end:
        connection.request("POST", "/v1/models/m:predict", json.dumps(SMALL))
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        took.append(time.monotonic() - begun)
        if pid and begun > looked + 1:
            looked = begun
            memory.append(_memory(pid))
        time.sleep(0.005)
    return took


def _memory(pid: int) -> int:
    """Bytes of a process and its children."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) * 4096 for each in pids)


def attack(kind: str, rest_port: int, grpc_port: int, number: int) -> None:
    """Ask for ever."""
    source = random.Random(number)
    held: list[socket.socket] = []
    large = json.dumps({"instances": [[0.123456] * 3] * 300_000}).encode()
    with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        while True:
            try:
                _once(kind, rest_port, channel, source, held, large)
            except (OSError, http.client.HTTPException):
                time.sleep(0.05)


def _once(kind: str, port: int, channel: Any, source: random.Random, held: list[socket.socket], large: bytes) -> None:
    if kind == "half":
        held.append(socket.create_connection(("127.0.0.1", port), 5))
        held[-1].sendall(
            b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"[" * 500
        )
        if len(held) > 200:
            held.pop(0).close()
        time.sleep(0.02)
    elif kind == "json":
        _say(ask(port, "/v1/models/m:predict", large)[0])
    elif kind == "claim":
        message = predict_pb2.PredictRequest()
        message.model_spec.name = "m"
        proto = tensor_pb2.TensorProto(dtype=1, float_val=[1.0])
        for size in (2796202, source.choice([3, 24])):
            proto.tensor_shape.dim.add().size = size
        message.inputs["predictors"].CopyFrom(proto)
        _tell(fuzz.call(channel, "PredictionService/Predict", message.SerializeToString()))
    elif kind == "packed":
        message = predict_pb2.PredictRequest()
        message.model_spec.name = "m"
        proto = tensor_pb2.TensorProto(dtype=1, tensor_content=bytes(12 * 500_000))
        for size in (500_000, 3):
            proto.tensor_shape.dim.add().size = size
        message.inputs["predictors"].CopyFrom(proto)
        _tell(fuzz.call(channel, "PredictionService/Predict", message.SerializeToString()))
    else:
        noise = source.randbytes(source.randrange(1, 2000))
        _tell(fuzz.call(channel, "PredictionService/Predict", noise))
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(noise)


def _say(status: int) -> None:
    if status not in (200, 400, 413, 429, 503):
        print(f"WRONG: status {status}", flush=True)


def _tell(problem: str) -> None:
    if problem.startswith(("INTERNAL", "UNKNOWN")) and "larger than max" not in problem:
        print(f"WRONG: {problem}", flush=True)


if __name__ == "__main__":
    attack(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
