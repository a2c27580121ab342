"""TF Serving's gRPC API, from its published protobufs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tapeline.serving import models_config, tensors
from tapeline.serving.servers.loaded import Failure
from tapeline.serving.servers.monitoring import Monitoring
from tapeline.serving.servers.versions import State, Versions

log = logging.getLogger(__name__)

LARGEST_REQUEST = 64 * 2**20
"""Bytes."""
THREADS = 2
"""More of them only wait for each other: a small model's request is mostly Python."""
GRACE_SECONDS = 10.0
"""For requests in flight when the server stops."""


def start(versions: Versions, monitoring: Monitoring, address: str) -> tuple[Any, int]:
    """Listen.

    Returns:
        The server, to be stopped with `stop(GRACE_SECONDS).wait()`, and its port.

    Raises:
        OSError: the address cannot be had.
    """
    import grpc
    from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

    options = [
        ("grpc.so_reuseport", 0),  # or a second server would share the port unnoticed
        ("grpc.max_receive_message_length", LARGEST_REQUEST),
        ("grpc.max_send_message_length", -1),
    ]
    server = grpc.server(ThreadPoolExecutor(THREADS, thread_name_prefix="grpc"), options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Prediction(versions, monitoring), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Model(versions), server)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(str(error)) from None
    server.start()
    return server, port


def answered(work: Callable[[], Any], context: Any) -> Any:
    """The work's answer, or the call ended with its failure's code."""
    import grpc

    try:
        return work()
    except Failure as failure:
        context.abort(grpc.StatusCode[failure.code], failure.message)
    except Exception:
        log.exception("a gRPC request failed in a way it should not")
        context.abort(grpc.StatusCode.INTERNAL, "the server failed; its log tells more")


class Prediction:
    """PredictionService."""

    def __init__(self, versions: Versions, monitoring: Monitoring) -> None:
        self._versions = versions
        self._monitoring = monitoring

    def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802  # gRPC's name
        """Run a signature on tensors."""
        begun, status, name = time.perf_counter(), "OK", request.model_spec.name
        try:
            return answered(lambda: self._predict(request), context)
        except BaseException:
            status = context.code().name if context.code() else "INTERNAL"
            raise
        finally:
            if self._versions.knows(name):
                self._monitoring.record(name, "GRPC", status, time.perf_counter() - begun)

    def _predict(self, request: Any) -> Any:
        from tensorflow_serving.apis import predict_pb2

        name, number = asked(request)
        try:
            inputs = {key: tensors.from_proto(proto) for key, proto in request.inputs.items()}
        except ValueError as error:
            raise Failure("INVALID_ARGUMENT", str(error)) from None
        response = predict_pb2.PredictResponse()
        with self._versions.borrow(name, number) as loaded:
            signature = loaded.signature(request.model_spec.signature_name).name
            for key, array in loaded.predict(signature, inputs, request.output_filter).items():
                tensors.to_proto(array, response.outputs[key])
            response.model_spec.name = name
            response.model_spec.version.value = loaded.number
            response.model_spec.signature_name = signature
        return response

    def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        """The signatures of a version."""
        return answered(lambda: metadata(self._versions, request), context)

    def Classify(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Needs tf.Example in a signature, which no model of ours has."""
        return answered(_unimplemented, context)

    Regress = MultiInference = Classify


def _unimplemented() -> None:
    raise Failure("UNIMPLEMENTED", "only Predict is served; Classify, Regress and MultiInference are not")


def asked(request: Any) -> tuple[str, int | None]:
    """The model and version that a request names; None is the one that is live."""
    if not request.HasField("model_spec") or not request.model_spec.name:
        raise Failure("INVALID_ARGUMENT", "Missing ModelSpec")
    spec = request.model_spec
    if spec.WhichOneof("version_choice") == "version_label":
        raise Failure("INVALID_ARGUMENT", f"Unrecognized servable version label: {spec.version_label}")
    return spec.name, spec.version.value if spec.HasField("version") else None


def metadata(versions: Versions, request: Any) -> Any:
    """GetModelMetadata's answer."""
    from tensorflow_serving.apis import get_model_metadata_pb2

    name, number = asked(request)
    if not request.metadata_field:
        raise Failure("INVALID_ARGUMENT", "GetModelMetadataRequest must specify at least one metadata_field")
    for each in request.metadata_field:
        if each != "signature_def":
            raise Failure("INVALID_ARGUMENT", f"Metadata field {each} is not supported")
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    signatures = get_model_metadata_pb2.SignatureDefMap()
    with versions.borrow(name, number) as loaded:
        for key, signature in loaded.signatures.items():
            signatures.signature_def[key].CopyFrom(signature.definition)
        response.model_spec.name = name
        response.model_spec.version.value = loaded.number
    response.metadata["signature_def"].Pack(signatures)
    return response


class Model:
    """ModelService."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        """The states of a model's versions."""
        return answered(lambda: status(self._versions, request), context)

    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Serve another configuration, until models.config changes."""
        return answered(lambda: self._reload(request), context)

    def _reload(self, request: Any) -> Any:
        from tensorflow_serving.apis import model_management_pb2

        try:
            wanted = models_config.entries(request.config)
        except ValueError as error:
            raise Failure("INVALID_ARGUMENT", f"the configuration {error}") from None
        response = model_management_pb2.ReloadConfigResponse()
        if wanted is not None:
            self._versions.want(wanted)
            if missing := self._versions.missing():
                response.status.error_code = 2
                response.status.error_message = "; ".join(missing)
        return response


def status(versions: Versions, request: Any) -> Any:
    """GetModelStatus's answer."""
    from tensorflow_serving.apis import get_model_status_pb2

    response = get_model_status_pb2.GetModelStatusResponse()
    for number, state in versions.states(*asked(request)).items():
        _fill(response.model_version_status.add(), number, state)
    return response


def _fill(entry: Any, number: int, state: State) -> None:
    entry.version = number
    entry.state = type(entry).State.Value(state.state)
    entry.status.error_code = state.code
    entry.status.error_message = state.message
