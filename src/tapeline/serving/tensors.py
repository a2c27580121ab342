"""Convert NumPy arrays to TensorFlow's TensorProto and to TF Serving's JSON, and back, without TensorFlow."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

TYPES: dict[int, tuple[Any, str, str]] = {
    1: (np.float32, "float_val", "float"),
    2: (np.float64, "double_val", "double"),
    3: (np.int32, "int_val", "int32"),
    4: (np.uint8, "int_val", "uint8"),
    5: (np.int16, "int_val", "int16"),
    6: (np.int8, "int_val", "int8"),
    7: (object, "string_val", "string"),
    9: (np.int64, "int64_val", "int64"),
    10: (np.bool_, "bool_val", "bool"),
    17: (np.uint16, "int_val", "uint16"),
    22: (np.uint32, "uint32_val", "uint32"),
    23: (np.uint64, "uint64_val", "uint64"),
}
"""By TensorFlow's DataType number: NumPy's dtype, the field of TensorProto for its values, TensorFlow's name."""
NUMBERS = {np.dtype(dtype): number for number, (dtype, _, _) in TYPES.items()}
"""TensorFlow's DataType number by NumPy's dtype."""
FILL_BYTES = 2**16
"""A TensorProto may have fewer values than its shape: the last one fills it, up to so many bytes for one tensor."""
CHUNK = 2**14
"""Values that are converted at once: between two chunks, other threads run."""


def to_proto(array: Array, proto: Any) -> None:
    """Fill a TensorProto: the values go into the field of their type, as in TF Serving, not into tensor_content."""
    number = NUMBERS[array.dtype]
    proto.dtype = number
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    field, values = TYPES[number][1], array.ravel()
    if array.dtype == object:
        getattr(proto, field).extend(values.tolist())
        return
    # in the wire format, since a message takes it without a Python object for each value
    tag = proto.DESCRIPTOR.fields_by_name[field].number << 3 | 2
    for start in range(0, len(values), CHUNK):
        part = values[start : start + CHUNK]
        content = part.astype(PACKED[field]).tobytes() if field in PACKED else _varints(part)
        proto.MergeFromString(_varints(np.array([tag])) + _varints(np.array([len(content)])) + content)


PACKED = {"float_val": "<f4", "double_val": "<f8"}
"""Fields whose values have a fixed size on the wire, and NumPy's name for it."""


def _varints(values: Array) -> bytes:
    """Whole numbers in protobuf's wire format: 7 bits in each byte, the lowest first; signs have 64 bits."""
    numbers = values.astype(np.int64).view(np.uint64) if values.dtype.kind != "u" else values.astype(np.uint64)
    size = max(1, -(-int(numbers.max()).bit_length() // 7))
    rest = numbers[:, None] >> np.arange(0, 7 * size, 7, dtype=np.uint64)
    more = rest > 0x7F
    used = np.column_stack([np.ones(len(numbers), bool), more[:, :-1]])
    content: bytes = (rest & 0x7F | more * np.uint64(0x80)).astype(np.uint8)[used].tobytes()
    return content


def from_proto(proto: Any) -> Array:
    """The array of a TensorProto.

    Raises:
        ValueError: the type is not supported, the shape and the values do not agree, a value does not fit the type,
            or the shape claims many more values than there are.
    """
    if proto.dtype not in TYPES:
        raise ValueError(f"the tensor's data type {proto.dtype} is not supported")
    dtype, field, type_name = TYPES[proto.dtype]
    shape = [dim.size for dim in proto.tensor_shape.dim]
    claimed = math.prod(size for size in shape if size) if shape else 1
    if min(shape, default=0) < 0 or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"a tensor of shape {_shape(shape)} is not accepted")
    if proto.tensor_content and dtype is not object:
        values = _from_content(proto.tensor_content, np.dtype(dtype))
    else:
        values = _from_field(proto, field, np.dtype(dtype), type_name)
    if len(values) < claimed and claimed * _bytes_of_last(values) > FILL_BYTES:
        problem = f"a tensor of shape {_shape(shape)} with {len(values)} values is not accepted"
        raise ValueError(f"{problem}; send all values where there are more than {FILL_BYTES >> 10} KiB")
    count = math.prod(shape)
    if 0 < len(values) < count and not proto.tensor_content:
        values = np.concatenate([values, np.full(count - len(values), values[-1], dtype)])
    if len(values) != count:
        raise ValueError(f"a {type_name} tensor of shape {_shape(shape)} has {len(values)} values")
    return values.reshape(shape)


MAX_DIMENSIONS = 32


def _bytes_of_last(values: Array) -> int:
    """The bytes of the value that fills a tensor."""
    if values.dtype.kind == "O":
        return max(values.itemsize, len(values[-1]) if len(values) else 0)
    return values.itemsize


def _from_content(content: bytes, dtype: np.dtype[Any]) -> Array:
    if len(content) % dtype.itemsize:
        raise ValueError(f"the tensor_content of {len(content)} bytes is not a whole number of values")
    if dtype == np.bool_:
        return np.array(np.frombuffer(content, np.uint8) != 0)
    return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype)


