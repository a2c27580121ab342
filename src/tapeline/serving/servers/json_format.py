"""TF Serving's JSON: request bodies to arrays, and outputs to response bodies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tapeline.serving import tensors
from tapeline.serving.servers.loaded_model import LoadedModel
from tapeline.serving.servers.request_error import RequestError
from tapeline.serving.signatures import DEFAULT

Array = np.ndarray[Any, Any]
Inputs = Mapping[str, int]
"""TensorFlow's DataType by the name of an input of a signature."""

encode_json = json.JSONEncoder(ensure_ascii=False).encode


def answer(loaded: LoadedModel, body: bytes) -> bytes:
    """The response body to a request body.

    Raises:
        RequestError: the body is not valid or does not match the signature, or TensorFlow refuses the values.
    """
    signature, columns, inputs = decode(body, loaded.dtypes, DEFAULT)
    return encode(loaded.predict(signature, inputs), columns)


def decode(body: bytes, signatures: Mapping[str, Inputs], default: str) -> tuple[str, bool, dict[str, Array]]:
    """The signature's name, whether the body has the column format, and the arrays by input.

    Args:
        body: JSON with `instances` (row format) or `inputs` (column format).
        signatures: of the model, by name.
        default: the name of the signature where the body names none.

    Raises:
        RequestError: the body is not valid, or does not match the signature.
    """
    request = _parse(body)
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise RequestError("INVALID_ARGUMENT", "'signature_name' key must be a string value.")
    found = signatures.get(name or default)
    if found is None:
        raise RequestError("FAILED_PRECONDITION", f'Serving signature key "{name or default}" not found.')
    if ("instances" in request) == ("inputs" in request):
        both = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        raise RequestError("INVALID_ARGUMENT", both if "inputs" in request else "Missing 'inputs' or 'instances' key")
    try:
        arrays = (_from_instances if "instances" in request else _from_inputs)(request, found)
    except ValueError as error:
        raise RequestError("INVALID_ARGUMENT", str(error)) from None
    if b"Infinity" not in body and any(each.dtype.kind == "f" and np.isinf(each).any() for each in arrays.values()):
        # TF Serving reads the word Infinity, but no number that is too large for a double
        raise RequestError("INVALID_ARGUMENT", "JSON Parse error: Number too big to be stored in double")
    return name or default, "inputs" in request, arrays


def _parse(body: bytes) -> dict[str, Any]:
    from pydantic_core import from_json

    if not body:
        raise RequestError("INVALID_ARGUMENT", "JSON Parse error: The document is empty")
    try:
        request = from_json(body, cache_strings=False)
    except ValueError as error:
        utf8 = "" if body[:1] < b"\x80" and b"\0" not in body[:2] else "; send UTF-8 without a byte order mark"
        raise RequestError("INVALID_ARGUMENT", f"JSON Parse error: {error}{utf8}") from None
    if not isinstance(request, dict):
        raise RequestError("INVALID_ARGUMENT", "JSON Value: Is not object")
    return request


def _from_instances(request: Mapping[str, Any], signature: Inputs) -> dict[str, Array]:
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
    return {name: tensors.from_json([each[name] for each in instances], dtype) for name, dtype in signature.items()}


def _from_inputs(request: Mapping[str, Any], signature: Inputs) -> dict[str, Array]:
    """The arrays of the column format: the value of the only input, or an object with a value for each input."""
    values = request["inputs"]
    if not _is_object(values):
        if len(signature) > 1:
            raise ValueError("inputs is a plain value/list, but expecting an object as multiple inputs are required")
        values = {next(iter(signature)): values}
    for name in signature:
        if name not in values:
            raise ValueError(f"Missing named input: {name} in 'inputs' object.")
    return {name: tensors.from_json(values[name], dtype) for name, dtype in signature.items()}


def _is_object(value: Any) -> bool:
    """Whether a JSON value is an object of inputs by name, and not a base64 string {"b64": ...}."""
    return isinstance(value, dict) and list(value) != ["b64"]


def encode(outputs: Mapping[str, Array], columns: bool) -> bytes:
    """The response body in UTF-8, in the format of the request.

    Raises:
        RequestError: the outputs have no rows, or not the same number, which the row format needs.
    """
    if columns:
        named = {name: tensors.to_json(array, name) for name, array in outputs.items()}
        return encode_json({"outputs": named if len(named) > 1 else next(iter(named.values()))}).encode()
    return encode_json({"predictions": _predictions(outputs)}).encode()


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
