"""Client of TF Serving or of tapeline serve, over REST or gRPC; it does not import TensorFlow."""

from __future__ import annotations

import http.client
import json
import math
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import quote, urlsplit

import numpy as np

from tapeline.errors import Refused, refuse
from tapeline.serving import tensors
from tapeline.serving.signatures import DEFAULT, PREDICTORS

Array = np.ndarray[Any, Any]

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 600.0
"""For one request. The first large one waits until the server's second process has loaded the model."""


@dataclass(frozen=True)
class Endpoint:
    """A model on a server."""

    host: str
    port: int
    model: str
    """The model's name on the server."""
    api: Literal["rest", "grpc"]
    tls: str | None = None
    """A PEM file with the certificates of the authorities that the server's certificate may be of; None: no TLS."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class Response:
    """The response to a predict request."""

    version: int
    """The version number of the model that answered."""
    outputs: dict[str, list[Any]]
    """For each output, one value or list per row; strings are decoded."""
    milliseconds: float
    """From the request to the response, connection included."""


@dataclass(frozen=True)
class Metadata:
    """What a server says of a version of the model."""

    version: int
    signatures: dict[str, dict[str, tuple[int, ...]]]
    """The shape of each input, -1 for a dimension of any size, by the names of signature and input."""


class Client(Protocol):
    """The two requests that an API answers."""

    def metadata(self, version: int | None) -> Metadata:
        """What the server says of a version; None: of the live one."""

    def predict(self, signature: str, inputs: Mapping[str, Array], version: int) -> dict[str, list[Any]]:
        """The outputs of a version for arrays [rows, ...] by the names of the signature's inputs."""


def endpoint(host: str, ports: dict[str, int], model: str, api: str, tls: str | None = None) -> Endpoint:
    """The endpoint for `host` or `host:port`; `ports` has the default port of each API.

    Raises:
        Refused: `host` is not a valid address, or `tls` no file with certificates.
    """
    if tls is not None:
        _trusting(tls)
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port or ports[api]
    except ValueError:
        parts, port = urlsplit(""), 0
    if not parts.hostname or parts.path or parts.query or parts.username:
        fix = "write HOST or HOST:PORT without http://, for example host=127.0.0.1:8501"
        raise refuse(f"host={host}", "is not a valid address", fix)
    return Endpoint(parts.hostname, port, model, "grpc" if api == "grpc" else "rest", tls)


def _trusting(tls: str) -> ssl.SSLContext:
    """What checks a server's certificate against the authorities of a PEM file, and no others."""
    try:
        return ssl.create_default_context(cafile=tls)
    except (OSError, ValueError) as error:
        problem = "has no certificates in PEM" if isinstance(error, ssl.SSLError) else f"cannot be read ({error})"
        fix = "name the certificate of the server's authority, for example tls=ca.pem"
        raise refuse(f"tls={tls}", problem, fix) from None


def client_of(server: Endpoint) -> Client:
    """The client of the endpoint's API."""
    return GrpcClient(server) if server.api == "grpc" else RestClient(server)


def predict(
    server: Endpoint, inputs: Mapping[str, Array], version: int | None = None, signature: str = DEFAULT
) -> Response:
    """Send rows to a signature of a version of the model.

    Args:
        server: where the model is served.
        inputs: arrays [rows, ...] by the names of the signature's inputs; strings are arrays of objects.
        version: None: the live version.
        signature: its name.

    Raises:
        Refused: the server does not answer, does not serve the model or version, or refuses the rows.
    """
    client = client_of(server)
    found = client.metadata(version)
    _check_inputs(server, found, signature, inputs)
    start = time.perf_counter()
    try:
        outputs = client.predict(signature, inputs, found.version)
    except NotFound:
        # another version became live after the metadata request
        if version is not None:
            raise
        found = client.metadata(None)
        _check_inputs(server, found, signature, inputs)
        outputs = client.predict(signature, inputs, found.version)
    return Response(found.version, outputs, (time.perf_counter() - start) * 1e3)


