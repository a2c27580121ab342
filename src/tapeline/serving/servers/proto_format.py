"""Messages of TF Serving's gRPC API: what they ask for, and the response to a PredictRequest."""

from __future__ import annotations

from typing import Any

from tapeline.serving import tensors
from tapeline.serving.servers.loaded_model import LoadedModel
from tapeline.serving.servers.request_error import RequestError


def parse(kind: Any, content: bytes) -> Any:
    """The message of a type.

    Raises:
        RequestError: the bytes are not this message.
    """
    from google.protobuf.message import DecodeError

    try:
        return kind.FromString(content)
    except DecodeError:
        raise RequestError("INVALID_ARGUMENT", f"the request is not a {kind.DESCRIPTOR.name}") from None


def parse_predict(content: bytes) -> Any:
    """The PredictRequest.

    Raises:
        RequestError: the bytes are not this message.
    """
    from tensorflow_serving.apis import predict_pb2

    return parse(predict_pb2.PredictRequest, content)


def model_spec(request: Any) -> tuple[str, int | None]:
    """The model's name and the version number in a request's ModelSpec; None: the latest live version."""
    if not request.HasField("model_spec") or not request.model_spec.name:
        raise RequestError("INVALID_ARGUMENT", "Missing ModelSpec")
    spec = request.model_spec
    if spec.WhichOneof("version_choice") == "version_label":
        raise RequestError("INVALID_ARGUMENT", f"Unrecognized servable version label: {spec.version_label}")
    return spec.name, spec.version.value if spec.HasField("version") else None


def answer(loaded: LoadedModel, request: Any) -> bytes:
    """The PredictResponse to a PredictRequest, as bytes.

    Raises:
        RequestError: the request does not match the signature, or TensorFlow refuses the values.
    """
    from tensorflow_serving.apis import predict_pb2

    try:
        inputs = {key: tensors.from_proto(proto) for key, proto in request.inputs.items()}
    except ValueError as error:
        raise RequestError("INVALID_ARGUMENT", str(error)) from None
    response = predict_pb2.PredictResponse()
    signature = loaded.signature(request.model_spec.signature_name).name
    for key, array in loaded.predict(signature, inputs, request.output_filter).items():
        tensors.to_proto(array, response.outputs[key])
    response.model_spec.name = loaded.name
    response.model_spec.version.value = loaded.number
    response.model_spec.signature_name = signature
    return bytes(response.SerializeToString())
