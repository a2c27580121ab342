"""TF Serving's gRPC API, with the messages and services that tensorflow-serving-api publishes."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tapeline.serving import models_config
from tapeline.serving.servers import proto_format, worker
from tapeline.serving.servers.manager import Manager, VersionStatus
from tapeline.serving.servers.monitoring import Monitoring
from tapeline.serving.servers.request_error import RequestError
from tapeline.serving.servers.tls import Certificate
from tapeline.serving.servers.work import Reservation, Work

log = logging.getLogger(__name__)
# It logs a traceback for each client that goes before it has read its response.
logging.getLogger("grpc._cython.cygrpc").setLevel(logging.CRITICAL)

MAX_REQUEST_BYTES = 64 * 2**20
MAX_CALLS = 512
"""Calls in flight; others are refused with RESOURCE_EXHAUSTED. Calls whose message has not arrived count, too."""
CONNECTION_SECONDS, CALL_SECONDS = 300, 60
"""After which a connection takes no new calls, and after which its last calls end: clients connect again unnoticed."""
GRACE_SECONDS = 10.0
"""For requests in flight when the server stops."""
Handler = Callable[[bytes, Any], Awaitable[bytes]]


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class GrpcServer:
    """The gRPC server, in the event loop of the servers. Its methods are called in that loop."""

    def __init__(self, manager: Manager, monitoring: Monitoring, work: Work, *, reload: bool) -> None:
        self._prediction = PredictionService(manager, monitoring, work)
        self._model = ModelService(manager, reload)
        self._server: Any = None

    async def start(self, address: str, tls: Certificate | None = None) -> int:
        """Start the server, encrypted if there is a certificate, and return its port.

        Raises:
            OSError: the address is in use, or not allowed.
        """
        import grpc

        options = [
            ("grpc.so_reuseport", 0),  # else a second server could listen on the same port
            ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", 64),
            ("grpc.max_connection_age_ms", CONNECTION_SECONDS * 1000),
            ("grpc.max_connection_age_grace_ms", CALL_SECONDS * 1000),
        ]
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=MAX_CALLS)
        for service, object_ in (("PredictionService", self._prediction), ("ModelService", self._model)):
            methods: dict[str, Handler] = object_.methods()
            handlers = {name: grpc.unary_unary_rpc_method_handler(_checked(each)) for name, each in methods.items()}
            name = f"tensorflow.serving.{service}"
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        try:
            port = server.add_secure_port(address, tls.credentials()) if tls else server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(str(error)) from None
        await server.start()
        self._server = server
        return int(port)

    async def stop(self, grace: float | None = GRACE_SECONDS) -> None:
        """Stop when the requests in flight are answered, or after `grace` seconds."""
        await self._server.stop(grace)


def _checked(handler: Handler) -> Handler:
    """The handler; a RequestError ends the call with its status code, any other exception with INTERNAL."""
    import grpc

    async def handle(content: bytes, context: Any) -> bytes:
        try:
            return await handler(content, context)
        except RequestError as error:
            code = grpc.StatusCode[error.code]
            await error.wait()
            await context.abort(code, error.message)
        except Exception:
            log.exception("unexpected error in a gRPC request")
            await context.abort(grpc.StatusCode.INTERNAL, "internal error; see the server's log")
        raise AssertionError("abort raises")

    return handle


class PredictionService:
    """TF Serving's PredictionService."""

    def __init__(self, manager: Manager, monitoring: Monitoring, work: Work) -> None:
        self._manager = manager
        self._monitoring = monitoring
        self._work = work

    def methods(self) -> dict[str, Handler]:
        """The handlers by method; they take and return messages as they are on the wire."""
        handlers: dict[str, Handler] = {"Predict": self.predict, "GetModelMetadata": self.metadata}
        return {**handlers, **dict.fromkeys(("Classify", "Regress", "MultiInference"), self.unimplemented)}

    async def predict(self, content: bytes, context: Any) -> bytes:
        """Run a signature on tensors; a large request in the second process."""
        del context
        start, name, status = time.perf_counter(), [""], "INTERNAL"
        try:
            response = await self._predict(content, name)
            status = "OK"
            return response
        except RequestError as error:
            status = error.code
            raise
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        finally:
            if self._manager.knows(name[0]):
                self._monitoring.record(name[0], "GRPC", status, time.perf_counter() - start)

    async def _predict(self, content: bytes, named: list[str]) -> bytes:
        """The response; `named` gets the model's name as soon as it is known."""
        with Reservation(self._work) as reservation:
            reservation.grow(len(content))
            if reservation.large:
                named[0], response = await self._work.answer(worker.answer_message, self._manager.sources(), content)
                if isinstance(response, RequestError):
                    raise response
                return response
            request = proto_format.parse_predict(content)
            named[0], number = proto_format.model_spec(request)
            with self._manager.acquire(named[0], number) as loaded:
                return proto_format.answer(loaded, request)

    async def metadata(self, content: bytes, context: Any) -> bytes:
        """The signatures of a version."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        del context
        request = proto_format.parse(get_model_metadata_pb2.GetModelMetadataRequest, content)
        return bytes(metadata(self._manager, request).SerializeToString())

    async def unimplemented(self, content: bytes, context: Any) -> bytes:
        """UNIMPLEMENTED: it needs a signature with tf.Example, which tapeline's servables do not have."""
        del content, context
        raise RequestError("UNIMPLEMENTED", "only Predict is served; Classify, Regress and MultiInference are not")


