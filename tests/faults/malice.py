"""Ten malicious clients beside one that asks small questions: how long these take, and how much memory the server has.

The server and the clients are processes of their own. The malicious ones have half of the processors, and the server
and the small questions the other half: they stand for other machines. Allowed: the p99 of small requests, over REST and
over gRPC, is at most 5 times that without malicious clients (before and after them), the memory at the end is within
10 % of that after a tenth of the time, and no answer is an internal error.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from tests.conftest import ROOT
from tests.faults.malicious_clients import KINDS, PREDICT
from tests.serving.servables import http as ask
from tests.serving.servables import pin, until, write

SECONDS = 600
"""Of the attack, for 100 percent."""
CLIENTS = 10
SLOWER, LARGER = 5.0, 1.1
SMALL = json.dumps({"instances": [[1.0, 2.0, 3.0]]})
PAUSE = 0.005
"""Seconds between two small requests, as users send them: without, the processor never rests, and all are faster."""
Took = dict[str, list[float]]
"""Seconds of requests, by API."""


def main(times: int, source: random.Random, folder: Path) -> Counter[str]:
    """The attack, as long as `times` of 100."""
    seconds = max(10.0, SECONDS * times / 100)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        models, messages = Path(name) / "models", Path(name) / "messages"
        write(models / "m" / "1", "aaaaaaaaaaaa")
        pin(models, m=1)
        _write_messages(messages)
        ports = [_free_port(), _free_port()]
        record: list[str] = []
        memory: list[int] = []
        with _halves() as (near, far):
            server = subprocess.Popen(
                [*near, sys.executable, "-m", "tapeline", "serve", f"serving.store={models}",
                 f"serving.rest_port={ports[0]}", f"serving.grpc_port={ports[1]}"],
                cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            try:
                until(lambda: _is_ready(ports[0]), 120)
                quiet = _small(ports, min(30.0, seconds / 2), [])
                with _clients(far, ports, messages, source, record):
                    busy = _small(ports, seconds, memory, server.pid)
                _answer_large(ports[0])  # large requests are answered one after the other: those before are over
                after = _small(ports, min(30.0, seconds / 2), [])
            finally:
                server.terminate()
                log = server.communicate()[1]
    quiet = {api: took + after[api] for api, took in quiet.items()}
    return _judge(quiet, busy, memory, "".join(record), log)


@contextmanager
def _halves() -> Iterator[tuple[list[str], list[str]]]:
    """What begins a command so that it has the processors of the server, and those of the malicious clients."""
    all_of_them = os.sched_getaffinity(0)
    cores = sorted(all_of_them)
    near = cores[: max(1, len(cores) // 2)]
    far = cores[len(near) :] or near
    os.sched_setaffinity(0, near)
    try:
        yield tuple(["taskset", "--cpu-list", ",".join(map(str, each))] for each in (near, far))  # type: ignore[misc]
    finally:
        os.sched_setaffinity(0, all_of_them)


@contextmanager
def _clients(
    far: list[str], ports: list[int], messages: Path, source: random.Random, record: list[str]
) -> Iterator[None]:
    """The malicious clients, from the moment when all are ready; `record` gets what they said."""
    clients = []
    for number in range(CLIENTS):
        arguments = [KINDS[number % len(KINDS)], *map(str, ports), str(messages), str(source.randrange(10**6))]
        line = [*far, sys.executable, "-m", "tests.faults.malicious_clients", *arguments]
        clients.append(subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True))
    try:
        for each in clients:
            assert each.stdout
            assert each.stdout.readline() == "ready\n"
        yield
    finally:
        for each in clients:
            each.terminate()
        record += [each.communicate()[0] for each in clients]


def _write_messages(folder: Path) -> None:
    """A JSON body of 300,000 rows, a message of 500,000 rows, and one that claims more than it has."""
    folder.mkdir()
    (folder / "json").write_text(json.dumps({"instances": [[0.123456] * 3] * 300_000}))
    (folder / "claim").write_bytes(_message((2796202, 24), float_val=[1.0]))
    (folder / "packed").write_bytes(_message((500_000, 3), tensor_content=bytes(12 * 500_000)))


def _message(shape: tuple[int, int], **values: Any) -> bytes:
    """A PredictRequest with float32 predictors."""
    message = predict_pb2.PredictRequest()
    message.model_spec.name = "m"
    tensor = tensor_pb2.TensorProto(dtype=1, **values)
    for size in shape:
        tensor.tensor_shape.dim.add().size = size
    message.inputs["predictors"].CopyFrom(tensor)
    return bytes(message.SerializeToString())


def _judge(quiet: Took, busy: Took, memory: list[int], record: str, log: str) -> Counter[str]:
    growth = memory[-1] / memory[len(memory) // 10]
    asked: Counter[str] = Counter()
    for kind, count in re.findall(r"^(\w+) (\d+)$", record, re.MULTILINE):
        asked[kind] += int(count)
    ratios = []
    for api, took in busy.items():
        before, beside = (1e3 * np.quantile(each, [0.5, 0.99]) for each in (quiet[api], took))
        (calm, calm_p99), (middle, p99) = before, beside
        ratios.append(p99 / calm_p99)
        print(
            f"  {api}: p50 {calm:.1f} -> {middle:.1f} ms, p99 {calm_p99:.1f} -> {p99:.1f} ms ({ratios[-1]:.1f} times)"
        )
    print(
        f"  memory {memory[len(memory) // 10] >> 20} -> {memory[-1] >> 20} MiB ({growth:.2f} times), "
        f"{sum(map(len, busy.values()))} small requests beside {dict(asked)}",
        flush=True,
    )
    wrong = [line for line in record.splitlines() if "WRONG" in line]
    print(*[f"  {line}" for line in wrong[:20]], sep="\n", end="\n" if wrong else "")
    small = sum(map(len, busy.values()))
    counted = Counter(runs=small, results=small, tracebacks=len(wrong) + log.count("Traceback"))
    idle = [kind for kind in KINDS if not asked[kind]]
    counted["wrong numbers"] = sum(ratio > SLOWER for ratio in ratios) + (growth > LARGER) + len(idle)
    return counted


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _is_ready(port: int) -> bool:
    try:
        return ask(port, "/v1/models/m/metadata")[0] == 200
    except OSError:
        return False


def _answer_large(port: int) -> None:
    status, content = ask(port, "/v1/models/m:predict", {"instances": [[0.5] * 3] * 5000})
    assert status == 200, content


def _small(ports: list[int], seconds: float, memory: list[int], pid: int | None = None) -> Took:
    """Seconds of small requests, one after the other, by API; each second, the memory of the process."""
    took: Took = {"REST": [], "gRPC": []}
    end = time.monotonic() + seconds
    connection: Any = http.client.HTTPConnection("127.0.0.1", ports[0], timeout=60)
    looked = 0.0

    def by_rest() -> None:
        connection.request("POST", "/v1/models/m:predict", SMALL)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content

    with grpc.insecure_channel(f"127.0.0.1:{ports[1]}") as channel:
        predict = channel.unary_unary(PREDICT)
        message = _message((1, 3), tensor_content=np.ones(3, np.float32).tobytes())
        while time.monotonic() < end:
            for api, ask_once in (("REST", by_rest), ("gRPC", lambda: predict(message, timeout=60))):
                begun = time.monotonic()
                ask_once()
                took[api].append(time.monotonic() - begun)
            if pid and begun > looked + 1:
                looked = begun
                memory.append(_memory(pid))
            time.sleep(PAUSE)
    connection.close()
    return took


def _memory(pid: int) -> int:
    """Bytes of a process and its children."""
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) * 4096 for each in pids)
