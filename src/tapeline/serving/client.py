"""Ask a server, TF Serving or ours, over REST or gRPC; no TensorFlow is needed."""

from __future__ import annotations

import http.client
import json
import math
import time
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from urllib.parse import quote, urlsplit

import numpy as np

from tapeline.errors import Refused, refuse
from tapeline.serving import tensors
from tapeline.serving.saved_model import SIGNATURE

Array = np.ndarray[Any, Any]

SECONDS = 10.0
"""For one answer."""
INPUT = "predictors"


@dataclass(frozen=True)
class Where:
    """A model on a server."""

    host: str
    port: int
    name: str
    api: Literal["rest", "grpc"]

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class Answer:
    """What a version said of some rows."""

    version: int
    """Its number in the store."""
    outputs: dict[str, list[Any]]
    """By name, a value or list for each row; strings as text."""
    milliseconds: float
    """From the request to the answer, connection and all."""


class Api(Protocol):
    """One of the two ways to ask."""

    def version(self, number: int | None) -> tuple[int, int]:
        """The version that answers (None: the live one), and how many features it wants; -1: any."""

    def predict(self, rows: Array, number: int) -> dict[str, list[Any]]:
        """The outputs of a version for float32 [rows, features]."""


def where(host: str, ports: dict[str, int], name: str, api: str) -> Where:
    """The model that a `host` or `host:port` of a person means.

    Raises:
        Refused: it is no such address.
    """
    try:
        parts = urlsplit(f"//{host}")
        port = parts.port or ports[api]
    except ValueError:
        raise refuse(f"host={host}", "is no address", "write host or host:port") from None
    if not parts.hostname or parts.path or parts.query or parts.username:
        raise refuse(f"host={host}", "is no address", "write host or host:port, without http://")
    return Where(parts.hostname, port, name, "grpc" if api == "grpc" else "rest")


def ask(place: Where, rows: Array, number: int | None = None) -> Answer:
    """Send float32 [rows, features] to a version (None: the live one).

    Raises:
        Refused: no server, no such model or version, or it wants other rows.
    """
    api: Api = Grpc(place) if place.api == "grpc" else Rest(place)
    found, width = api.version(number)
    check_width(place, found, width, rows.shape[1])
    begun = time.perf_counter()
    try:
        outputs = api.predict(rows, found)
    except Gone:
        # it was replaced since we asked which version is live
        if number is not None:
            raise
        found, width = api.version(None)
        check_width(place, found, width, rows.shape[1])
        outputs = api.predict(rows, found)
    return Answer(found, outputs, (time.perf_counter() - begun) * 1e3)


def check_width(place: Where, number: int, width: int, given: int) -> None:
    """Refuse rows that are not as wide as the model's input."""
    if width not in (-1, given):
        raise refuse(
            f"{place.name} version {number}",
            f"wants {width} features a row, and these rows have {given}",
            "give the features it was trained on, with the dataset options of its run",
        )


class Gone(Refused):
    """No such model or version."""


def failure(place: Where, status: str, message: str, number: int | None) -> Refused:
    """What to tell a person of a server's refusal."""
    what = place.name if number is None else f"{place.name} version {number}"
    if status in ("404", "NOT_FOUND"):
        told = refuse(what, f"is not served on {place} ({message})", "see serving.name, version and tapeline serve")
        return Gone(*told.findings)
    if status in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
        what = message.rpartition("last error: ")[2][:150]
        return refuse(place, f"no server answers gRPC there ({what})", "start one: tapeline serve")
    return refuse(what, f"the server on {place} refuses these rows ({message})", "mend the rows")