def metadata(manager: Manager, request: Any) -> Any:
    """The GetModelMetadataResponse."""
    from tensorflow_serving.apis import get_model_metadata_pb2

    name, number = proto_format.model_spec(request)
    if not request.metadata_field:
        problem = "GetModelMetadataRequest must specify at least one metadata_field"
        raise RequestError("INVALID_ARGUMENT", problem)
    for each in request.metadata_field:
        if each != "signature_def":
            raise RequestError("INVALID_ARGUMENT", f"Metadata field {each} is not supported")
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    signatures = get_model_metadata_pb2.SignatureDefMap()
    with manager.acquire(name, number) as loaded:
        for key, signature in loaded.signatures.items():
            signatures.signature_def[key].CopyFrom(signature.definition)
        response.model_spec.name = name
        response.model_spec.version.value = loaded.number
    response.metadata["signature_def"].Pack(signatures)
    return response


class ModelService:
    """TF Serving's ModelService."""

    def __init__(self, manager: Manager, reload: bool) -> None:
        self._manager = manager
        self._allows_reload = reload

    def methods(self) -> dict[str, Handler]:
        """The handlers by method; they take and return messages as they are on the wire."""
        return {"GetModelStatus": self.status, "HandleReloadConfigRequest": self.reload}

    async def status(self, content: bytes, context: Any) -> bytes:
        """The status of a model's versions."""
        from tensorflow_serving.apis import get_model_status_pb2

        del context
        request = proto_format.parse(get_model_status_pb2.GetModelStatusRequest, content)
        return bytes(model_status(self._manager, request).SerializeToString())

    async def reload(self, content: bytes, context: Any) -> bytes:
        """Serve another model_config_list, until models.config is read again."""
        from tensorflow_serving.apis import model_management_pb2

        who = context.peer()
        request = proto_format.parse(model_management_pb2.ReloadConfigRequest, content)
        if not self._allows_reload:
            log.warning("%s asked to replace the configuration, and was refused", who)
            problem = "the server listens on other addresses than loopback, and takes its configuration from the store"
            fix = "allow this call with serving.reload=always (--allow_reload)"
            raise RequestError("PERMISSION_DENIED", f"{problem}; {fix}")
        try:
            configs = models_config.from_message(request.config)
        except ValueError as error:
            raise RequestError("INVALID_ARGUMENT", f"the configuration {error}") from None
        response = model_management_pb2.ReloadConfigResponse()
        if configs is not None:
            log.warning("%s replaced the configuration: %s", who, ", ".join(sorted(configs)) or "no models")
            await asyncio.get_running_loop().run_in_executor(None, self._manager.serve, configs)
            if problems := self._manager.not_live():
                response.status.error_code = 2
                response.status.error_message = "; ".join(problems)
        return bytes(response.SerializeToString())


def model_status(manager: Manager, request: Any) -> Any:
    """The GetModelStatusResponse."""
    from tensorflow_serving.apis import get_model_status_pb2

    response = get_model_status_pb2.GetModelStatusResponse()
    for number, status in manager.statuses(*proto_format.model_spec(request)).items():
        _fill(response.model_version_status.add(), number, status)
    return response


def _fill(message: Any, number: int, status: VersionStatus) -> None:
    message.version = number
    message.state = type(message).State.Value(status.state)
    message.status.error_code = status.error_code
    message.status.error_message = status.error_message