def _from_field(proto: Any, field: str, dtype: np.dtype[Any], type_name: str) -> Array:
    """The values of a repeated field; without a Python object for each, where they have a fixed size on the wire."""
    listed = getattr(proto, field)
    if field in PACKED:
        alone = type(proto)()
        alone.MergeFrom(proto)
        for other, _ in alone.ListFields():
            if other.name != field:
                alone.ClearField(other.name)
        size = len(listed) * dtype.itemsize
        return np.frombuffer(alone.SerializeToString()[-size:] if size else b"", PACKED[field]).astype(dtype)
    if dtype.kind == "O":
        return np.array([*listed, None], object)[:-1]
    wide = np.uint64 if field == "uint64_val" else np.bool_ if dtype == np.bool_ else np.int64
    parts: list[Array] = [np.array(listed[start : start + CHUNK], wide) for start in range(0, len(listed), CHUNK)]
    values: Array = np.concatenate(parts) if parts else np.empty(0, wide)
    if dtype.kind in "iu" and len(values):
        limits = np.iinfo(dtype)
        if int(values.min()) < limits.min or int(values.max()) > limits.max:
            raise ValueError(f"a value of the {type_name} tensor is out of the range of its type")
    return values.astype(dtype)


def from_json(value: Any, number: int) -> Array:
    """The array of a JSON value (a scalar or nested lists), with TensorFlow's DataType `number`.

    Raises:
        ValueError: lists differ in length, or a value has another type; the message is TF Serving's own.
    """
    shape: list[int] = []
    values = [value]
    while values and type(values[0]) is list:
        size, level = len(values[0]), len(shape)
        for each in values:
            if type(each) is not list:
                raise ValueError(f"JSON Value: {_show(each)} found at incorrect level: {level + 1} in the JSON DOM.")
            if len(each) != size:
                raise ValueError(
                    f"Encountered list at unexpected size: {len(each)} at level: {level} expected size: {size}"
                )
        shape.append(size)
        values = list(chain.from_iterable(values))
    return _convert(values, number).reshape(shape)


def _convert(values: list[Any], number: int) -> Array:
    """The values of a flat list as an array of TensorFlow's DataType `number`."""
    dtype, _, type_name = TYPES.get(number, (None, "", f"DataType {number}"))
    if dtype is None:
        raise ValueError(f"Conversion of JSON to type: {type_name} is not supported")
    if dtype is object:
        return np.array([_to_bytes(each) for each in values], object)
    allowed = {np.float32: (int, float), np.float64: (int, float), np.bool_: (bool,)}.get(dtype, (int,))
    if not set(map(type, values)) <= set(allowed):
        wrong = next(each for each in values if type(each) not in allowed)
        at_level = " (an uneven list)" if type(wrong) is list else ""
        raise ValueError(
            f"JSON Value: {_show(wrong)} Type: {_json_type(wrong)}{at_level} is not of expected type: {type_name}"
        )
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype)
    except OverflowError:
        raise ValueError(f"Cannot convert a JSON value to {type_name} without loss of precision.") from None
    if dtype is np.float32 and np.isinf(array).any():
        for each, cast in zip(values, array.tolist(), strict=True):
            if math.isinf(cast) and not math.isinf(each):
                raise ValueError(f"Cannot convert JSON value: {_show(each)} to float without loss of precision.")
    return array


def _to_bytes(value: Any) -> bytes:
    """The bytes of a JSON string, or of an object {"b64": ...}."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except binascii.Error:
            raise ValueError("Unable to base64 decode") from None
    raise ValueError(f"JSON Value: {_show(value)} Type: {_json_type(value)} is not of expected type: string")


def _json_type(value: Any) -> str:
    """The name of a JSON type in rapidjson, which TF Serving's messages use."""
    names = {dict: "Object", list: "Array", str: "String", bool: str(value), type(None): "Null"}
    return names.get(type(value), "Number")


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _shape(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def to_json(array: Array, name: str) -> Any:
    """The JSON value of an array; strings are base64 where the output's name ends in _bytes or they are not UTF-8."""
    if array.dtype == np.float32:
        # the shortest decimal that gives the same float32 again; converted to a double it would have up to 17 digits
        values: list[Any] = [float(text) for text in array.ravel().astype(str)]
    elif array.dtype == object:
        values = [_json_string(each, name) for each in array.ravel()]
    else:
        return array.tolist()
    for size in reversed(array.shape[1:]):
        values = [values[start : start + size] for start in range(0, len(values), size)] if size else [[]]
    return values if array.ndim else values[0]


def _json_string(value: bytes | str, name: str) -> Any:
    raw = value.encode() if isinstance(value, str) else value
    if not name.endswith("_bytes"):
        try:
            return raw.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(raw).decode()}