class Rest:
    """REST, by the standard library."""

    def __init__(self, place: Where) -> None:
        self._place = place

    def version(self, number: int | None) -> tuple[int, int]:
        """The live version and its width."""
        told = self._call("GET", self._path(number) + "/metadata", None, number)
        try:
            shape = told["metadata"]["signature_def"]["signature_def"][SIGNATURE]["inputs"][INPUT]["tensor_shape"]
            sizes = [int(dim["size"]) for dim in shape.get("dim", [])]
            return int(told["model_spec"]["version"]), sizes[1] if len(sizes) == 2 else -1
        except (KeyError, TypeError, ValueError):
            raise _strange(self._place) from None

    def predict(self, rows: Array, number: int) -> dict[str, list[Any]]:
        """Column format: names once, not in every row."""
        body = json.dumps({"inputs": {INPUT: rows.astype(np.float64).tolist()}})
        outputs = self._call("POST", self._path(number) + ":predict", body, number).get("outputs")
        if not isinstance(outputs, dict):
            raise _strange(self._place)
        return outputs

    def _path(self, number: int | None) -> str:
        return f"/v1/models/{quote(self._place.name)}" + ("" if number is None else f"/versions/{number}")

    def _call(self, method: str, path: str, body: str | None, number: int | None) -> Any:
        connection = http.client.HTTPConnection(self._place.host, self._place.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
        except http.client.HTTPException:
            raise refuse(
                self._place, "what answers there speaks no HTTP", "give the port of REST, or api=grpc"
            ) from None
        except OSError as error:
            what = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise refuse(self._place, f"no server answers REST there ({what})", "start one: tapeline serve") from None
        finally:
            connection.close()
        try:
            told = json.loads(text)
        except ValueError:
            raise _strange(self._place) from None
        if response.status != 200:
            message = told.get("error", text) if isinstance(told, dict) else text
            raise failure(self._place, str(response.status), str(message), number)
        return told


class Grpc:
    """gRPC, with messages of our own so that TensorFlow stays out."""

    def __init__(self, place: Where) -> None:
        self._place = place

    def version(self, number: int | None) -> tuple[int, int]:
        """The live version and its width."""
        from tapeline.serving.protos import tf_serving_pb2 as protos

        request = protos.GetModelMetadataRequest(metadata_field=["signature_def"])
        response = self._call("GetModelMetadata", request, protos.GetModelMetadataResponse, number)
        signatures = protos.SignatureDefMap.FromString(response.metadata["signature_def"].value).signature_def
        if INPUT in signatures[SIGNATURE].inputs:
            sizes = [dim.size for dim in signatures[SIGNATURE].inputs[INPUT].tensor_shape.dim]
            return int(response.model_spec.version.value), sizes[1] if len(sizes) == 2 else -1
        raise _strange(self._place)

    def predict(self, rows: Array, number: int) -> dict[str, list[Any]]:
        """One tensor out, one for each output back."""
        from tapeline.serving.protos import tf_serving_pb2 as protos

        request = protos.PredictRequest()
        tensors.to_proto(rows, request.inputs[INPUT])
        response = self._call("Predict", request, protos.PredictResponse, number)
        arrays = {name: tensors.from_proto(tensor) for name, tensor in response.outputs.items()}
        return {name: tensors.to_json(array, name) for name, array in arrays.items()}

    def _call(self, method: str, request: Any, answer: Any, number: int | None) -> Any:
        import grpc

        request.model_spec.name = self._place.name
        if number is not None:
            request.model_spec.version.value = number
        options = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        options.append(("grpc.enable_http_proxy", 0))
        with grpc.insecure_channel(str(self._place), options=options) as channel:
            path = f"/tensorflow.serving.PredictionService/{method}"
            call = channel.unary_unary(path, type(request).SerializeToString, answer.FromString)
            try:
                return call(request, timeout=SECONDS)
            except grpc.RpcError as error:
                raise failure(self._place, error.code().name, " ".join(error.details().split()), number) from None


def _strange(place: Where) -> Refused:
    return refuse(place, "what answers there is no TF Serving with a model of ours", "check host and port")


def plain(value: Any) -> Any:
    """An output for JSON: NaN and infinity, which JSON does not know, become null."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
