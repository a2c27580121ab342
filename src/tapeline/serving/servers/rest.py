"""TF Serving's REST API, with the same paths, responses and error messages, on aiohttp."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
import time
import zlib
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from tapeline.serving.servers import event_loop, grpc_api, json_format, worker
from tapeline.serving.servers.connections import HttpServer, error_body
from tapeline.serving.servers.manager import Manager
from tapeline.serving.servers.monitoring import Monitoring
from tapeline.serving.servers.request_error import RequestError
from tapeline.serving.servers.work import SMALL_REQUEST_BYTES, Reservation, Work
from tapeline.serving.signatures import DEFAULT

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 64 * 2**20
BODY_SECONDS = 60.0
"""From the headers of a request to the end of its body."""
METRICS = "/monitoring/prometheus/metrics"
_MODEL = r"(?i:/v1/models)/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_PREDICT = re.compile(_MODEL + r":(?i:(predict|classify|regress))", re.ASCII)
_STATUS = re.compile(_MODEL + r"(?i:(/metadata))?", re.ASCII)
CODES = {
    "NOT_FOUND": 404,
    "DEADLINE_EXCEEDED": 408,
    "OUT_OF_RANGE": 413,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
}
"""HTTP status by gRPC's status code, as in TF Serving; 400 for the other codes."""


