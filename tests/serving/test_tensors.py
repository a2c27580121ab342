from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorflow.core.framework import tensor_pb2

from tapeline import tensorflow as tf
from tapeline.serving import tensors

DTYPES = st.sampled_from([each for each in tensors.NUMBERS if each.kind != "O"])
ARRAYS = DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_side=4)))


@given(ARRAYS)
def test_tensorflow_and_we_read_each_others_protos(array: Any) -> None:
    proto = tensor_pb2.TensorProto()
    tensors.to_proto(array, proto)
    np.testing.assert_array_equal(tf.load().make_ndarray(proto), array)
    np.testing.assert_array_equal(tensors.from_proto(proto), array)
    np.testing.assert_array_equal(tensors.from_proto(tf.load().make_tensor_proto(array)), array)


@given(ARRAYS)
def test_json_round_trip_keeps_values_and_dtype(array: Any) -> None:
    number = tensors.NUMBERS[array.dtype]
    read = tensors.from_json(tensors.to_json(array, "y"), number)
    np.testing.assert_array_equal(read, array)
    assert read.dtype == array.dtype


def test_a_single_value_fills_the_shape_up_to_the_size_limit() -> None:
    proto = tensor_pb2.TensorProto(dtype=1, float_val=[2.5])
    for size in (2, 3):
        proto.tensor_shape.dim.add().size = size
    assert tensors.from_proto(proto).tolist() == [[2.5] * 3] * 2
    for bad in (10**10, -1, 2796202, tensors.FILL_BYTES // 12 + 1):
        proto.tensor_shape.dim[0].size = bad
        with pytest.raises(ValueError, match="is not accepted"):
            tensors.from_proto(proto)
    text = tensor_pb2.TensorProto(dtype=7, string_val=[b"x" * 1000])
    text.tensor_shape.dim.add().size = 100
    with pytest.raises(ValueError, match="is not accepted"):
        tensors.from_proto(text)


def test_a_shape_without_values_claims_no_rows() -> None:
    proto = tensor_pb2.TensorProto(dtype=1)
    for size in (10**9, 0):
        proto.tensor_shape.dim.add().size = size
    with pytest.raises(ValueError, match="is not accepted"):
        tensors.from_proto(proto)
    proto.tensor_shape.dim[0].size = 3
    assert tensors.from_proto(proto).shape == (3, 0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dtype": 8}, "data type 8 is not supported"),
        ({"dtype": 1, "tensor_content": b"abcd" * 2}, "has 2 values"),
        ({"dtype": 9, "int64_val": [1, 2]}, "has 2 values"),
        ({"dtype": 6, "int_val": [300]}, "int8 tensor is out of the range"),
        ({"dtype": 17, "int_val": [-1]}, "uint16 tensor is out of the range"),
        ({"dtype": 1, "tensor_content": b"abc"}, "not a whole number of values"),
        ({"dtype": 1, "tensor_shape": {"dim": [{"size": 1}] * 40}, "float_val": [1]}, "is not accepted"),
    ],
)
def test_protos_that_are_not_valid_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tensors.from_proto(tensor_pb2.TensorProto(**fields))


@pytest.mark.parametrize(
    ("value", "number", "message"),
    [
        ([1, [2]], 1, "uneven list"),
        ([[1], 2], 1, "incorrect level"),
        ([1.5], 9, "not of expected type: int64"),
        ([2**63], 9, "without loss"),
        ([{"b64": "%"}], 7, "base64"),
        ([1], 7, "not of expected type: string"),
        ([1], 8, "not supported"),
    ],
)
def test_json_of_another_type_is_refused(value: Any, number: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tensors.from_json(value, number)
