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

KINDS = st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_])
ARRAYS = KINDS.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_side=4)))


@given(ARRAYS)
def test_protos_hold_what_tensorflow_reads(array: Any) -> None:
    proto = tensor_pb2.TensorProto()
    tensors.to_proto(array, proto)
    np.testing.assert_array_equal(tf.load().make_ndarray(proto), array)
    np.testing.assert_array_equal(tensors.from_proto(proto), array)
    np.testing.assert_array_equal(tensors.from_proto(tf.load().make_tensor_proto(array)), array)


@given(ARRAYS)
def test_json_comes_back_as_it_went(array: Any) -> None:
    number = tensors.NUMBERS[array.dtype]
    again = tensors.from_json(tensors.to_json(array, "y"), number)
    np.testing.assert_array_equal(again, array)
    assert again.dtype == array.dtype


def test_a_single_value_fills_a_claimed_shape_within_reason() -> None:
    proto = tensor_pb2.TensorProto(dtype=1, float_val=[2.5])
    for size in (2, 3):
        proto.tensor_shape.dim.add().size = size
    assert tensors.from_proto(proto).tolist() == [[2.5] * 3] * 2
    for bad in (10**10, -1):
        proto.tensor_shape.dim[0].size = bad
        with pytest.raises(ValueError, match="is not accepted"):
            tensors.from_proto(proto)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dtype": 8}, "data type 8 is not supported"),
        ({"dtype": 1, "tensor_content": b"abcd" * 2}, "has 2 values"),
        ({"dtype": 9, "int64_val": [1, 2]}, "has 2 values"),
    ],
)
def test_broken_protos_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tensors.from_proto(tensor_pb2.TensorProto(**fields))


@pytest.mark.parametrize(
    ("value", "number", "said"),
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
def test_json_of_another_type_is_refused(value: Any, number: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tensors.from_json(value, number)
