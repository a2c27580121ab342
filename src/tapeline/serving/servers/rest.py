"""TF Serving's REST API, its paths, answers and errors, on aiohttp: parsing in C, keep-alive, chunked bodies."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import numpy as np

from tapeline.serving import tensors
from tapeline.serving.servers import grpc_api
from tapeline.serving.servers.loaded import Failure, Input, Loaded
from tapeline.serving.servers.monitoring import Monitoring
from tapeline.serving.servers.versions import Versions

Array = np.ndarray[Any, Any]
log = logging.getLogger(__name__)

LARGEST_REQUEST = 64 * 2**20
"""Bytes."""
SMALL_REQUEST = 16 * 2**10
"""Bytes; larger ones run in a thread of their own, so that others need not wait for them."""
METRICS = "/monitoring/prometheus/metrics"
_MODEL = r"(?i:/v1/models)/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_PREDICT = re.compile(_MODEL + r":(?i:(predict|classify|regress))")
_STATUS = re.compile(_MODEL + r"(?i:(/metadata))?")
CODES = {"NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429, "UNIMPLEMENTED": 501, "INTERNAL": 500, "UNAVAILABLE": 503}
"""HTTP's status by gRPC's code, as TF Serving maps them; 400 for the others."""

Answer = tuple[int, str]
"""Status and body."""


class Rest:
    """The server, in a thread of its own."""

    def __init__(self, versions: Versions, monitoring: Monitoring, metrics_path: str | None = METRICS) -> None:
        self._versions = versions
        self._monitoring = monitoring
        self._metrics_path = metrics_path
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rest", daemon=True)
        self._runner: Any = None

    def start(self, host: str, port: int) -> int:
        """Listen; return the port.

        Raises:
            OSError: the address cannot be had.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=512)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(listener), self._loop).result()
        return int(listener.getsockname()[1])

    async def _listen(self, listener: socket.socket) -> None:
        from aiohttp import web

        app = web.Application(client_max_size=LARGEST_REQUEST)
        app.router.add_route("*", r"/{path:[\s\S]*}", self._handle)
        quiet = logging.getLogger("tapeline.serving.http")
        quiet.disabled = True  # of requests that are no HTTP it would log a traceback each
        self._runner = web.AppRunner(app, access_log=None, logger=quiet, handle_signals=False, shutdown_timeout=10)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    def stop(self) -> None:
        """End after the requests in flight."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _handle(self, request: Any) -> Any:
        from aiohttp import web

        begun = time.perf_counter()
        if request.path == self._metrics_path and request.method == "GET":
            return web.Response(text=self._monitoring.page())
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            sentence = f"the request is larger than {LARGEST_REQUEST >> 20} MiB; send fewer rows at a time"
            return web.Response(status=413, text=_error(sentence), content_type="application/json")
        if len(body) <= SMALL_REQUEST:
            status, text = self._answer(request.method, request.raw_path, body, begun)
        else:
            status, text = await self._loop.run_in_executor(
                None, self._answer, request.method, request.raw_path, body, begun
            )
        return web.Response(status=status, text=text, content_type="application/json")

    def _answer(self, method: str, path: str, body: bytes, begun: float) -> Answer:
        path = path.partition("?")[0]
        if method == "POST" and (match := _PREDICT.fullmatch(path)):
            return self._predict(unquote(match[1]), match, body, begun)
        try:
            if method == "GET" and (match := _STATUS.fullmatch(path)):
                return 200, self._tell(unquote(match[1]), match)
            raise Failure("INVALID_ARGUMENT", f"Malformed request: {method} {path}")
        except Failure as failure:
            status = CODES.get(failure.code, 400) if path.lower().startswith("/v1/") else 404
            return status, _error(failure.message)

    def _predict(self, name: str, match: re.Match[str], body: bytes, begun: float) -> Answer:
        code, answer = "OK", ""
        try:
            if match[4].lower() != "predict":
                raise Failure("UNIMPLEMENTED", f"only predict is served; {match[4].lower()} is not")
            with self._versions.borrow(name, _number(match)) as loaded:
                answer = predict(loaded, body)
        except Failure as failure:
            code, answer = failure.code, _error(failure.message)
        except Exception:
            log.exception("a REST request failed in a way it should not")
            code, answer = "INTERNAL", _error("the server failed; its log tells more")
        if self._versions.knows(name):
            self._monitoring.record(name, "REST", code, time.perf_counter() - begun)
        return (200 if code == "OK" else CODES.get(code, 400)), answer

    def _tell(self, name: str, match: re.Match[str]) -> str:
        """Status or metadata, as the protobuf's JSON."""
        from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

        number = _number(match)
        request = (
            get_model_metadata_pb2.GetModelMetadataRequest if match[4] else get_model_status_pb2.GetModelStatusRequest
        )()
        request.model_spec.name = name
        if number is not None:
            request.model_spec.version.value = number
        if not match[4]:
            return _dump(_plain(grpc_api.status(self._versions, request)))
        request.metadata_field.append("signature_def")
        response = grpc_api.metadata(self._versions, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return _dump({"model_spec": _plain(response.model_spec), "metadata": {"signature_def": _plain(signatures)}})


def _number(match: re.Match[str]) -> int | None:
    if match[3]:
        raise Failure("INVALID_ARGUMENT", f"Unrecognized servable version label: {unquote(match[3])}")
    number = int(match[2]) if match[2] else None
    if number is not None and number >= 2**63:
        raise Failure("INVALID_ARGUMENT", f"Failed to convert version: {match[2]} to numeric.")
    return number


def _plain(message: Any) -> Any:
    from google.protobuf import json_format

    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


_dump = json.JSONEncoder(ensure_ascii=False).encode


def _error(message: str) -> str:
    return json.dumps({"error": message})


def predict(loaded: Loaded, body: bytes) -> str:
    """The answer to a body with `instances` (rows) or `inputs` (columns).

    Raises:
        Failure: it is no such body, or not what the signature takes.
    """
    request = _parse(body)
    signature = request.get("signature_name", "")
    if not isinstance(signature, str):
        raise Failure("INVALID_ARGUMENT", "'signature_name' key must be a string value.")
    wanted = loaded.signature(signature)
    if ("instances" in request) == ("inputs" in request):
        both = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        raise Failure("INVALID_ARGUMENT", both if "inputs" in request else "Missing 'inputs' or 'instances' key")
    try:
        inputs = (rows if "instances" in request else columns)(request, wanted.inputs)
    except ValueError as error:
        raise Failure("INVALID_ARGUMENT", str(error)) from None
    outputs = loaded.predict(wanted.name, inputs)
    if "inputs" in request:
        named = {name: tensors.to_json(array, name) for name, array in outputs.items()}
        return _dump({"outputs": named if len(named) > 1 else next(iter(named.values()))})
    return _dump({"predictions": _predictions(outputs)})


def _parse(body: bytes) -> dict[str, Any]:
    if not body:
        raise Failure("INVALID_ARGUMENT", "JSON Parse error: The document is empty")
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Failure("INVALID_ARGUMENT", f"JSON Parse error: {error}") from None
    if not isinstance(request, dict):
        raise Failure("INVALID_ARGUMENT", "JSON Value: Is not object")
    return request


def rows(request: Mapping[str, Any], wanted: Mapping[str, Input]) -> dict[str, Array]:
    """Inputs from `instances`: values of the only input, or objects with a value for each."""
    instances = request["instances"]
    if not isinstance(instances, list):
        raise ValueError("Excepting 'instances' to be an list/array")
    if not instances:
        raise ValueError("No values in 'instances' array")
    if not _named(instances[0]):
        if len(wanted) > 1:
            raise ValueError("instances is a plain list, but expecting list of objects as multiple inputs are required")
        instances = [{next(iter(wanted)): each} for each in instances]
    for number, each in enumerate(instances):
        if not _named(each) or each.keys() != set(wanted):
            keys = ",".join(sorted(wanted))
            raise ValueError(f"Failed to process element: {number} of 'instances' list. Keys must be equal to: {keys}")
    return {name: tensors.from_json([each[name] for each in instances], wanted[name].dtype) for name in wanted}


def columns(request: Mapping[str, Any], wanted: Mapping[str, Input]) -> dict[str, Array]:
    """Inputs from `inputs`: the only input's value, or an object with a value for each."""
    values = request["inputs"]
    if not _named(values):
        if len(wanted) > 1:
            raise ValueError("inputs is a plain value/list, but expecting an object as multiple inputs are required")
        values = {next(iter(wanted)): values}
    for name in wanted:
        if name not in values:
            raise ValueError(f"Missing named input: {name} in 'inputs' object.")
    return {name: tensors.from_json(values[name], wanted[name].dtype) for name in wanted}


def _named(value: Any) -> bool:
    """Whether it is an object of named inputs, not a string in base64."""
    return isinstance(value, dict) and list(value) != ["b64"]


def _predictions(outputs: Mapping[str, Array]) -> list[Any]:
    """A value for each row, or an object where there are several outputs."""
    sizes = {}
    for name, array in outputs.items():
        if not array.ndim:
            raise Failure("INVALID_ARGUMENT", f"Tensor name: {name} has no shape information ")
        sizes[name] = len(array)
    expected = next(iter(sizes.values()))
    for name, size in sizes.items():
        if size != expected:
            problem = f"Tensor name: {name} has inconsistent batch size: {size} expecting: {expected}"
            raise Failure("INVALID_ARGUMENT", problem)
    listed = {name: tensors.to_json(array, name) for name, array in outputs.items()}
    if len(listed) == 1:
        return list(next(iter(listed.values())))
    return [dict(zip(listed, values, strict=True)) for values in zip(*listed.values(), strict=True)]