class RestServer:
    """The HTTP server, in the event loop of the servers."""

    def __init__(
        self, manager: Manager, monitoring: Monitoring, work: Work, metrics_path: str | None = METRICS
    ) -> None:
        self._manager = manager
        self._monitoring = monitoring
        self._work = work
        self._metrics_path = metrics_path
        self._runner: web.ServerRunner | None = None

    def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Start the server, encrypted if there is a certificate, and return its port.

        Raises:
            OSError: the address is in use, or not allowed.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=512)
        event_loop.call(self._listen(listener, tls))
        return int(listener.getsockname()[1])

    async def _listen(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._runner = web.ServerRunner(HttpServer(self._handle), handle_signals=False, shutdown_timeout=10)
        await self._runner.setup()
        await web.SockSite(self._runner, listener, backlog=512, ssl_context=tls).start()

    def stop(self) -> None:
        """Stop when the requests in flight are answered."""
        if self._runner:
            event_loop.call(self._runner.cleanup())

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        connection: Any = request.protocol
        connection.answering(now=True)
        try:
            return await self._answer(request)
        finally:
            connection.answering(now=False)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        start = time.perf_counter()
        path = request.raw_path.partition("?")[0]
        if path == self._metrics_path and request.method == "GET":
            return web.Response(text=self._monitoring.page())
        match = _PREDICT.fullmatch(path) if request.method == "POST" else None
        name = unquote(match[1]) if match else ""
        code, body, close = "OK", b"", False
        try:
            body = await self._predict(name, match, request) if match else self._get(request.method, path).encode()
        except RequestError as error:
            code, body = error.code, error_body(error.message).encode()
            close = not request.content.is_eof()  # the rest of the body is not read
            await error.wait()
        except (asyncio.CancelledError, ConnectionError):
            code = "CANCELLED"
            raise
        except Exception:
            log.exception("unexpected error in a REST request")
            code, body = "INTERNAL", error_body("internal error; see the server's log").encode()
        finally:
            if match and self._manager.knows(name):
                self._monitoring.record(name, "REST", code, time.perf_counter() - start)
        status = 200 if code == "OK" else CODES.get(code, 400)
        if status != 200 and not path.lower().startswith("/v1/"):
            status = 404
        response = web.Response(status=status, body=body, content_type="application/json", charset="utf-8")
        if close:
            response.force_close()
        return response

    def _get(self, method: str, path: str) -> str:
        if method != "GET" or not (match := _STATUS.fullmatch(path)):
            raise RequestError("INVALID_ARGUMENT", f"Malformed request: {method} {path}")
        return self._status_or_metadata(unquote(match[1]), match)

    async def _predict(self, name: str, match: re.Match[str], request: web.BaseRequest) -> bytes:
        if match[4].lower() != "predict":
            raise RequestError("UNIMPLEMENTED", f"only predict is served; {match[4].lower()} is not")
        number = _number(match)
        with Reservation(self._work) as reservation:
            body = await self._body(request, reservation)
            if reservation.large:
                return await self._work.answer(worker.answer_json, self._manager.sources(), name, number, body)
            with self._manager.acquire(name, number) as loaded:
                signature, columns, inputs = json_format.decode(body, loaded.dtypes, DEFAULT)
                outputs = loaded.predict(signature, inputs)
        if sum(array.size for array in outputs.values()) * 8 <= SMALL_REQUEST_BYTES:
            return json_format.encode(outputs, columns)
        return await self._work.answer(json_format.encode, outputs, columns)

    async def _body(self, request: web.BaseRequest, reservation: Reservation) -> bytes:
        """The body of a request, as JSON.

        Raises:
            RequestError: it is too large, too slow, or not encoded as its header says.
        """
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            problem = f"Content-Encoding: {encoding[:40]} is not supported; send gzip, or none"
            raise RequestError("INVALID_ARGUMENT", problem)
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        parts = []
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in request.content.iter_any():
                    reservation.grow(len(part))
                    if reservation.bytes > MAX_REQUEST_BYTES:
                        raise _too_large()
                    parts.append(part)
        except TimeoutError:
            raise RequestError("DEADLINE_EXCEEDED", f"the body did not arrive within {BODY_SECONDS:g} s") from None
        except web.RequestPayloadError as error:
            problem = f"the body is not valid HTTP: {' '.join(str(error).split())[:200]}"
            raise RequestError("INVALID_ARGUMENT", problem) from None
        body = b"".join(parts)
        if encoding == "gzip":
            body = await self._work.unpack(_unpacked, body)
            reservation.grow(max(0, len(body) - reservation.bytes))
        return body

    def _status_or_metadata(self, name: str, match: re.Match[str]) -> str:
        """The response to /v1/models/NAME or /v1/models/NAME/metadata: the JSON of the protobuf message."""
        from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

        number = _number(match)
        request = (
            get_model_metadata_pb2.GetModelMetadataRequest if match[4] else get_model_status_pb2.GetModelStatusRequest
        )()
        request.model_spec.name = name
        if number is not None:
            request.model_spec.version.value = number
        if not match[4]:
            return json_format.encode_json(_message_to_dict(grpc_api.model_status(self._manager, request)))
        request.metadata_field.append("signature_def")
        response = grpc_api.metadata(self._manager, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        spec, definitions = _message_to_dict(response.model_spec), _message_to_dict(signatures)
        return json_format.encode_json({"model_spec": spec, "metadata": {"signature_def": definitions}})


def _too_large() -> RequestError:
    problem = f"the request is larger than {MAX_REQUEST_BYTES >> 20} MiB; send fewer rows per request"
    return RequestError("OUT_OF_RANGE", problem)


def _unpacked(body: bytes) -> bytes:
    """The content of a gzip body.

    Raises:
        RequestError: it is not gzip, is cut off, has more behind its end, or is too large.
    """
    unpacking = zlib.decompressobj(wbits=31)
    try:
        content = unpacking.decompress(body, MAX_REQUEST_BYTES + 1)
    except zlib.error as error:
        raise RequestError("INVALID_ARGUMENT", f"the body is not gzip ({error})") from None
    if len(content) > MAX_REQUEST_BYTES:
        raise _too_large()
    if not unpacking.eof or unpacking.unused_data:
        problem = "has bytes behind its end" if unpacking.eof else "is cut off"
        raise RequestError("INVALID_ARGUMENT", f"the gzip body {problem}")
    return content


def _number(match: re.Match[str]) -> int | None:
    if match[3]:
        raise RequestError("INVALID_ARGUMENT", f"Unrecognized servable version label: {unquote(match[3])}")
    if match[2] and (len(match[2]) > 19 or int(match[2]) >= 2**63):
        raise RequestError("INVALID_ARGUMENT", f"Failed to convert version: {match[2]} to numeric.")
    return int(match[2]) if match[2] else None


def _message_to_dict(message: Any) -> Any:
    from google.protobuf import json_format as protobuf_json

    return protobuf_json.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