def _check_inputs(server: Endpoint, found: Metadata, signature: str, inputs: Mapping[str, Array]) -> None:
    """Raise Refused where the arrays do not fit the signature."""
    model, expected = f"{server.model} version {found.version}", found.signatures.get(signature)
    if expected is None:
        has = ", ".join(sorted(found.signatures)) or "none"
        raise refuse(model, f"has no signature {signature}", f"use one that it has: {has}")
    if expected.keys() != inputs.keys():
        problem = f"its signature {signature} takes {', '.join(sorted(expected))}, not {', '.join(sorted(inputs))}"
        raise refuse(model, problem, "give these inputs")
    for name, array in inputs.items():
        shape, given = expected[name], array.shape
        if len(shape) == len(given) and all(size in (-1, have) for size, have in zip(shape, given, strict=True)):
            continue
        if len(shape) == len(given) == 2 and name == PREDICTORS:
            problem = f"expects {shape[1]} features per row, but these rows have {given[1]}"
        else:
            problem = f"expects shape {list(shape[1:])} for a row of {name}, but these rows have {list(given[1:])}"
        raise refuse(model, problem, "give the features that it was trained on; use the dataset options of its run")


class NotFound(Refused):
    """The server does not serve this model or version."""


def _refusal(server: Endpoint, status: str, message: str, version: int | None) -> Refused:
    """The exception for an error response; `status` is an HTTP status or the name of a gRPC status code."""
    model = server.model if version is None else f"{server.model} version {version}"
    if status in ("404", "NOT_FOUND"):
        fix = "check serving.name and version=N; tapeline versions lists what the store has"
        return NotFound(*refuse(model, f"is not served on {server} ({message})", fix).findings)
    of_tls = r"(?i)ssl|handshake|certificate|verify|verification"
    if status == "UNAVAILABLE" and server.tls and re.search(of_tls, message):
        found = re.search(r"OPENSSL_internal:(\w+)|(Hostname Verification[\w ]*)", message)
        reason = " ".join((found[1] or found[2]).split("_")).lower() if found else "the handshake failed"
        return _no_tls(server, reason, certificate=bool(found and {"verify", "verification"} & set(reason.split())))
    if status in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
        return _no_answer(server, message.rpartition("last error: ")[2][:150] if status == "UNAVAILABLE" else None)
    return refuse(model, f"the server on {server} refuses these rows ({message})", "correct the rows")


def _no_tls(server: Endpoint, reason: str, *, certificate: bool) -> Refused:
    """The exception where both sides do not agree on an encrypted connection; `certificate`: because of it."""
    if certificate:
        fix = f"tls={server.tls} must have the certificate of its authority, and host must be a name in it"
        return refuse(server, f"the certificate of the server is not accepted ({reason})", fix)
    fix = "give the port that is encrypted, for example host=serving:8443, or leave tls out"
    return refuse(server, f"the server there does not speak TLS ({reason})", fix)


def _no_answer(server: Endpoint, reason: str | None) -> Refused:
    """The exception where no server is reached; None: it is, and it is too slow."""
    if reason is None:
        problem = f"the server there does not answer within {ANSWER_SECONDS:g} s"
        return refuse(server, problem, "send fewer rows, or read the server's log")
    # an encrypted one ends connections that are not
    fix = "start one: tapeline serve" + ("" if server.tls else "; if it is encrypted, add tls=ca.pem")
    return refuse(server, f"no server answers {'gRPC' if server.api == 'grpc' else 'REST'} there ({reason})", fix)


