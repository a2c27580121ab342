"""TF Serving's gRPC API, with the messages and services that tensorflow-serving-api publishes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tapeline.serving import models_config, tensors
from tapeline.serving.servers.loaded_model import RequestError
from tapeline.serving.servers.manager import Manager, VersionStatus
from tapeline.serving.servers.monitoring import Monitoring

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 64 * 2**20
THREADS = 2
"""A request of a small model is mostly Python code, so more threads only wait for the interpreter lock."""
GRACE_SECONDS = 10.0
"""For requests in flight when the server stops."""


def start(manager: Manager, monitoring: Monitoring, address: str) -> tuple[Any, int]:
    """Start the gRPC server.

    Returns:
        The server, to be stopped with `stop(GRACE_SECONDS).wait()`, and its port.

    Raises:
        OSError: the address is in use, or not allowed.
    """
    import grpc
    from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

    options = [
        ("grpc.so_reuseport", 0),  # else a second server could listen on the same port
        ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
        ("grpc.max_send_message_length", -1),
    ]
    server = grpc.server(ThreadPoolExecutor(THREADS, thread_name_prefix="grpc"), options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionService(manager, monitoring), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(manager), server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(str(error)) from None
    server.start()
    return server, port


def _respond(function: Callable[[], Any], context: Any) -> Any:
    """The function's result; a RequestError ends the call with its status code, any other exception with INTERNAL."""
    import grpc

    try:
        return function()
    except RequestError as error:
        context.abort(grpc.StatusCode[error.code], error.message)
    except Exception:
        log.exception("unexpected error in a gRPC request")
        context.abort(grpc.StatusCode.INTERNAL, "internal error; see the server's log")


class PredictionService:
    """TF Serving's PredictionService."""

    def __init__(self, manager: Manager, monitoring: Monitoring) -> None:
        self._manager = manager
        self._monitoring = monitoring

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        """Run a signature on tensors."""
        start_time, status, name = time.perf_counter(), "OK", request.model_spec.name
        try:
            return _respond(lambda: self._predict(request), context)
        except BaseException:
            status = context.code().name if context.code() else "INTERNAL"
            raise
        finally:
            if self._manager.knows(name):
                self._monitoring.record(name, "GRPC", status, time.perf_counter() - start_time)

    def _predict(self, request: Any) -> Any:
        from tensorflow_serving.apis import predict_pb2

        name, number = model_spec(request)
        try:
            inputs = {key: tensors.from_proto(proto) for key, proto in request.inputs.items()}
        except ValueError as error:
            raise RequestError("INVALID_ARGUMENT", str(error)) from None
        response = predict_pb2.PredictResponse()
        with self._manager.acquire(name, number) as loaded:
            signature = loaded.signature(request.model_spec.signature_name).name
            for key, array in loaded.predict(signature, inputs, request.output_filter).items():
                tensors.to_proto(array, response.outputs[key])
            response.model_spec.name = name
            response.model_spec.version.value = loaded.number
            response.model_spec.signature_name = signature
        return response

    def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        """The signatures of a version."""
        return _respond(lambda: metadata(self._manager, request), context)

    def Classify(self, request: Any, context: Any) -> Any:  # noqa: N802
        """UNIMPLEMENTED: it needs a signature with tf.Example, which tapeline's servables do not have."""
        return _respond(_unimplemented, context)

    Regress = MultiInference = Classify


def _unimplemented() -> None:
    raise RequestError("UNIMPLEMENTED", "only Predict is served; Classify, Regress and MultiInference are not")


def model_spec(request: Any) -> tuple[str, int | None]:
    """The model's name and the version number in a request's ModelSpec; None: the latest live version."""
    if not request.HasField("model_spec") or not request.model_spec.name:
        raise RequestError("INVALID_ARGUMENT", "Missing ModelSpec")
    spec = request.model_spec
    if spec.WhichOneof("version_choice") == "version_label":
        raise RequestError("INVALID_ARGUMENT", f"Unrecognized servable version label: {spec.version_label}")
    return spec.name, spec.version.value if spec.HasField("version") else None


def metadata(manager: Manager, request: Any) -> Any:
    """The GetModelMetadataResponse."""
    from tensorflow_serving.apis import get_model_metadata_pb2

    name, number = model_spec(request)
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

    def __init__(self, manager: Manager) -> None:
        self._manager = manager

    def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        """The status of a model's versions."""
        return _respond(lambda: model_status(self._manager, request), context)

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Serve another model_config_list, until models.config changes."""
        return _respond(lambda: self._reload(request), context)

    def _reload(self, request: Any) -> Any:
        from tensorflow_serving.apis import model_management_pb2

        try:
            configs = models_config.from_message(request.config)
        except ValueError as error:
            raise RequestError("INVALID_ARGUMENT", f"the configuration {error}") from None
        response = model_management_pb2.ReloadConfigResponse()
        if configs is not None:
            self._manager.serve(configs)
            if problems := self._manager.not_live():
                response.status.error_code = 2
                response.status.error_message = "; ".join(problems)
        return response


def model_status(manager: Manager, request: Any) -> Any:
    """The GetModelStatusResponse."""
    from tensorflow_serving.apis import get_model_status_pb2

    response = get_model_status_pb2.GetModelStatusResponse()
    for number, status in manager.statuses(*model_spec(request)).items():
        _fill(response.model_version_status.add(), number, status)
    return response


def _fill(message: Any, number: int, status: VersionStatus) -> None:
    message.version = number
    message.state = type(message).State.Value(status.state)
    message.status.error_code = status.error_code
    message.status.error_message = status.error_message
