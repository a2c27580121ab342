"""What clients cannot do to the server: hold connections, memory or other clients' time."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import select
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from tapeline.serving.servers import connections, event_loop, request_error, rest, work, worker
from tapeline.serving.servers.request_error import RequestError
from tapeline.serving.servers.server import Server, follow_store
from tests.serving.servables import copies, http, pin, running, until
from tests.serving.test_server import error_of, request, stubs

PREDICT = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\n"
BODY = json.dumps({"instances": [[1, 2, 3]]}).encode()


@pytest.fixture
def impatient(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with short timeouts and at most 8 connections."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(connections, "LINGER_SECONDS", 0.1)
    monkeypatch.setattr(rest, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 8)
    pin(models, m=1)
    with running(follow_store(str(models))) as started:
        until(lambda: http(started.rest_port, "/v1/models/m/metadata")[0] == 200)
        yield started


def exchange(server: Server, content: bytes) -> tuple[int, Any]:
    """The status and the JSON body of the response to raw bytes, when the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.rest_port or 0), 20) as connection:
        connection.sendall(content)
        received = b""
        while part := connection.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, json.loads(body) if body else None


def post(headers: bytes, body: bytes) -> bytes:
    length = b"Content-Length: %d\r\nConnection: close\r\n" % len(body)
    return PREDICT + headers + length + b"\r\n" + body


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"", 0),
        (b"POST /v1/models/m:predict HT", 0),
        (PREDICT + b"Content-Length: 99\r\n\r\n{", 408),
        (PREDICT + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", 408),
    ],
)
def test_a_request_that_does_not_arrive_ends(impatient: Server, start: bytes, status: int) -> None:
    found, body = exchange(impatient, start)
    assert found == status
    assert status == 0 or "did not arrive within" in body["error"]


def test_connections_above_the_limit_are_refused_and_others_answered(
    impatient: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 60)
    event_loop._logged.clear()
    opened = [socket.create_connection(("127.0.0.1", impatient.rest_port or 0), 20) for _ in range(8)]
    until(lambda: exchange(impatient, post(b"", BODY))[0] == 503)
    refused = [exchange(impatient, b"") for _ in range(5)]
    assert {status for status, _ in refused} == {503}
    assert "too many connections" in refused[0][1]["error"]
    assert len([each for each in caplog.messages if "connections are open" in each]) == 1, "one line a minute"
    assert stubs(impatient)[0].Predict(request([[1, 2, 3]]), 10).model_spec.version.value == 1
    for each in opened:
        each.close()
    until(lambda: exchange(impatient, post(b"", BODY))[0] == 200)


def test_the_connection_limit_leaves_descriptors_for_models() -> None:
    import resource

    assert 1 <= connections.connection_limit() <= resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 400, "not valid HTTP"),
        (PREDICT + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n", 400, "not valid HTTP"),
        (PREDICT + b"Content-Length: x\r\n\r\n", 400, "not valid HTTP"),
        (post(b"Content-Encoding: br\r\n", BODY), 400, "Content-Encoding: br is not supported"),
        (post(b"Content-Encoding: gzip\r\n", BODY), 400, "the body is not gzip"),
        (post(b"Content-Encoding: gzip\r\n", gzip.compress(BODY)[:-9]), 400, "the gzip body is cut off"),
        (post(b"Content-Encoding: gzip\r\n", gzip.compress(BODY) + b"x"), 400, "gzip body has bytes behind its end"),
        (post(b"Content-Encoding: gzip\r\n", gzip.compress(b" " * (64 * 2**20 + 1))), 413, "larger than 64 MiB"),
        (post(b"", b"\xef\xbb\xbf" + BODY), 400, "without a byte order mark"),
        (post(b"", BODY.decode().encode("utf-16")), 400, "send UTF-8"),
        (post(b"", BODY.decode().encode("utf-16-le")), 400, "JSON Parse error"),
        (post(b"", b'{"instances": [[1, 2, 1e400]]}'), 400, "Number too big to be stored in double"),
        (post(b"", b'{"instances": [[1, 2, 1e39]]}'), 400, "without loss of precision"),
        (post(b"", b'{"instances": [[1, 2, 3]]} x'), 400, "JSON Parse error"),
    ],
)  # fmt: skip
def test_errors_of_http_and_of_encodings_are_json(served: Server, content: bytes, status: int, message: str) -> None:
    found, body = exchange(served, content)
    assert (found, list(body)) == (status, ["error"])
    assert message in body["error"]


