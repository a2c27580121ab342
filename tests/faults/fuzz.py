"""Requests that Hypothesis makes up, over REST and gRPC: each gets an answer, and none of them an internal error."""

from __future__ import annotations

import gzip
import http.client
import json
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from tapeline.serving.servers.server import Server, follow_store
from tests.serving.servables import http as ask
from tests.serving.servables import pin, running, until, write, write_single

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=20),
    st.sampled_from([1e39, 1e308, -0.0, 2**31, 2**63, {"b64": "AAAA"}, {"b64": "%"}]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["x", "s", "predictors", "b64"]), inner)
    ),
    max_leaves=12,
)
ROWS = st.lists(st.lists(st.floats(width=32), min_size=2, max_size=4), min_size=1, max_size=3)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "instances": ROWS | VALUES,
        "inputs": ROWS | VALUES,
        "signature_name": st.sampled_from(["", "serving_default", "both", "no", 3, None]),
        "more": VALUES,
    },
)
VERSIONS = ["", "/versions/1", "/versions/99999999999999999999", "/versions/-1", "/labels/x", "/versions/\u00b2"]
NAMES = st.sampled_from(["m", "half", "nope", "m-canary", "", "%6d", "m%00", "..", "\u00fc", "a" * 3000])
PATHS = st.one_of(
    st.builds("/v1/models/{}{}{}".format, NAMES,
              st.sampled_from(VERSIONS),
              st.sampled_from([":predict", ":PREDICT", ":classify", ":x", "/metadata", "", ":predict?a=b", "/"])),
    st.sampled_from(["/", "/monitoring/prometheus/metrics", "*", "/v1", "//v1/models/m"]),
    st.text(max_size=30).map(lambda text: "/" + text),
)  # fmt: skip
METHODS = st.sampled_from(["GET", "POST", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "BREW"])
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Encoding", "Content-Type", "Expect", "X-A", "Accept-Encoding"]),
    st.sampled_from(["gzip", "br", "identity", "", "100-continue", "application/json", "a" * 9000, "text/html"]),
    max_size=2,
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """JSON, JSON with changed bytes, compressed JSON, or other bytes."""
    content = json.dumps(draw(BODIES)).encode()
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=3)) + content[at + draw(st.integers(0, 3)) :]
    return draw(
        st.sampled_from([content, gzip.compress(content), gzip.compress(content)[:-3], b"\xef\xbb\xbf" + content])
    )


