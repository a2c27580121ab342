"""TF Serving's REST API, with the same paths, responses and error messages, on aiohttp."""

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
from tapeline.serving.servers.loaded_model import LoadedModel, RequestError, SignatureInput
from tapeline.serving.servers.manager import Manager
from tapeline.serving.servers.monitoring import Monitoring

Array = np.ndarray[Any, Any]
log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 64 * 2**20
SMALL_REQUEST_BYTES = 16 * 2**10
"""A larger request runs in another thread, so that small ones do not wait for it."""
METRICS = "/monitoring/prometheus/metrics"
_MODEL = r"(?i:/v1/models)/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_PREDICT = re.compile(_MODEL + r":(?i:(predict|classify|regress))")
_STATUS = re.compile(_MODEL + r"(?i:(/metadata))?")
CODES = {"NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429, "UNIMPLEMENTED": 501, "INTERNAL": 500, "UNAVAILABLE": 503}
"""HTTP status by gRPC's status code, as in TF Serving; 400 for the other codes."""

Response = tuple[int, str]
"""HTTP status and body."""


class RestServer:
    """The HTTP server, with its event loop in a thread."""

    def __init__(self, manager: Manager, monitoring: Monitoring, metrics_path: str | None = METRICS) -> None:
        self._manager = manager
        self._monitoring = monitoring
        self._metrics_path = metrics_path
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rest", daemon=True)
        self._runner: Any = None

    def start(self, host: str, port: int) -> int:
        """Start the server and return its port.

        Raises:
            OSError: the address is in use, or not allowed.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=512)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(listener), self._loop).result()
        return int(listener.getsockname()[1])

    async def _listen(self, listener: socket.socket) -> None:
        from aiohttp import web

        app = web.Application(client_max_size=MAX_REQUEST_BYTES)
        app.router.add_route("*", r"/{path:[\s\S]*}", self._handle)
        disabled = logging.getLogger("tapeline.serving.http")
        disabled.disabled = True  # aiohttp logs a traceback for each request that is not HTTP
        self._runner = web.AppRunner(app, access_log=None, logger=disabled, handle_signals=False, shutdown_timeout=10)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    def stop(self) -> None:
        """Stop when the requests in flight are answered."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _handle(self, request: Any) -> Any:
        from aiohttp import web

        start = time.perf_counter()
        if request.path == self._metrics_path and request.method == "GET":
            return web.Response(text=self._monitoring.page())
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            problem = f"the request is larger than {MAX_REQUEST_BYTES >> 20} MiB; send fewer rows per request"
            return web.Response(status=413, text=_error(problem), content_type="application/json")
        if len(body) <= SMALL_REQUEST_BYTES:
            status, text = self._respond(request.method, request.raw_path, body, start)
        else:
            status, text = await self._loop.run_in_executor(
                None, self._respond, request.method, request.raw_path, body, start
            )
        return web.Response(status=status, text=text, content_type="application/json")

    def _respond(self, method: str, path: str, body: bytes, start: float) -> Response:
        path = path.partition("?")[0]
        if method == "POST" and (match := _PREDICT.fullmatch(path)):
            return self._predict(unquote(match[1]), match, body, start)
        try:
            if method == "GET" and (match := _STATUS.fullmatch(path)):
                return 200, self._status_or_metadata(unquote(match[1]), match)
            raise RequestError("INVALID_ARGUMENT", f"Malformed request: {method} {path}")
        except RequestError as error:
            status = CODES.get(error.code, 400) if path.lower().startswith("/v1/") else 404
            return status, _error(error.message)

    def _predict(self, name: str, match: re.Match[str], body: bytes, start: float) -> Response:
        code, text = "OK", ""
        try:
            if match[4].lower() != "predict":
                raise RequestError("UNIMPLEMENTED", f"only predict is served; {match[4].lower()} is not")
            with self._manager.acquire(name, _number(match)) as loaded:
                text = predict(loaded, body)
        except RequestError as error:
            code, text = error.code, _error(error.message)
        except Exception:
            log.exception("unexpected error in a REST request")
            code, text = "INTERNAL", _error("internal error; see the server's log")
        if self._manager.knows(name):
            self._monitoring.record(name, "REST", code, time.perf_counter() - start)
        return (200 if code == "OK" else CODES.get(code, 400)), text

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
            return _to_json(_message_to_dict(grpc_api.model_status(self._manager, request)))
        request.metadata_field.append("signature_def")
        response = grpc_api.metadata(self._manager, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        spec, definitions = _message_to_dict(response.model_spec), _message_to_dict(signatures)
        return _to_json({"model_spec": spec, "metadata": {"signature_def": definitions}})


def _number(match: re.Match[str]) -> int | None:
    if match[3]:
        raise RequestError("INVALID_ARGUMENT", f"Unrecognized servable version label: {unquote(match[3])}")
    number = int(match[2]) if match[2] else None
    if number is not None and number >= 2**63:
        raise RequestError("INVALID_ARGUMENT", f"Failed to convert version: {match[2]} to numeric.")
    return number


def _message_to_dict(message: Any) -> Any:
    from google.protobuf import json_format

    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


_to_json = json.JSONEncoder(ensure_ascii=False).encode


def _error(message: str) -> str:
    return json.dumps({"error": message})


def predict(loaded: LoadedModel, body: bytes) -> str:
    """The JSON response to a request body with `instances` (row format) or `inputs` (column format).

    Raises:
        RequestError: the body is not valid, or does not match the signature.
    """
    request = _parse(body)
    signature = request.get("signature_name", "")
    if not isinstance(signature, str):
        raise RequestError("INVALID_ARGUMENT", "'signature_name' key must be a string value.")
    found = loaded.signature(signature)
    if ("instances" in request) == ("inputs" in request):
        both = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        raise RequestError("INVALID_ARGUMENT", both if "inputs" in request else "Missing 'inputs' or 'instances' key")
    try:
        inputs = (from_instances if "instances" in request else from_inputs)(request, found.inputs)
    except ValueError as error:
        raise RequestError("INVALID_ARGUMENT", str(error)) from None
    outputs = loaded.predict(found.name, inputs)
    if "inputs" in request:
        named = {name: tensors.to_json(array, name) for name, array in outputs.items()}
        return _to_json({"outputs": named if len(named) > 1 else next(iter(named.values()))})
    return _to_json({"predictions": _predictions(outputs)})


def _parse(body: bytes) -> dict[str, Any]:
    if not body:
        raise RequestError("INVALID_ARGUMENT", "JSON Parse error: The document is empty")
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError("INVALID_ARGUMENT", f"JSON Parse error: {error}") from None
    if not isinstance(request, dict):
        raise RequestError("INVALID_ARGUMENT", "JSON Value: Is not object")
    return request


def from_instances(request: Mapping[str, Any], signature: Mapping[str, SignatureInput]) -> dict[str, Array]:
    """The arrays of the row format: per row, the value of the only input, or an object with a value for each input."""
    instances = request["instances"]
    if not isinstance(instances, list):
        raise ValueError("Excepting 'instances' to be an list/array")
    if not instances:
        raise ValueError("No values in 'instances' array")
    if not _is_object(instances[0]):
        if len(signature) > 1:
            raise ValueError("instances is a plain list, but expecting list of objects as multiple inputs are required")
        instances = [{next(iter(signature)): each} for each in instances]
    for number, each in enumerate(instances):
        if not _is_object(each) or each.keys() != set(signature):
            keys = ",".join(sorted(signature))
            raise ValueError(f"Failed to process element: {number} of 'instances' list. Keys must be equal to: {keys}")
    return {name: tensors.from_json([each[name] for each in instances], signature[name].dtype) for name in signature}


def from_inputs(request: Mapping[str, Any], signature: Mapping[str, SignatureInput]) -> dict[str, Array]:
    """The arrays of the column format: the value of the only input, or an object with a value for each input."""
    values = request["inputs"]
    if not _is_object(values):
        if len(signature) > 1:
            raise ValueError("inputs is a plain value/list, but expecting an object as multiple inputs are required")
        values = {next(iter(signature)): values}
    for name in signature:
        if name not in values:
            raise ValueError(f"Missing named input: {name} in 'inputs' object.")
    return {name: tensors.from_json(values[name], signature[name].dtype) for name in signature}


def _is_object(value: Any) -> bool:
    """Whether a JSON value is an object of inputs by name, and not a base64 string {"b64": ...}."""
    return isinstance(value, dict) and list(value) != ["b64"]


def _predictions(outputs: Mapping[str, Array]) -> list[Any]:
    """The list `predictions`: per row, the value of the only output, or an object with each output."""
    sizes = {}
    for name, array in outputs.items():
        if not array.ndim:
            raise RequestError("INVALID_ARGUMENT", f"Tensor name: {name} has no shape information ")
        sizes[name] = len(array)
    expected = next(iter(sizes.values()))
    for name, size in sizes.items():
        if size != expected:
            problem = f"Tensor name: {name} has inconsistent batch size: {size} expecting: {expected}"
            raise RequestError("INVALID_ARGUMENT", problem)
    listed = {name: tensors.to_json(array, name) for name, array in outputs.items()}
    if len(listed) == 1:
        return list(next(iter(listed.values())))
    return [dict(zip(listed, values, strict=True)) for values in zip(*listed.values(), strict=True)]