def test_gzip_and_expect_continue_are_answered(served: Server) -> None:
    assert exchange(served, post(b"Content-Encoding: gzip\r\n", gzip.compress(BODY)))[0] == 200
    with closing(socket.create_connection(("127.0.0.1", served.rest_port or 0), 20)) as connection:
        connection.sendall(PREDICT + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert connection.recv(20).startswith(b"HTTP/1.1 200")


def test_a_large_body_is_answered_as_a_small_one(served: Server) -> None:
    rows = np.random.default_rng(0).normal(size=(2000, 3)).round(3)
    status, large = http(served.rest_port, "/v1/models/m:predict", {"instances": rows.tolist()})
    _, small = http(served.rest_port, "/v1/models/m:predict", {"instances": rows[:2].tolist()})
    assert status == 200
    assert len(large["predictions"]) == 2000
    assert large["predictions"][:2] == small["predictions"]
    status, error = http(served.rest_port, "/v1/models/m:predict", {"instances": [*rows.tolist(), [1, 2]]})
    assert (status, "unexpected size: 2" in error["error"]) == (400, True)


def test_a_wrong_request_waits_and_others_are_answered(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    predict = stubs(served)[0].Predict
    monkeypatch.setattr(request_error, "WRONG_SECONDS", 3600)
    wrong = predict.future(request([[1, 2]]), 60)
    with closing(socket.create_connection(("127.0.0.1", served.rest_port or 0), 60)) as connection:
        connection.sendall(post(b"", b'{"instances": [[1, 2]]}'))
        for _ in range(20):
            assert predict(request([[1, 2, 3]]), 60).model_spec.version.value == 1
            assert exchange(served, post(b"", BODY))[0] == 200
        assert not wrong.done()
        wrong.cancel()
        assert select.select([connection], [], [], 0)[0] == []


def second_process() -> int:
    """The id of the process that answers large requests."""
    return event_loop.call(worker.call(os.getpid))


def test_large_requests_are_answered_by_the_live_version(folder_store: Path) -> None:
    rows = {"instances": [[-0.1, -0.2, -0.3]] * 2000}
    pin(folder_store, m=1)
    with running(follow_store(str(folder_store))) as server:
        for number in (1, 2):
            pin(folder_store, m=number)
            until(lambda live=number: server.manager.live("m") == [live])  # type: ignore[misc]
            status, answer = http(server.rest_port, "/v1/models/m:predict", rows)
            assert (status, {row["model_version"] for row in answer["predictions"]}) == (200, {"ab"[number - 1] * 12})
        assert event_loop.call(worker.call(copies)) == [("m", 2)], "version 1 is unloaded there, too"
        assert http(server.rest_port, "/v1/models/nope:predict", rows)[0] == 404
        assert error_of(stubs(server)[0].Predict, request(np.ones((3000, 3)), version=1))[0] == "NOT_FOUND"


@pytest.mark.skipif(sys.platform != "linux", reason="looks for threads in /proc")
def test_every_thread_that_answers_large_requests_has_a_lower_priority(served: Server) -> None:
    assert http(served.rest_port, "/v1/models/m:predict", {"instances": [[1, 2, 3]] * 2000})[0] == 200
    threads = [int(each.name) for each in Path(f"/proc/{second_process()}/task").iterdir()]
    assert len(threads) > 2, "those of TensorFlow are among them"
    lower = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 1)
    assert all(os.getpriority(os.PRIO_PROCESS, each) >= lower for each in threads)


def test_large_requests_name_files_that_are_lost(folder_store: Path) -> None:
    pin(folder_store, m=1)
    with running(follow_store(str(folder_store))) as server:
        until(lambda: server.manager.live("m") == [1])
        shutil.rmtree(folder_store / "m" / "1")
        status, error = http(server.rest_port, "/v1/models/m:predict", {"instances": [[1, 2, 3]] * 2000})
        assert (status, "m version 1 cannot answer large requests" in error["error"]) == (503, True)
        assert http(server.rest_port, "/v1/models/m:predict", {"instances": [[1, 2, 3]]})[0] == 200


def test_large_requests_above_the_limit_are_refused(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.ones((3000, 3))
    for name in ("MAX_BYTES", "MAX_REQUESTS"):
        with monkeypatch.context() as patch:
            patch.setattr(work, name, 0)
            status, error = http(served.rest_port, "/v1/models/m:predict", {"instances": rows.tolist()})
            assert (status, "in flight" in error["error"]) == (429, True)
            code, _ = error_of(stubs(served)[0].Predict, request(rows))
            assert code == "RESOURCE_EXHAUSTED"
            assert http(served.rest_port, "/v1/models/m:predict", {"instances": [[1, 2, 3]]})[0] == 200


def test_a_reservation_is_given_back() -> None:
    pending = work.Work()
    with work.Reservation(pending) as reservation:
        reservation.grow(work.MAX_BYTES)
        assert (pending.requests, pending.bytes) == (1, work.MAX_BYTES)
        with pytest.raises(RequestError, match="in flight"):
            reservation.grow(1)
    assert (pending.requests, pending.bytes) == (0, 0)
    pending.close()


def test_a_call_that_is_given_up_before_it_starts_does_not_run(tmp_path: Path) -> None:
    pending, ran = work.Work(), tmp_path / "ran"
    os.mkfifo(tmp_path / "release")

    async def give_up() -> None:
        busy = asyncio.ensure_future(pending.answer(Path.read_bytes, tmp_path / "release"))
        given_up = asyncio.ensure_future(pending.answer(Path.touch, ran))
        await asyncio.sleep(0)  # both are submitted
        given_up.cancel()
        await asyncio.wait({given_up})
        await asyncio.to_thread((tmp_path / "release").write_bytes, b"now")
        assert await busy == b"now"

    event_loop.call(give_up())
    assert not ran.exists()
    pending.close()


def test_a_small_message_that_claims_much_is_refused_at_once(served: Server) -> None:
    message = predict_pb2.PredictRequest()
    message.model_spec.name = "m"
    claim = tensor_pb2.TensorProto(dtype=1, float_val=[1.0])
    for size in (2796202, 24):
        claim.tensor_shape.dim.add().size = size
    message.inputs["predictors"].CopyFrom(claim)
    code, details = error_of(stubs(served)[0].Predict, message)
    assert (code, "[2796202,24] with 1 values is not accepted" in details) == ("INVALID_ARGUMENT", True)


def test_bytes_that_are_no_message_are_invalid_arguments(served: Server) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        for service, method in (("PredictionService", "Predict"), ("ModelService", "GetModelStatus")):
            call = channel.unary_unary(f"/tensorflow.serving.{service}/{method}")
            assert error_of(call, b"\xff\xff\xff")[0] == "INVALID_ARGUMENT"


def test_status_and_small_requests_are_answered_while_large_ones_wait(served: Server) -> None:
    process = second_process()
    os.kill(process, signal.SIGSTOP)
    try:
        calls = [stubs(served)[0].Predict.future(request(np.ones((3000, 3), np.float32)), 60) for _ in range(3)]
        assert http(served.rest_port, "/v1/models/m")[0] == 200
        assert stubs(served)[0].Predict(request([[1, 2, 3]]), 10).model_spec.version.value == 1
        assert not any(call.done() for call in calls)
    finally:
        os.kill(process, signal.SIGCONT)
    assert [call.result().model_spec.version.value for call in calls] == [1] * 3


def test_a_process_that_was_killed_is_replaced() -> None:
    killed = second_process()
    os.kill(killed, signal.SIGKILL)
    assert second_process() != killed