class RestClient:
    """REST requests, with the HTTP client of the standard library."""

    def __init__(self, server: Endpoint) -> None:
        self._server = server

    def metadata(self, version: int | None) -> Metadata:
        """See Client."""
        response = self._call("GET", self._path(version) + "/metadata", None, version)
        try:
            signatures = {
                name: {key: _shape(info["tensor_shape"]) for key, info in each["inputs"].items()}
                for name, each in response["metadata"]["signature_def"]["signature_def"].items()
                if each.get("inputs")  # TensorFlow adds a signature without inputs, __saved_model_init_op
            }
            return Metadata(int(response["model_spec"]["version"]), signatures)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise _not_tf_serving(self._server) from None

    def predict(self, signature: str, inputs: Mapping[str, Array], version: int) -> dict[str, list[Any]]:
        """See Client. The request is in TF Serving's column format, which is smaller than its row format."""
        values = {name: _json_values(array) for name, array in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": values})
        outputs = self._call("POST", self._path(version) + ":predict", body, version).get("outputs")
        if not isinstance(outputs, dict):
            raise _not_tf_serving(self._server)
        return outputs

    def _path(self, version: int | None) -> str:
        return f"/v1/models/{quote(self._server.model)}" + ("" if version is None else f"/versions/{version}")

    def _call(self, method: str, path: str, body: str | None, version: int | None) -> Any:
        connection = self._connection()
        try:
            connection.connect()
            connection.sock.settimeout(ANSWER_SECONDS)
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
        except ssl.SSLCertVerificationError as error:
            raise _no_tls(self._server, error.verify_message, certificate=True) from None
        except ssl.SSLError as error:
            reason = str(error.reason or error).replace("_", " ").lower()
            raise _no_tls(self._server, reason, certificate=False) from None
        except http.client.HTTPException:
            fix = "give the port of REST, for example 8501, or set api=grpc; tls=ca.pem if it is encrypted"
            raise refuse(self._server, "the server there does not answer HTTP", fix) from None
        except OSError as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            is_late = isinstance(error, TimeoutError) and connection.sock
            raise _no_answer(self._server, None if is_late else reason) from None
        finally:
            connection.close()
        try:
            content = json.loads(text)
        except ValueError:
            raise _not_tf_serving(self._server) from None
        if response.status != 200:
            message = content.get("error", text) if isinstance(content, dict) else text
            raise _refusal(self._server, str(response.status), str(message), version)
        return content

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._server.host, self._server.port
        if self._server.tls is None:
            return http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
        return http.client.HTTPSConnection(host, port, timeout=CONNECT_SECONDS, context=_trusting(self._server.tls))


class GrpcClient:
    """gRPC requests, with the messages of tapeline.serving.protos, which need no TensorFlow."""

    def __init__(self, server: Endpoint) -> None:
        self._server = server

    def metadata(self, version: int | None) -> Metadata:
        """See Client."""
        from tapeline.serving.protos import tf_serving_pb2 as protos

        request = protos.GetModelMetadataRequest(metadata_field=["signature_def"])
        response = self._call("GetModelMetadata", request, protos.GetModelMetadataResponse, version)
        found = protos.SignatureDefMap.FromString(response.metadata["signature_def"].value).signature_def
        signatures = {
            name: {key: tuple(dim.size for dim in info.tensor_shape.dim) for key, info in each.inputs.items()}
            for name, each in found.items()
            if each.inputs
        }
        return Metadata(int(response.model_spec.version.value), signatures)

    def predict(self, signature: str, inputs: Mapping[str, Array], version: int) -> dict[str, list[Any]]:
        """See Client."""
        from tapeline.serving.protos import tf_serving_pb2 as protos

        request = protos.PredictRequest()
        request.model_spec.signature_name = signature
        for name, array in inputs.items():
            tensors.to_proto(array, request.inputs[name])
        response = self._call("Predict", request, protos.PredictResponse, version)
        arrays = {name: tensors.from_proto(tensor) for name, tensor in response.outputs.items()}
        return {name: tensors.to_json(array, name) for name, array in arrays.items()}

    def _call(self, method: str, request: Any, response_type: Any, version: int | None) -> Any:
        import grpc

        request.model_spec.name = self._server.model
        if version is not None:
            request.model_spec.version.value = version
        options = [(f"grpc.max_{direction}_message_length", -1) for direction in ("send", "receive")]
        options.append(("grpc.enable_http_proxy", 0))
        with self._channel(options) as channel:
            path = f"/tensorflow.serving.PredictionService/{method}"
            call = channel.unary_unary(path, type(request).SerializeToString, response_type.FromString)
            try:
                return call(request, timeout=ANSWER_SECONDS)
            except grpc.RpcError as error:
                message = " ".join(error.details().split())
                raise _refusal(self._server, error.code().name, message, version) from None

    def _channel(self, options: list[tuple[str, int]]) -> Any:
        import grpc

        if self._server.tls is None:
            return grpc.insecure_channel(str(self._server), options=options)
        authorities = grpc.ssl_channel_credentials(Path(self._server.tls).read_bytes())
        return grpc.secure_channel(str(self._server), authorities, options=options)


def _not_tf_serving(server: Endpoint) -> Refused:
    problem = "the server there does not answer as TF Serving does for a model of tapeline"
    return refuse(server, problem, "check host and port, for example host=127.0.0.1:8501")


def _shape(shape: Mapping[str, Any]) -> tuple[int, ...]:
    """The sizes of a TensorShapeProto in JSON."""
    return tuple(int(dim["size"]) for dim in shape.get("dim", []))


def _json_values(array: Array) -> Any:
    """The values as nested lists; bytes as TF Serving's {"b64": ...}."""
    if array.dtype == object:
        return tensors.to_json(array, "values_bytes")
    return (array.astype(np.float64) if array.dtype.kind == "f" else array).tolist()


def json_value(value: Any) -> Any:
    """The output for JSON; NaN and infinity, which JSON does not have, become null."""
    if isinstance(value, list):
        return [json_value(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