def rest(server: Server, method: str, path: str, headers: dict[str, str], body: bytes) -> str:
    """What is wrong with the answer to a request; "" where nothing is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port or 0, timeout=30)
    try:
        connection.putrequest(method, path.encode("ascii", "ignore").decode() or "/", skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        connection.send(body)
        answer = connection.getresponse()
        content = answer.read()
    except (http.client.InvalidURL, BrokenPipeError, ConnectionResetError, ValueError):
        return ""  # the client or the server ended the connection, since the request is not HTTP
    finally:
        connection.close()
    if answer.status in (500, 502, 503, 504, 429):
        return f"status {answer.status}: {content[:200]!r}"
    if method != "HEAD" and "prometheus" not in path:
        try:
            json.loads(content)
        except ValueError:
            return f"status {answer.status} without JSON: {content[:200]!r}"
    return ""


NUMBERS: dict[str, st.SearchStrategy[Any]] = {
    "float_val": st.floats(width=32), "double_val": st.floats(), "int_val": st.integers(-(2**31), 2**31 - 1),
    "int64_val": st.integers(-(2**63), 2**63 - 1), "bool_val": st.booleans(), "string_val": st.binary(max_size=20),
    "uint32_val": st.integers(0, 2**32 - 1), "uint64_val": st.integers(0, 2**64 - 1),
}  # fmt: skip


@st.composite
def tensor_protos(draw: st.DrawFn) -> Any:
    """A TensorProto, most of them wrong in some way."""
    proto = tensor_pb2.TensorProto(
        dtype=draw(st.sampled_from([0, 1, 1, 1, 2, 3, 4, 6, 7, 8, 9, 10, 14, 17, 22, 23, 101]))
    )
    for size in draw(st.lists(st.sampled_from([-1, 0, 1, 2, 3, 24, 2796202, 2**40, 2**62]), max_size=4)):
        proto.tensor_shape.dim.add().size = size
    proto.tensor_shape.unknown_rank = draw(st.sampled_from([False, False, True]))
    for field in draw(st.lists(st.sampled_from(sorted(NUMBERS)), max_size=2)):
        getattr(proto, field).extend(draw(st.lists(NUMBERS[field], max_size=8)))
    proto.tensor_content = draw(st.sampled_from([b"", b"", b"a", b"\0" * 12, b"\xff" * 24]))
    return proto


PREDICT = predict_pb2.PredictRequest
KINDS: list[tuple[Any, str]] = [
    *[(PREDICT, "PredictionService/Predict")] * 3,
    (get_model_metadata_pb2.GetModelMetadataRequest, "PredictionService/GetModelMetadata"),
    (get_model_status_pb2.GetModelStatusRequest, "ModelService/GetModelStatus"),
    (PREDICT, "PredictionService/Classify"),
    (PREDICT, "ModelService/Nothing"),
]
BAD = ("INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "DATA_LOSS")
"""Codes that no request of this size may get."""


@st.composite
def grpc_messages(draw: st.DrawFn) -> tuple[str, bytes]:
    """A method, and bytes for it."""
    kind, method = draw(st.sampled_from(KINDS))
    message = kind()
    message.model_spec.name = draw(st.sampled_from(["m", "half", "", "nope", "m\0"]))
    if draw(st.booleans()):
        message.model_spec.version.value = draw(st.sampled_from([0, 1, 123, -1, 2**62]))
    message.model_spec.signature_name = (
        draw(st.sampled_from(["", "both", "serving_default", "x"])) if draw(st.booleans()) else ""
    )
    if kind is PREDICT:
        for name in draw(st.lists(st.sampled_from(["predictors", "x", "s", ""]), max_size=2)):
            message.inputs[name].CopyFrom(draw(tensor_protos()))
        message.output_filter.extend(draw(st.lists(st.sampled_from(["prediction", "x", "y", ""]), max_size=2)))
    else:
        for name in draw(st.lists(st.sampled_from(["signature_def", "x"]), max_size=1)):
            getattr(message, "metadata_field", []).append(name)
    content = message.SerializeToString()
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=4)) + content[at + draw(st.integers(0, 2)) :]
    return method, content


def call(channel: Any, method: str, content: bytes) -> str:
    """What is wrong with the answer to a call; "" where nothing is."""
    try:
        channel.unary_unary(f"/tensorflow.serving.{method}")(content, timeout=30)
    except grpc.RpcError as error:
        if error.code().name in BAD:
            return f"{error.code().name}: {error.details()}"
    return ""


def fuzz(server: Server, examples: int, number: int) -> list[str]:
    """What is wrong with the answers to so many requests of each API."""
    wrong: list[str] = []
    common = settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))

    @seed(number)
    @common
    @given(METHODS, PATHS, HEADERS, bodies())
    def over_rest(method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        if problem := rest(server, method, path, headers, body):
            wrong.append(f"{method} {path[:80]} {headers} {body[:300]!r}: {problem}")

    @seed(number)
    @common
    @given(grpc_messages())
    def over_grpc(message: tuple[str, bytes]) -> None:
        if problem := call(channel, *message):
            wrong.append(f"{message}: {problem}")

    over_rest()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        over_grpc()
    return wrong


def main(times: int, source: random.Random, folder: Path) -> Counter[str]:
    """`times` times 40 requests of each API."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        models = Path(name)
        write(models / "m" / "1", "aaaaaaaaaaaa")
        write_single(models / "half" / "123")
        pin(models, m=1, half=123)
        with running(follow_store(str(models))) as server:
            until(lambda: all(ask(server.rest_port, f"/v1/models/{each}/metadata")[0] == 200 for each in ("m", "half")))
            wrong = fuzz(server, times * 40, source.randrange(10**6))
            alive = ask(server.rest_port, "/v1/models/m:predict", {"instances": [[1, 2, 3]]})[0] == 200
    for each in wrong:
        print(f"  {each}")
    return Counter(runs=times * 80, results=times * 80 - len(wrong), tracebacks=len(wrong) + (not alive))
